//! The rules of one round, a file a phase under `round/`: each test says one of them.

use super::*;
use crate::policy::PolicyRef;

/// A round being played: who did what, then what is true.
struct Play {
    round: Round,
    terms: Terms,
    now: Timestamp,
    asked: Vec<RoundEffect>,
}

const ROUND_MS: u64 = 10_000;

/// A round that wants `size` updates, asks `over` workers more and needs `quorum`.
fn round_of(size: u32, over: u32, quorum: u32) -> Play {
    let terms = Terms { size, seats: size + over, quorum, selection_ms: 500, round_ms: ROUND_MS, standbys: 0 };
    Play { round: open(Task::Train), terms, now: Timestamp(1_000), asked: Vec::new() }
}

fn evaluation_of(seats: u32) -> Play {
    let mut play = round_of(seats, 0, 1);
    play.round = open(Task::Evaluate);
    play
}

fn open(task: Task) -> Round {
    let base = ModelVersion { version: 3, digest: Digest::blake3([3; 32]), bytes: 400 };
    let (placement, aggregation) = (policy("least-loaded"), policy("fedavg"));
    let policies = Policies { placement, aggregation, traits: AggregationTraits::default(), control_variate: None };
    Round::open(7, task, base, Timestamp(1_000), policies)
}

fn policy(name: &str) -> PolicyRef {
    PolicyRef::new(crate::id::PolicyName::new(name).unwrap(), Digest::sha256([9; 32]))
}

fn worker(name: &str) -> WorkerName {
    WorkerName::new(name).unwrap()
}

fn receipt_of(name: &str) -> UpdateReceipt {
    let update = Digest::blake3([name.as_bytes()[0]; 32]);
    UpdateReceipt { loss: Some(0.5), ..UpdateReceipt::new(update, 400, 10) }
}

fn metrics(examples: u64, accuracy: f64) -> Evaluation {
    Evaluation { examples, loss: 1.0 - accuracy, accuracy }
}

fn aggregate_of(updates: usize) -> AggregateReceipt {
    let (model, policy) = (Digest::blake3([4; 32]), Digest::sha256([9; 32]));
    AggregateReceipt::new(model, 400, policy, vec![0.5; updates], "weighted by examples".into())
}

impl Play {
    fn try_event(&mut self, event: RoundEvent) -> Result<(), RoundRefusal> {
        let before = self.round.clone();
        match self.round.apply(self.now, &self.terms, event) {
            Ok(asked) => {
                self.asked = asked;
                Ok(())
            }
            Err(refusal) => {
                assert_eq!(self.round, before, "a refused event changed the round");
                Err(refusal)
            }
        }
    }

    #[track_caller]
    fn event(mut self, event: RoundEvent) -> Self {
        self.try_event(event).expect("the event fits");
        self
    }

    #[track_caller]
    fn refused(&mut self, event: RoundEvent) -> RoundRefusal {
        self.try_event(event).expect_err("the event does not fit")
    }

    #[track_caller]
    fn placed(self, names: &[&str]) -> Self {
        let seat = |name: &&str| (worker(name), Seat::new(None, "it is free".into()));
        self.event(RoundEvent::Placed {
            chosen: names.iter().map(seat).collect(),
            by: Digest::sha256([9; 32]),
            reason: "chosen".into(),
        })
    }

    #[track_caller]
    fn accepted(self, name: &str) -> Self {
        self.event(RoundEvent::Accepted { worker: worker(name) })
    }

    #[track_caller]
    fn reported(self, name: &str) -> Self {
        self.event(report(name))
    }

    #[track_caller]
    fn evaluated(self, name: &str, evaluation: Evaluation) -> Self {
        self.event(RoundEvent::Evaluated { worker: worker(name), evaluation })
    }

    #[track_caller]
    fn declined(self, name: &str) -> Self {
        self.event(RoundEvent::Declined { worker: worker(name), reason: "night shift".into() })
    }

    #[track_caller]
    fn failed(self, name: &str) -> Self {
        self.event(RoundEvent::Failed { worker: worker(name), reason: "out of memory".into() })
    }

    #[track_caller]
    fn lost(self, name: &str) -> Self {
        self.event(lost(name))
    }

    #[track_caller]
    fn at_the_deadline(mut self) -> Self {
        self.now = self.round.deadline.expect("a deadline is set");
        self.event(RoundEvent::TimePassed)
    }

    #[track_caller]
    fn phase_is(self, phase: &str) -> Self {
        assert_eq!(self.round.phase.name(), phase, "reasons: {:#?}", self.round.reasons);
        self
    }

    #[track_caller]
    fn seat_is(self, name: &str, state: &str) -> Self {
        assert_eq!(self.round.seats[&worker(name)].state.name(), state);
        self
    }

    #[track_caller]
    fn says(self, reason: &str) -> Self {
        let reasons = &self.round.reasons;
        assert!(reasons.iter().any(|found| found.contains(reason)), "`{reason}` is not among {reasons:#?}");
        self
    }

    fn cancelled(&self) -> Vec<&str> {
        let cancelled = self.asked.iter().filter_map(|effect| match effect {
            RoundEffect::Cancel { worker, .. } => Some(worker.as_str()),
            _ => None,
        });
        cancelled.collect()
    }

    fn wakes_at(&self) -> Option<u64> {
        self.round.next_wake(&self.terms, false).map(|at| at.0)
    }
}

fn report(name: &str) -> RoundEvent {
    RoundEvent::Reported { worker: worker(name), receipt: receipt_of(name) }
}

fn lost(name: &str) -> RoundEvent {
    RoundEvent::Lost { worker: worker(name), reason: "its stream broke".into() }
}

mod aggregation;
mod configuration;
mod evaluation;
mod policies;
mod reporting;
mod selection;
