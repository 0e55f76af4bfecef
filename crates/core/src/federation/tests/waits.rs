//! Whatever a run waits for, it says so: what for, since when, and when time alone ends it.

use super::world::{GRACE_MS, ROUND_MS, SELECTION_MS, World, policy_with, run, wants};
use crate::policy::OnFailure;
use crate::round::selection::RETRY_MS;
use crate::run::PAUSE_MS;
use crate::spec::RunSpec;
use crate::view::RunView;
use crate::{Event, Timestamp};

impl World {
    /// The run waits for this, since `since` and until `until`, and users are told so.
    #[track_caller]
    fn waits(self, name: &str, reason: &str, since: Timestamp, until: Option<Timestamp>) -> Self {
        let wait = self.run(name).waits().expect("the run waits for something");
        assert_eq!((wait.reason.as_str(), wait.since, wait.until), (reason, since, until));
        let view = RunView::of(self.run(name), &self.federation);
        assert_eq!((view.waiting_for.as_deref(), view.waiting_since), (Some(reason), Some(since)));
        let round = view.round.expect("a round is open");
        assert_eq!((round.waiting_for.as_deref(), round.waiting_until), (Some(reason), until));
        self
    }
}

#[test]
fn a_run_waits_for_free_workers_as_long_as_it_takes_and_for_a_full_cohort_until_its_window_closes() {
    let world = World::with(&["a"]).submitted("r", wants(3, 2));
    let opened = world.now;
    let world = world.waits(
        "r",
        "2 free workers with data set `digits` and trainer `mlp`: 1 are free, 1 offer it, 1 are connected",
        opened,
        None,
    );
    let world = world.after_ms(10).enrolled("b").connected("b");
    let until = world.now.plus_ms(SELECTION_MS);
    world.waits(
        "r",
        "3 free workers with data set `digits` and trainer `mlp`: 2 are free, 2 offer it, 2 are connected",
        opened,
        Some(until),
    );
}

#[test]
fn a_run_waits_for_the_placement_policy_since_it_was_asked() {
    let world = World::with(&["a"]).after_ms(20);
    let asked = world.now;
    let spec = RunSpec { placement: policy_with("random", OnFailure::Retry), ..wants(1, 1) };
    let world = world.submitted("r", spec);
    let who = world.run("r").placement.clone();
    let (question, ..) = world.asked();
    let world = world.waits("r", &format!("the placement policy, {who}"), asked, None);
    let world = world.after_ms(30);
    let again = world.now;
    let world = world.event(Event::PlacementFailed { question, reason: "trap".into() });
    let world = world.waits("r", &format!("the placement policy, {who}, asked again after 1 failures"), again, None);
    let (since, until) = (world.round("r").opened_at, world.now.plus_ms(RETRY_MS));
    let reason = "the placement policy, which declined: power is dear";
    world.policy_declines("r").waits("r", reason, since, Some(until));
}

#[test]
fn a_run_waits_for_updates_until_the_deadline_and_says_who_is_missing() {
    let world = World::with(&["a", "b", "c"]).submitted("r", wants(3, 2)).chosen(&[("r", &["a", "b", "c"])]);
    let since = world.now;
    let deadline = Some(since.plus_ms(ROUND_MS));
    let world = world.waits("r", "0/3 updates in (quorum 2), 3 workers at it", since, deadline);
    let world = world.reported("r", "a").waits("r", "1/3 updates in (quorum 2), 2 workers at it", since, deadline);
    let world = world.lost("b");
    let reason = "1/3 updates in (quorum 2), 1 workers at it, 1 lost that may return";
    let world = world.waits("r", reason, since, deadline).lost("c");
    // Everybody has answered, one way or another.
    let since = world.now;
    let reason = "1/3 updates in (quorum 2), 0 workers at it, 2 lost that may return, too few for a quorum: \
                  waiting for a worker to return or stand in";
    world.waits("r", reason, since, deadline);
    const { assert!(2 * GRACE_MS < ROUND_MS) };
}

#[test]
fn a_run_waits_for_its_aggregation_and_rests_after_a_round_that_was_abandoned() {
    let world = World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).after_ms(7).reported("r", "a");
    let since = world.now;
    let reason = format!("the aggregation of 1 updates by {}", world.run("r").aggregation);
    let world = world.waits("r", &reason, since, None).after_ms(9);
    let now = world.now;
    let failed = Event::AggregationImpossible { run: run("r"), round: 1, reason: "the disk is gone".into() };
    let until = Some(now.plus_ms(PAUSE_MS));
    world.event(failed).waits("r", "a pause after the round that was abandoned", now, until);
}
