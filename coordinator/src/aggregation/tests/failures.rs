//! Nothing is stored when something fails, and it is said whose fault it was.

use polder_policy::PolicyError;

use super::*;

/// Long enough for several stretches.
const LENGTH: usize = 3 * STRETCH_BYTES as usize / 4;

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

#[test]
fn hostile_chunks_are_the_policys_fault_and_leave_nothing() {
    let world = World::of(&[5, LENGTH], &vec![1.0; LENGTH + 5]);
    let rows = vec![vec![1.0; LENGTH + 5]; 2];
    let asked = |name: &str, traits: AggregationTraits| Asked {
        round: 2,
        ..Asked::sums(&world, &rows, &[1.0, 1.0]).by(&guest(name), traits)
    };
    for (name, traits, said) in [
        ("aggregate-short", columns(), "its aggregate for a chunk of 5 values has 4"),
        ("aggregate-long", columns(), "its aggregate for a chunk of 5 values has 6"),
        ("aggregate-outside-memory", columns(), "the policy failed at tensor `w0`, from its value 0 on: "),
        ("later-aggregate-nan", columns(), "the aggregate that the policy made is no number everywhere: tensor `w0`"),
        ("later-unreachable-in-combine", columns(), "the policy trapped: "),
        ("later-unreachable-in-step", stepping(0), "the policy failed at tensor `w0`, from its value 0 on: "),
        ("stepped-short", stepping(1), "its model for a chunk of 5 values has 4"),
        ("stepped-with-short-state", stepping(1), "its state for a chunk of 5 values has 4"),
        ("stepped-without-state", stepping(1), "it gives back 0 state tensors of 1"),
        ("stepped-nan", stepping(0), "the model that the policy made is no number everywhere: tensor `w0` has a"),
        ("later-stepped-nan", stepping(0), "tensor `w0` has a value that is not finite, at index 0"),
    ] {
        let error = pool(2).install(|| asked(name, traits).aggregate(&world)).unwrap_err();
        assert!(chain(&error).contains(said), "{name}: {}", chain(&error));
        assert!(error.is_policys_fault(), "{name}");
        world.assert_holds(1);
    }
}

#[test]
fn a_step_gets_no_infinite_sum() {
    let world = World::new(&[1.0; 4]);
    let rows = [vec![f32::MAX, 1.0, 1.0, 1.0]];
    let asked = Asked::sums(&world, &rows, &[2.0]).by(&guest("honest-aggregation"), stepping(0));
    let error = asked.aggregate(&world).unwrap_err();
    assert!(matches!(error, AggregationError::Overflow(_)), "{error}");

    let mut asked = Asked::sums(&world, &rows, &[0.5]).by(&guest("honest-aggregation"), stepping(0));
    asked.plan.extra_weights = vec![vec![-2.0]];
    assert!(matches!(asked.aggregate(&world).unwrap_err(), AggregationError::Overflow(_)));
    world.assert_holds(1);
}

#[test]
fn a_policy_of_another_kind_or_host_is_not_started() {
    let world = World::new(&[1.0]);
    let asked = |policy| Asked::sums(&world, &[vec![1.0]], &[1.0]).by(&policy, columns());
    let error = asked(guest("honest-placement")).aggregate(&world).unwrap_err();
    assert!(matches!(&error, AggregationError::Start(PolicyError::WrongKind { .. })), "{error}");
    assert!(error.is_policys_fault());
    let stranger = PolicyHost::new(Limits::default(), None).unwrap().builtin(PolicyKind::Aggregation).unwrap();
    let error = asked(stranger).aggregate(&world).unwrap_err();
    assert!(matches!(&error, AggregationError::Start(PolicyError::Host { .. })), "{error}");
    assert!(!error.is_policys_fault());
    world.assert_holds(1);
}

#[test]
fn corrupt_files_are_ours_to_answer_for() {
    let world = World::new(&[1.0, 2.0]);
    let asked = Asked::sums(&world, &[vec![1.0, 2.0]], &[1.0]);
    let path = &asked.updates[0].path;
    let good = fs::read(path).unwrap();
    for bad in [&good[..good.len() - 1], &[b" ", good.as_slice()].concat(), &[&good[..1], &good[2..], b"x"].concat()] {
        fs::write(path, bad).unwrap();
        let error = asked.aggregate(&world).unwrap_err();
        assert!(matches!(error, AggregationError::Shape { .. }), "{error}");
        assert!(!error.is_policys_fault());
    }
    fs::write(path, good).unwrap();

    let other = Parameters::new(Arc::clone(&world.layout), vec![1.0, 2.5]).unwrap();
    fs::write(world.store.blobs().path(&world.base.digest()), other.to_safetensors()).unwrap();
    let error = asked.aggregate(&world).unwrap_err();
    let AggregationError::Corrupt { what: "model", digest, found } = error else { panic!("{error}") };
    assert_eq!((digest, found), (world.base.digest(), other.digest()));
    assert!(!error.is_policys_fault());
    // The next try finds it out of the way, if this one has not put it there already.
    let error = asked.aggregate(&world).unwrap_err();
    assert!(!error.is_policys_fault());
    world.assert_holds(0);
}

#[test]
fn corrupt_or_miscounted_state_is_refused() {
    let base = vec![1.0; LENGTH];
    let world = World::new(&base);
    let state = Parameters::new(Arc::clone(&world.layout), base.clone()).unwrap();
    let mut changed = state.clone();
    changed.values_mut()[LENGTH - 1] = 2.0;
    // Under a name that is not the model's.
    let kept = StateTensor { digest: Digest::blake3([7; 32]), bytes: world.layout.file_bytes() };
    fs::write(world.store.blobs().path(&kept.digest), changed.to_safetensors()).unwrap();
    let mut asked = Asked::sums(&world, &[base], &[1.0]).by(&guest("honest-aggregation"), stepping(1));
    asked.kept = vec![kept];
    let error = pool(2).install(|| asked.aggregate(&world)).unwrap_err();
    let AggregationError::Corrupt { what: "state tensor", digest, found } = error else { panic!("{error}") };
    assert_eq!((digest, found), (kept.digest, changed.digest()));
    assert!(!error.is_policys_fault());

    asked.kept = vec![kept; 2];
    let error = asked.aggregate(&world).unwrap_err();
    assert_eq!(error.to_string(), "the policy has 1 state tensors, but 2 were kept");
    world.assert_holds(1);
}
