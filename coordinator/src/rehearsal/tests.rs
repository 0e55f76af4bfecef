use polder_policy::Limits;
use polder_tensor::reference::{Adam, Network, Width};

use super::*;

fn close(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| (left - right).abs() < 1e-5)
}

/// What is measured in the sandbox and out of it must be the same thing.
#[test]
fn natives_do_what_the_policies_do() {
    let host = PolicyHost::new(Limits::default(), None).unwrap();
    let mut columns = Columns::new(9, 40_000);
    for (name, parameters, network) in
        [("fedmedian", "{}", Network::median(9)), ("trimmed-mean", r#"{"beta":0.25}"#, Network::trimmed_mean(9, 2))]
    {
        columns.combine(&host, &Choice::of(&host, name, parameters).unwrap()).unwrap();
        let sandboxed = columns.aggregate().to_vec();
        columns.combine_natively(&network, Width::Baseline);
        assert!(close(columns.aggregate(), &sandboxed), "{name}");
    }

    let fedadam = Choice::of(&host, "fedadam", r#"{"eta":0.1,"beta_1":0.9,"beta_2":0.99,"tau":0.001}"#).unwrap();
    let (mut sandboxed, mut native) = (Steps::new(40_000), Steps::new(40_000));
    for _ in 0..3 {
        sandboxed.step(&host, &fedadam).unwrap();
        native.step_natively(&Adam { eta: 0.1, beta_1: 0.9, beta_2: 0.99, tau: 1e-3 }, Width::Widest);
    }
    assert!(close(sandboxed.model(), native.model()));
}

#[tokio::test]
async fn a_rehearsal_is_a_round() {
    let dir = tempfile::tempdir().unwrap();
    let host = PolicyHost::new(Limits::default(), None).unwrap();
    drop(Rehearsal::make(dir.path(), 5, 3, 3000).await.unwrap());
    let rehearsal = Rehearsal::open(dir.path(), 5, 3, 3000).await.unwrap();
    assert!(rehearsal.model_bytes() > 12_000);
    for name in ["fedavg", "fedadam", "trimmed-mean"] {
        rehearsal.aggregate(&host, &Choice::of(&host, name, "{}").unwrap()).unwrap();
    }
    let krum = Choice::of(&host, "krum", "{}").unwrap();
    let plan = rehearsal.decide(&host, &krum).unwrap();
    assert_eq!(plan.weights[rehearsal.krum_natively(&krum, 0).unwrap()], 1.0);
    rehearsal.whole_vectors().unwrap();
    let fedavg = Choice::of(&host, "fedavg", "{}").unwrap();
    assert!(rehearsal.sum(&host, &fedavg).unwrap().is_finite() && rehearsal.read(&host, &fedavg).unwrap().is_finite());
    let error = Choice::of(&host, "no-such-policy", "{}").unwrap_err();
    assert_eq!(error.to_string(), "there is no built-in policy `no-such-policy`");
}
