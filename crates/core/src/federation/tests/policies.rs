use super::world::{World, policy, policy_with, run, wants, worker};
use crate::id::PolicyId;
use crate::policy::{
    AggregationShape, AggregationTraits, Correction, OnFailure, PolicyChoice, PolicyKind, PolicyRef, PolicySignature,
    StatisticsWanted, TrainingNeeds,
};
use crate::round::{AggregateReceipt, Kept, StateTensor};
use crate::spec::RunSpec;
use crate::{Digest, Effect, Event};

fn pushed(id: &str, digest: u8, signer: Option<&str>) -> Event {
    let PolicyId { name, version } = id.parse().unwrap();
    let signature = signer.map(|signer| PolicySignature { signer: signer.into(), signature: "00".into() });
    let (kind, digest) = (PolicyKind::Aggregation, Digest::sha256([digest; 32]));
    Event::PolicyPushed { name, version, kind, digest, bytes: 9, signature }
}

fn removed(id: &str) -> Event {
    let PolicyId { name, version } = id.parse().unwrap();
    Event::PolicyRemoved { name, version }
}

fn notices<'world>(world: &'world World, of_kind: &str) -> Vec<&'world str> {
    let notices = world.effects.iter().filter_map(|effect| match effect {
        Effect::Announce(notice) if notice.kind == of_kind => Some(notice.text.as_str()),
        _ => None,
    });
    notices.collect()
}

#[test]
fn a_name_and_version_stand_for_one_component_for_good() {
    let world = World::with(&[]).event(pushed("krum@1", 1, None)).event(pushed("krum@1", 1, None));
    assert!(world.effects.is_empty(), "the same bytes again are nothing new");
    let world = world.refuses(pushed("krum@1", 2, None), "policy_exists").event(removed("krum@1"));
    let world = world.refuses(pushed("krum@1", 1, None), "policy_removed").refuses(removed("krum@1"), "unknown_policy");
    world.refuses(removed("krum@2"), "unknown_policy").event(pushed("krum@2", 2, None)).replays();
}

#[test]
fn the_refusal_of_another_component_names_both() {
    let mut world = World::with(&[]).event(pushed("krum@1", 1, None));
    let refusal = world.try_event(pushed("krum@1", 2, None)).unwrap_err().to_string();
    assert!(refusal.contains(&"01".repeat(32)) && refusal.contains(&"02".repeat(32)), "{refusal}");
}

#[test]
fn a_first_signature_is_kept_and_stays() {
    let world = World::with(&[]).event(pushed("krum@1", 1, None)).event(pushed("krum@1", 1, Some("ed25519:aa")));
    assert_eq!(notices(&world, "policy-signed"), ["krum@1 is now signed by ed25519:aa"]);
    let world = world.event(pushed("krum@1", 1, Some("ed25519:bb"))).event(pushed("krum@1", 1, None));
    let signature = world.federation.policies[&"krum@1".parse().unwrap()].signature.clone();
    assert_eq!(signature.unwrap().signer, "ed25519:aa");
}

#[test]
fn numbers_rise_and_are_never_given_again() {
    let krum = "krum".parse().unwrap();
    let next = |world: &World| world.federation.next_version(&krum).unwrap().to_string();
    let world = World::with(&[]).event(pushed("other@7", 1, None));
    assert_eq!(next(&world), "1");
    let world =
        world.event(pushed("krum@10", 1, None)).event(pushed("krum@9", 2, None)).event(pushed("krum@2.0", 3, None));
    assert_eq!(next(&world), "11");
    assert_eq!(next(&world.event(removed("krum@10"))), "11");
    let last = World::with(&[]).event(pushed(&format!("krum@{}", u64::MAX), 1, None));
    assert_eq!(last.federation.next_version(&krum), None);
}

#[test]
fn a_name_alone_stands_for_what_was_pushed_last() {
    let krum = "krum".parse().unwrap();
    let newest = |world: &World| world.federation.newest(&krum).map(|(id, _)| id.to_string());
    let world = World::with(&[]);
    assert_eq!(newest(&world), None);
    let world = world.event(pushed("krum@9", 1, None)).event(pushed("krum@10", 2, None)).event(pushed("a@1", 2, None));
    assert_eq!(newest(&world).as_deref(), Some("krum@10"), "of two pushed in one millisecond");
    let world = world.after_ms(1).event(pushed("krum@1.5", 3, None));
    assert_eq!(newest(&world).as_deref(), Some("krum@1.5"));
    assert_eq!(newest(&world.event(removed("krum@1.5"))).as_deref(), Some("krum@10"));
}

fn set(placement: Option<PolicyRef>, aggregation: Option<(PolicyRef, AggregationTraits)>) -> Event {
    Event::PoliciesSet { run: run("r"), placement, aggregation }
}

fn adam() -> (PolicyRef, AggregationTraits) {
    (policy("adam"), AggregationTraits { has_step: true, state_tensors: 2, ..AggregationTraits::default() })
}

fn tensors(seed: u8) -> Vec<StateTensor> {
    (0..2).map(|at| StateTensor { digest: Digest::blake3([seed + at; 32]), bytes: 400 }).collect()
}

/// One worker, many rounds, and the first one reported.
fn aggregating(spec: RunSpec) -> World {
    let spec = RunSpec { rounds: 50, ..spec };
    World::with(&["a"]).submitted("r", spec).chosen(&[("r", &["a"])]).reported("r", "a")
}

impl World {
    fn decided_by(&self) -> String {
        self.round("r").aggregation.to_string()
    }

    /// What the aggregation that the last event asked for finds.
    fn finds(&self) -> Kept {
        let found = self.effects.iter().find_map(|effect| match effect {
            Effect::Aggregate(task) => Some(task.kept.clone()),
            _ => None,
        });
        found.expect("the last event asks for an aggregation")
    }

    fn keeps(self, kept: Kept) -> Self {
        let round = self.round("r").number;
        let model = Digest::blake3([u8::try_from(round).unwrap(); 32]);
        let receipt = AggregateReceipt::new(model, 400, model, vec![1.0], "all of it".into());
        self.event(Event::Aggregated { run: run("r"), round, receipt: AggregateReceipt { kept, ..receipt } })
    }

    fn next_round(self) -> Self {
        self.chosen(&[("r", &["a"])]).reported("r", "a")
    }

    fn aggregation_fails(self) -> Self {
        let round = self.round("r").number;
        self.event(Event::AggregationFailed { run: run("r"), round, reason: "trap".into() })
    }
}

#[test]
fn other_policies_decide_from_the_next_round_on() {
    let world = aggregating(wants(1, 1)).event(set(Some(policy("random")), Some(adam())));
    let said = notices(&world, "policies-set");
    assert!(said[0].contains("adam") && said[0].contains("fedavg") && said[0].contains("from round 2"), "{said:?}");
    assert!(world.decided_by().starts_with("fedavg"), "the open round keeps its own");
    let world = world.aggregated("r");
    assert_eq!(world.asked().1, PolicyChoice::Pinned(policy("random")));
    assert_eq!((world.decided_by().as_str(), world.round("r").traits.state_tensors), ("adam (sha256:616161616161)", 2));
    let world = world.event(set(None, Some(adam())));
    assert!(world.effects.is_empty(), "nothing changed, nothing is said");
    world.replays();
}

#[test]
fn policies_are_set_for_runs_that_run() {
    let world = aggregating(wants(1, 1)).event(Event::RunStopped { run: run("r"), reason: "enough".into() });
    let elsewhere = Event::PoliciesSet { run: run("nowhere"), placement: None, aggregation: None };
    world.refuses(set(Some(policy("random")), None), "run_ended").refuses(elsewhere, "unknown_run");
}

#[test]
fn a_policy_that_cannot_aggregate_the_run_is_refused_from_either_side() {
    let traits = AggregationTraits::default;
    let training = |training| AggregationTraits { training, state_tensors: 1, ..traits() };
    let mu = |mu| training(TrainingNeeds { proximal_mu: Some(mu), ..TrainingNeeds::default() });
    let corrected = |how| training(TrainingNeeds { correction: Some(how), ..TrainingNeeds::default() });
    let norms = StatisticsWanted { norms: true, products: false };
    let unfit = [
        (AggregationTraits { updates_min: 5, ..traits() }, "at least 5 updates and the run's quorum is 2"),
        (AggregationTraits { updates_min: 0, ..traits() }, "0 updates"),
        (AggregationTraits { state_tensors: 5, ..traits() }, "5 state tensors"),
        (AggregationTraits { statistics: norms, ..traits() }, "shape is sums"),
        (mu(f64::NAN), "proximal_mu is NaN"),
        (mu(-0.1), "proximal_mu is -0.1"),
        (mu(f64::INFINITY), "proximal_mu is inf"),
        (corrected(Correction::ControlVariates { state_tensor: 1 }), "state tensor 1"),
        (corrected(Correction::DynamicRegularizer { alpha: 0.0 }), "alpha is 0"),
        (corrected(Correction::DynamicRegularizer { alpha: f64::NAN }), "alpha is NaN"),
    ];
    for (traits, why) in unfit {
        let mut world = World::with(&["a"]).submitted("r", wants(2, 2));
        let submitted = Event::RunSubmitted { run: run("s"), spec: wants(2, 2).into(), traits: traits.clone() };
        for event in [submitted, set(None, Some((policy("odd"), traits)))] {
            let refusal = world.try_event(event).expect_err(why);
            assert_eq!(refusal.code(), "unfit_policy");
            assert!(refusal.to_string().contains(why), "{refusal}");
        }
    }
    let fits = AggregationTraits { shape: AggregationShape::Geometry, statistics: norms, updates_min: 2, ..traits() };
    World::with(&[]).submitted("r", wants(2, 2)).event(set(None, Some((policy("krum"), fits))));
}

#[test]
fn what_a_policy_keeps_comes_back_in_the_next_round_and_once_in_memory() {
    let kept = Kept { tensors: tensors(7), state: vec![1, 2] };
    let world = aggregating(wants(1, 1)).event(set(None, Some(adam()))).aggregated("r").next_round();
    assert_eq!(world.finds(), Kept::default(), "the first time all is zero");
    let world = world.keeps(kept.clone()).next_round();
    assert_eq!(world.finds(), kept);
    let history = &world.run("r").history;
    assert!(history.iter().all(|round| round.committed().unwrap().kept == Kept::default()));
    world.replays();
}

/// Round 2 is being aggregated by `adam`, and `next` follows it.
fn adam_followed_by(next: (PolicyRef, AggregationTraits)) -> World {
    let world = aggregating(wants(1, 1)).event(set(None, Some(adam()))).aggregated("r").next_round();
    world.event(set(None, Some(next)))
}

#[test]
fn a_new_version_inherits_and_another_policy_or_shape_does_not() {
    let kept = Kept { tensors: tensors(7), state: vec![1] };
    let (old, traits) = adam();
    let newer = PolicyRef { digest: Digest::sha256([9; 32]), version: Some("2".parse().unwrap()), ..old };
    let found_by = |next| adam_followed_by(next).keeps(kept.clone()).next_round().finds();
    assert_eq!(found_by((newer.clone(), traits.clone())), kept);
    assert_eq!(found_by((newer, AggregationTraits { state_tensors: 1, ..traits.clone() })), Kept::default());
    assert_eq!(found_by((policy("yogi"), traits)), Kept::default());
}

#[test]
fn the_builtin_fallback_neither_finds_nor_leaves_anything() {
    let kept = Kept { tensors: tensors(7), state: vec![1] };
    let world = adam_followed_by(adam()).keeps(kept.clone()).next_round().aggregation_fails();
    assert_eq!(world.round("r").aggregation, PolicyChoice::Builtin);
    assert_eq!(world.finds(), Kept::default());
    let world = world.keeps(Kept { tensors: tensors(50), state: vec![9] }).next_round();
    assert_eq!(world.finds(), kept, "what the run's own policy kept is still there");
    world.replays();
}

#[test]
fn scaffold_sends_its_control_variate_and_workers_may_fetch_it() {
    let correction = Some(Correction::ControlVariates { state_tensor: 1 });
    let training = TrainingNeeds { correction, ..TrainingNeeds::default() };
    let traits = AggregationTraits { has_step: true, state_tensors: 2, training, ..AggregationTraits::default() };
    let scaffold = policy_with("scaffold", OnFailure::Builtin);
    let world = aggregating(wants(1, 1)).event(set(None, Some((scaffold.clone(), traits)))).aggregated("r");
    let sent = |world: &World| {
        let sent = world.effects.iter().find_map(|effect| match effect {
            Effect::SendAssignment(assignment) => Some((**assignment).clone()),
            _ => None,
        });
        sent.expect("the last event sends an assignment")
    };
    let world = world.chosen(&[("r", &["a"])]);
    let first = sent(&world);
    assert_eq!((first.training, first.control_variate, &first.aggregation), (training, None, &scaffold));
    assert_eq!((first.cohort, first.quorum), (1, 1));
    let world = world.reported("r", "a").keeps(Kept { tensors: tensors(7), state: Vec::new() });
    let c = tensors(7)[1];
    assert!(!world.federation.starts_from(&worker("a"), &c.digest), "it has not been asked yet");
    let world = world.chosen(&[("r", &["a"])]);
    assert_eq!(sent(&world).control_variate, Some(c));
    assert!(world.federation.starts_from(&worker("a"), &c.digest));
    assert!(!world.federation.starts_from(&worker("a"), &tensors(7)[0].digest), "the other tensor is the policy's own");
    assert!(!world.reported("r", "a").federation.starts_from(&worker("a"), &c.digest));
}

fn going_back(name: &str) -> (PolicyRef, AggregationTraits) {
    (policy_with(name, OnFailure::Previous), AggregationTraits::default())
}

#[test]
fn a_policy_that_fails_gives_way_to_the_one_before_for_good() {
    let world = aggregating(wants(1, 1)).event(set(None, Some(going_back("new")))).aggregated("r").next_round();
    let world = world.aggregation_fails();
    assert!(notices(&world, "policy-failed")[0].contains("fedavg"), "{:?}", notices(&world, "policy-failed"));
    assert_eq!(notices(&world, "policy-rolled-back").len(), 1);
    let world = world.aggregated("r").next_round();
    assert!(world.decided_by().starts_with("fedavg") && world.run("r").aggregation == policy("fedavg"));
    world.replays();
}

#[test]
fn a_policy_that_decided_before_itself_goes_back_to_the_one_before_that() {
    let world = aggregating(wants(1, 1)).event(set(None, Some(going_back("new")))).aggregated("r").next_round();
    let world = world.aggregated("r").next_round().aggregated("r").next_round().aggregation_fails();
    assert!(world.decided_by().starts_with("fedavg"));
}

#[test]
fn two_that_fail_in_turn_end_with_the_builtin() {
    let spec = RunSpec { aggregation: going_back("old").0, ..wants(1, 1) };
    let world = aggregating(spec).event(set(None, Some(going_back("new")))).aggregated("r").next_round();
    let world = world.aggregation_fails();
    assert!(world.decided_by().starts_with("old"));
    let world = world.aggregation_fails();
    assert_eq!(world.decided_by(), "the built-in policy");
    let world = world.aggregation_fails();
    assert_eq!(world.round("r").number, 3, "and then the round is abandoned");
    assert!(world.decided_by().starts_with("old"), "the next round tries the run's own again");
    world.replays();
}

#[test]
fn a_swap_that_came_meanwhile_outlives_the_failure_of_the_policy_before_it() {
    let world = aggregating(wants(1, 1)).event(set(None, Some(going_back("new")))).aggregated("r").next_round();
    let world = world.event(set(None, Some((policy("median"), AggregationTraits::default())))).aggregation_fails();
    assert!(world.decided_by().starts_with("fedavg") && notices(&world, "policy-rolled-back").is_empty());
    assert!(world.aggregated("r").decided_by().starts_with("median"));
}

#[test]
fn placement_goes_back_too() {
    let world = World::with(&["a"]).submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]);
    let world = world.event(set(Some(policy_with("random", OnFailure::Previous)), None));
    let world = world.reported("r", "a").aggregated("r").policy_fails();
    assert_eq!(notices(&world, "policy-rolled-back").len(), 1);
    assert_eq!(world.asked().1, PolicyChoice::Pinned(policy("least-loaded")), "it is asked at once");
    assert_eq!(world.run("r").placement, policy("least-loaded"));
    world.chosen(&[("r", &["a"])]).phase_is("r", "configuration").replays();
}

#[test]
fn a_placement_policy_is_asked_again_three_times_and_the_round_is_abandoned() {
    let spec = RunSpec { placement: policy_with("random", OnFailure::Retry), ..wants(1, 1) };
    let world = World::with(&["a"]).submitted("r", spec).policy_fails().policy_fails();
    assert_eq!((world.asks(), world.round("r").number), (true, 1));
    let world = world.policy_fails();
    assert_eq!((world.asks(), world.round("r").number), (false, 2));
    world.rested("r").chosen(&[("r", &["a"])]).phase_is("r", "configuration").replays();
}

#[test]
fn a_round_says_which_components_decided_it() {
    let world = aggregating(wants(1, 1)).aggregated("r");
    let round = &world.run("r").history[0];
    let view = crate::view::RoundView::of(world.run("r"), round, &world.federation);
    assert_eq!(view.placement, "least-loaded (sha256:6c6c6c6c6c6c)");
    assert_eq!(view.placement_policy, Some(Digest::sha256([1; 32])), "as the answer said");
    assert_eq!(view.aggregation, "fedavg (sha256:666666666666)");
    assert!(view.aggregation_policy.is_some());
}

#[test]
fn population_counts_all_that_ever_offered_the_data() {
    let world = World::with(&["a", "b"]).enrolled("never-here").submitted("r", wants(1, 1)).chosen(&[("r", &["a"])]);
    let world = world.lost("b").reported("r", "a");
    let asked = world.effects.iter().find_map(|effect| match effect {
        Effect::Aggregate(task) => Some(task.population),
        _ => None,
    });
    assert_eq!(asked, Some(2));
}

#[test]
fn latency_is_a_mean_in_which_the_newest_counts_a_quarter() {
    let latency = |world: &World| world.federation.workers[&worker("a")].latency_ms;
    let world = World::with(&["a"]).submitted("r", RunSpec { rounds: 9, ..wants(1, 1) });
    let world = world.chosen(&[("r", &["a"])]).after_ms(400);
    assert_eq!(latency(&world), None);
    let world = world.reported("r", "a");
    assert_eq!(latency(&world), Some(400.0));
    let world = world.aggregated("r").chosen(&[("r", &["a"])]).after_ms(800).reported("r", "a");
    assert_eq!(latency(&world), Some(500.0));
    let world = world.aggregated("r");
    assert_eq!(world.asked().2.workers[0].latency_ms, Some(500.0), "the next question says so");
    world.replays();
}
