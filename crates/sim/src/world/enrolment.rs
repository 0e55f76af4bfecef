//! Tokens: made, used, used again, used by two at a time, used too late or for what they are not for.

use polder_core::enrolment::{Applicant, Grant};
use polder_core::{Event, Region, TokenId, WorkerName};

use super::World;
use super::setup::{name, worker_name};
use super::worker::Worker;
use crate::message::Happening;

/// Workers that may join while the world goes on.
const NEWCOMERS_MAX: u64 = 3;

impl World {
    /// A token is made, and several come with it: with one key or two, under a new name or one that is taken, in time
    /// or too late.
    pub(super) fn misuse_a_token(&mut self) {
        let via = self.dice.index(self.coordinators.len());
        let Some(who) = self.leader_via(via) else { return };
        self.tokens_made += 1;
        let token = name(TokenId::new(format!("late-{}", self.tokens_made)));
        let region = self.dice.index(self.regions);
        let expires_at = self.clock(who).plus_ms(self.dice.between(50, 1_500));
        let grant = if self.dice.chance(0.9) {
            Grant::Worker { region: region_name(region) }
        } else {
            Grant::Operator { name: "somebody".into() }
        };
        self.tell_leader(
            who,
            Event::TokenCreated { token: token.clone(), secret_hash: "secret".into(), grant, expires_at },
        );
        for _ in 0..self.dice.between(2, 5) {
            let at = if self.dice.chance(0.3) { 0 } else { 100 + self.dice.between(1, NEWCOMERS_MAX) };
            let worker = worker_name(usize::try_from(at).unwrap_or(0)).to_string();
            let key = format!("key-{}-{}", self.tokens_made, self.dice.index(2));
            let region = if self.dice.chance(0.8) { region } else { self.dice.index(self.regions) };
            let ms = self.dice.between(5, 2_000);
            self.after(ms, Happening::Redeem { token: token.clone(), key, worker, region });
        }
    }

    pub(super) fn redeem(&mut self, token: TokenId, key: String, worker: &str, region: usize) {
        let secret = if self.dice.chance(0.9) { "secret" } else { "a guess" };
        let worker = name(WorkerName::new(worker));
        let applicant =
            Applicant { secret_hash: secret.into(), key_hash: key, worker: Some((worker, Some(region_name(region)))) };
        self.tell(Event::TokenRedeemed { token, applicant });
    }

    /// Whoever was let in starts its worker.
    pub(super) fn let_in_newcomers(&mut self) {
        for enrolled in std::mem::take(&mut self.history.newcomers) {
            self.counts.enrolled += 1;
            if self.workers.iter().any(|worker| worker.name == enrolled.0) {
                continue;
            }
            let region = (0..self.regions).find(|region| region_name(*region) == enrolled.1).unwrap_or(0);
            self.note(format!("{} joins in {}", enrolled.0, enrolled.1));
            let slots = self.dice.between(1, 2);
            self.workers.push(Worker::new(enrolled.0, region, slots));
            let (worker, ms) = (self.workers.len() - 1, self.dice.between(5, 500));
            self.after(ms, Happening::WorkerStarts { worker });
        }
    }
}

fn region_name(region: usize) -> Region {
    name(Region::new(format!("region-{region}")))
}
