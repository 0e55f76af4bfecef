use super::world::{World, capacity, region, worker};
use crate::enrolment::{Applicant, Grant};
use crate::{Event, Timestamp, TokenId};

fn token(name: &str) -> TokenId {
    TokenId::new(name).unwrap()
}

fn created(name: &str, grant: Grant) -> Event {
    Event::TokenCreated { token: token(name), secret_hash: "s".into(), grant, expires_at: Timestamp(5_000) }
}

fn for_north(name: &str) -> Event {
    created(name, Grant::Worker { region: region("north") })
}

fn redeemed(by_token: &str, key: &str, name: &str, claims: Option<&str>) -> Event {
    let applicant =
        Applicant { secret_hash: "s".into(), key_hash: key.into(), worker: Some((worker(name), claims.map(region))) };
    Event::TokenRedeemed { token: token(by_token), applicant }
}

fn redeemed_by_operator(by_token: &str) -> Event {
    let applicant = Applicant { secret_hash: "s".into(), key_hash: "k".into(), worker: None };
    Event::TokenRedeemed { token: token(by_token), applicant }
}

#[test]
fn a_token_enrols_one_worker_in_its_region() {
    let world = World::with(&[]).event(for_north("t")).event(redeemed("t", "k", "w", None));
    assert_eq!(world.federation.workers[&worker("w")].region, region("north"));
    world.refuses(redeemed("t", "other", "v", None), "enrolment_refused").replays();
}

#[test]
fn the_same_key_may_ask_again_for_the_same_worker_only() {
    let world = World::with(&[]).event(for_north("t")).event(redeemed("t", "k", "w", None));
    let world = world.event(redeemed("t", "k", "w", Some("north")));
    let world = world.refuses(redeemed("t", "k", "v", None), "enrolment_refused");
    assert_eq!(world.federation.workers.len(), 1);
}

#[test]
fn an_expired_token_lets_nobody_in() {
    let mut world = World::with(&[]).event(for_north("t"));
    world.now = Timestamp(4_999);
    let mut world = world.event(for_north("u")).event(redeemed("u", "k", "w", None));
    world.now = Timestamp(5_000);
    world.refuses(redeemed("t", "k", "v", None), "enrolment_refused");
}

#[test]
fn a_token_is_for_its_region_and_role() {
    let world = World::with(&[]).event(for_north("t")).event(created("o", Grant::Operator { name: "ada".into() }));
    let world = world.refuses(redeemed("t", "k", "w", Some("south")), "enrolment_refused");
    let world = world.refuses(redeemed_by_operator("t"), "enrolment_refused");
    let world = world.refuses(redeemed("o", "k", "w", None), "enrolment_refused");
    world.event(redeemed_by_operator("o")).event(redeemed("t", "k", "w", Some("north")));
}

#[test]
fn a_name_that_belongs_to_another_region_is_taken() {
    let world = World::with(&["w"]).event(for_north("t"));
    world.refuses(redeemed("t", "k", "w", None), "enrolment_refused").event(redeemed("t", "k", "v", None));
}

#[test]
fn a_wrong_secret_is_as_good_as_no_token() {
    let wrong = Applicant { secret_hash: "x".into(), key_hash: "k".into(), worker: Some((worker("w"), None)) };
    let guess = Event::TokenRedeemed { token: token("t"), applicant: wrong };
    let world = World::with(&[]).event(for_north("t")).refuses(guess, "enrolment_refused");
    let world = world.refuses(redeemed("unknown", "k", "w", None), "enrolment_refused");
    world.refuses(for_north("t"), "token_exists");
}

#[test]
fn nobody_connects_without_being_enrolled() {
    let event = |slots| Event::WorkerConnected {
        worker: worker("w"),
        session: 1,
        capacity: capacity(slots),
        holding: Vec::new(),
    };
    World::with(&[])
        .refuses(event(1), "unknown_worker")
        .enrolled("w")
        .refuses(event(0), "bad_capacity")
        .event(event(1));
}
