use super::world::{GRACE_MS, World, wants};
use crate::{Effect, Event};

fn restarted(world: World) -> World {
    world.event(Event::CoordinatorStarted { grace_ms: GRACE_MS })
}

fn aggregates(world: &World) -> bool {
    world.effects.iter().any(|effect| matches!(effect, Effect::Aggregate(_)))
}

#[test]
fn a_question_under_way_is_asked_again_when_the_workers_are_back() {
    let world = World::with(&["a", "b"]).submitted("r", wants(2, 2));
    let (old, ..) = world.asked();
    let world = restarted(world);
    assert!(!world.asks(), "nobody is connected yet");
    let world = world.connected("a").connected("b");
    assert_ne!(world.asked().0, old);
    let late = Event::PlacementFailed { question: old, reason: "of the old process".into() };
    world.refuses(late, "stale_question").chosen(&[("r", &["a", "b"])]).phase_is("r", "configuration");
}

#[test]
fn an_aggregation_under_way_is_asked_again() {
    let world = World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).reported("r", "a");
    assert!(aggregates(&world));
    let world = restarted(world);
    assert!(aggregates(&world));
    world.aggregated("r").replays();
}

#[test]
fn an_aggregation_that_had_fallen_back_stays_with_the_builtin() {
    let world = World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).reported("r", "a");
    let failed = Event::AggregationFailed { run: super::world::run("r"), round: 1, reason: "trap".into() };
    let world = restarted(world.event(failed.clone()));
    assert_eq!(world.round("r").aggregation, crate::policy::PolicyChoice::Builtin);
    assert!(aggregates(&world));
    assert_eq!(world.event(failed).round("r").number, 2, "the built-in failed too: the round is abandoned");
}

#[test]
fn storage_that_fails_abandons_the_round_and_no_policy_falls_back() {
    let world = World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]).reported("r", "a");
    let reason = "the disk is full".into();
    let failed = Event::AggregationImpossible { run: super::world::run("r"), round: 1, reason };
    let world = world.event(failed);
    let round = world.round("r");
    assert_eq!(round.number, 2, "the first round is abandoned");
    assert_ne!(round.aggregation, crate::policy::PolicyChoice::Builtin);
    assert!(!aggregates(&world), "nobody aggregates it another way");
    world.replays();
}

#[test]
fn updates_that_were_in_still_count_and_the_round_goes_on() {
    let world = World::with(&["a", "b"]).submitted("r", wants(2, 2)).chosen(&[("r", &["a", "b"])]).reported("r", "a");
    let world = restarted(world).phase_is("r", "configuration").seat_is("r", "a", "reported").connected("a");
    assert!(world.sent("a").is_empty());
    world.connected_with("b", 1, &["r"]).reported("r", "b").phase_is("r", "aggregation").replays();
}

#[test]
fn workers_that_do_not_return_are_lost() {
    let world = restarted(World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]));
    world.after_ms(GRACE_MS).seat_is("r", "a", "lost");
}
