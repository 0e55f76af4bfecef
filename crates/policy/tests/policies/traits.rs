//! What aggregation policies say of themselves and of a round, and what release policies decide: each bound of the contract, from both sides.

use polder_core::policy::{
    AggregationShape, Correction, Precision, ReleaseVerdict, Statistics, StatisticsWanted, TensorShape, Treatment,
};
use polder_policy::{ImpossibleTraits, Nonsense, PolicyError};

use crate::guest::{Aggregator, data, floats, release, words};
use crate::questions::{self, host};

/// What `describe` answers, by the contract's layout from 1032 on.
struct Described {
    shape: u8,
    statistics: u8,
    updates_min: u32,
    has_step: u8,
    state_tensors: u32,
    proximal_mu: Option<f64>,
    correction: Option<(u8, u64)>,
    base_loss: u8,
}

const SUMS: Described = Described {
    shape: 0,
    statistics: 0,
    updates_min: 1,
    has_step: 0,
    state_tensors: 0,
    proximal_mu: None,
    correction: None,
    base_loss: 0,
};

impl Described {
    fn data(&self) -> String {
        let mut bytes = vec![self.shape, self.statistics, 0, 0];
        bytes.extend(self.updates_min.to_le_bytes());
        bytes.extend([self.has_step, 0, 0, 0]);
        bytes.extend(self.state_tensors.to_le_bytes());
        bytes.extend(u64::from(self.proximal_mu.is_some()).to_le_bytes());
        bytes.extend(self.proximal_mu.unwrap_or(0.0).to_le_bytes());
        bytes.extend(u64::from(self.correction.is_some()).to_le_bytes());
        let (which, value) = self.correction.unwrap_or_default();
        bytes.extend(u64::from(which).to_le_bytes());
        bytes.extend(value.to_le_bytes());
        bytes.push(self.base_loss);
        data(1032, bytes)
    }

    /// A policy that says so, and weighs as `items` say.
    fn guest(&self, items: &str) -> Vec<u8> {
        let items = format!("{} {items}", self.data());
        Aggregator { items: &items, ..Aggregator::default() }.build()
    }
}

#[test]
fn everything_that_is_described_arrives() {
    let host = host();
    let described = Described {
        shape: 2,
        statistics: 3,
        updates_min: 7,
        has_step: 1,
        state_tensors: 4,
        proximal_mu: Some(0.0),
        correction: Some((0, 3)),
        base_loss: 1,
    };
    let traits = host.describe(&host.load(&described.guest("")).unwrap(), "{}").unwrap();
    assert_eq!(traits.shape, AggregationShape::Geometry);
    assert_eq!(traits.statistics, StatisticsWanted { norms: true, products: true });
    assert_eq!((traits.updates_min, traits.has_step, traits.state_tensors), (7, true, 4));
    assert_eq!(traits.training.proximal_mu, Some(0.0));
    assert_eq!(traits.training.correction, Some(Correction::ControlVariates { state_tensor: 3 }));
    assert!(traits.training.base_loss);
    let described = Described { shape: 1, correction: Some((1, 0.5f64.to_bits())), ..SUMS };
    let traits = host.describe(&host.load(&described.guest("")).unwrap(), "{}").unwrap();
    assert_eq!(traits.shape, AggregationShape::Columns);
    assert_eq!(traits.training.correction, Some(Correction::DynamicRegularizer { alpha: 0.5 }));
}

#[test]
fn descriptions_that_cannot_be_are_refused() {
    let alpha = |value: f64| Some((1, value.to_bits()));
    let cases = [
        (Described { updates_min: 0, ..SUMS }, ImpossibleTraits::NoUpdates),
        (Described { statistics: 1, ..SUMS }, ImpossibleTraits::StatisticsForSums),
        (Described { has_step: 1, state_tensors: 5, ..SUMS }, ImpossibleTraits::StateTensors { count: 5 }),
        (Described { state_tensors: 1, ..SUMS }, ImpossibleTraits::StateWithoutStep),
        (Described { proximal_mu: Some(-0.1), ..SUMS }, ImpossibleTraits::ProximalMu { value: -0.1 }),
        (
            Described { has_step: 1, state_tensors: 1, correction: Some((0, 1)), ..SUMS },
            ImpossibleTraits::ControlVariates { index: 1, count: 1 },
        ),
        (Described { correction: alpha(0.0), ..SUMS }, ImpossibleTraits::Alpha { value: 0.0 }),
        (Described { correction: alpha(f64::INFINITY), ..SUMS }, ImpossibleTraits::Alpha { value: f64::INFINITY }),
    ];
    let host = host();
    for (described, expected) in cases {
        let error = host.describe(&host.load(&described.guest("")).unwrap(), "{}").unwrap_err();
        let PolicyError::Nonsense(Nonsense::Traits(found)) = error else { panic!("{error:?} for {expected:?}") };
        assert_eq!(found, expected);
    }
    let nan = Described { proximal_mu: Some(f64::NAN), ..SUMS };
    let error = host.describe(&host.load(&nan.guest("")).unwrap(), "{}").unwrap_err();
    assert!(error.to_string().ends_with("proximal-mu is NaN; it is 0 to 1000000000"), "{error}");
}

/// A plan at 2048 of two equal weights, and these further lists: (offset of the list in the plan, its place, its length).
fn plan(lists: &[(u32, u32, u32)]) -> String {
    let lists: String = lists.iter().map(|(offset, at, length)| words(2048 + offset, &[*at, *length])).collect();
    format!("{} {} {lists}", words(2052, &[4096, 2]), floats(4096, &[0.5, 0.5]))
}

const EXTRA: u32 = 12;
const MEMO: u32 = 20;
const STATE: u32 = 28;
const NOTES: u32 = 36;

fn weigh(described: &Described, items: &str) -> Result<polder_core::policy::AggregationPlan, PolicyError> {
    let host = host();
    let policy = host.load(&described.guest(items)).unwrap();
    host.weigh(&policy, "{}", &questions::aggregation(&[1, 1]))
}

#[test]
fn a_plan_may_carry_extra_sums_memo_state_and_notes() {
    let stepping = Described { has_step: 1, ..SUMS };
    let items = format!(
        "{} {} {} {} {}",
        plan(&[(EXTRA, 5000, 2), (MEMO, 0, 65_536), (STATE, 0, 65_536), (NOTES, 6000, 2)]),
        words(5000, &[5100, 2, 5108, 2]),
        floats(5100, &[-1.0, 2.0, 0.0, 0.5]),
        words(6000, &[6100, 3, 6103, 2]),
        data(6100, *b"yesno"),
    );
    let plan = weigh(&stepping, &items).unwrap();
    assert_eq!(plan.extra_weights, [[-1.0, 2.0], [0.0, 0.5]]);
    assert_eq!((plan.memo.len(), plan.state.len()), (65_536, 65_536));
    assert_eq!(plan.notes, ["yes", "no"]);
}

#[test]
fn plans_beyond_the_contract_are_refused() {
    let stepping = Described { has_step: 1, ..SUMS };
    let extra = |lists: &[u32], values: &[f32]| {
        format!("{} {} {}", plan(&[(EXTRA, 5000, lists.len() as u32 / 2)]), words(5000, lists), floats(5100, values))
    };
    let cases = [
        (&stepping, extra(&[5100, 2, 5100, 2, 5100, 2], &[0.0; 2]), Nonsense::ExtraSums { count: 3 }),
        (&SUMS, extra(&[5100, 2], &[0.0; 2]), Nonsense::ExtraSumsWithoutStep),
        (&stepping, extra(&[5100, 3], &[0.0; 3]), Nonsense::ExtraWeightCount { list: 0, found: 3, updates: 2 }),
        (
            &stepping,
            extra(&[5100, 2, 5108, 2], &[0.0, 1.0, 2.0, f32::INFINITY]),
            Nonsense::ExtraWeight { list: 1, index: 1, weight: f32::INFINITY },
        ),
        (&SUMS, plan(&[(MEMO, 0, 65_537)]), Nonsense::Memo { bytes: 65_537 }),
        (&SUMS, plan(&[(STATE, 0, 65_537)]), Nonsense::State { bytes: 65_537 }),
        (&SUMS, plan(&[(NOTES, 6000, 1)]), Nonsense::NoteCount { found: 1, updates: 2 }),
        (&SUMS, plan(&[(NOTES, 6000, 3)]), Nonsense::NoteCount { found: 3, updates: 2 }),
    ];
    for (described, items, expected) in cases {
        let error = weigh(described, &items).unwrap_err();
        let PolicyError::Nonsense(found) = error else { panic!("{error:?} for {expected:?}") };
        assert_eq!(found, expected);
    }
}

/// Answers as many notes as it was given norms, and as much state as it was given products.
fn counts_statistics(statistics: u8) -> Vec<u8> {
    let items = format!("{} {}", Described { shape: 2, statistics, ..SUMS }.data(), plan(&[]));
    let weigh = "(i32.store (i32.const 2076) (i32.const 8192)) (i32.store (i32.const 2080) (local.get $norms_len))
        (i32.store (i32.const 2068) (i32.const 8192)) (i32.store (i32.const 2072) (local.get $products_len))
        (i32.const 2048)";
    Aggregator { weigh, items: &items, ..Aggregator::default() }.build()
}

#[test]
fn statistics_arrive_only_where_they_are_wanted() {
    let host = host();
    let mut question = questions::aggregation(&[1, 1]);
    question.statistics = Statistics { norms: vec![1.0, 2.0], products: vec![1.0, 0.0, 0.0, 4.0] };
    for (statistics, norms, products) in [(0, 0, 0), (1, 2, 0), (2, 0, 4), (3, 2, 4)] {
        let policy = host.load(&counts_statistics(statistics)).unwrap();
        let plan = host.weigh(&policy, "{}", &question).unwrap();
        assert_eq!((plan.state.len(), plan.memo.len()), (norms, products), "statistics {statistics}");
    }
}

#[test]
fn a_question_without_what_is_wanted_is_not_asked() {
    let host = host();
    let policy = host.load(&counts_statistics(3)).unwrap();
    let mut question = questions::aggregation(&[1, 1]);
    for (norms, products, expected) in [
        (vec![], vec![0.0; 4], "it holds 0 norms where 2 are wanted"),
        (vec![0.0; 2], vec![0.0; 3], "it holds 3 inner products where 4 are wanted"),
        (vec![0.0, f64::NAN], vec![0.0; 4], "number 1 of the norms is NaN"),
    ] {
        question.statistics = Statistics { norms, products };
        let error = host.weigh(&policy, "{}", &question).unwrap_err();
        assert!(matches!(error, PolicyError::Question { .. }), "{error:?}");
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    let picky = host.load(&Described { updates_min: 3, ..SUMS }.guest("")).unwrap();
    let error = host.weigh(&picky, "{}", &questions::aggregation(&[1, 1])).unwrap_err();
    assert!(error.to_string().ends_with("the policy works with 3 updates or more, and there are 2"), "{error}");
}

#[test]
fn a_policy_sees_the_models_tensors_and_the_population() {
    // state: the number of tensors, and the population; memo: the first tensor's name
    let weigh =
        "(i32.store8 (i32.const 8192) (local.get $tensors_len)) (i32.store8 (i32.const 8193) (local.get $population))
        (i32.store (i32.const 2076) (i32.const 8192)) (i32.store (i32.const 2080) (i32.const 2))
        (i64.store align=4 (i32.const 2068) (i64.load align=4 (local.get $tensors)))
        (i32.const 2048)";
    let items = plan(&[]);
    let host = host();
    let policy = host.load(&Aggregator { weigh, items: &items, ..Aggregator::default() }.build()).unwrap();
    let mut question = questions::aggregation(&[1, 1]);
    question.tensors.push(TensorShape { name: "bias".into(), shape: Vec::new() });
    let plan = host.weigh(&policy, "{}", &question).unwrap();
    assert_eq!((plan.state, plan.memo), (vec![2, 12], b"weight".to_vec()));
}

/// A release policy's answer at 2048, by the contract's layout.
fn answers(withholds: bool, clip: Option<f64>, noise: Option<f64>, precision: u8, state: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(u64::from(withholds).to_le_bytes());
    for treatment in [clip, noise] {
        bytes.extend(u64::from(treatment.is_some()).to_le_bytes());
        bytes.extend(treatment.unwrap_or(0.0).to_le_bytes());
    }
    bytes.extend(u64::from(precision).to_le_bytes());
    bytes.extend([4096, state, 4096, 0].iter().flat_map(|word: &u32| word.to_le_bytes()));
    release(&data(2048, bytes))
}

#[test]
fn a_release_policys_verdict_arrives() {
    let host = host();
    let review = |guest: &[u8]| host.review(&host.load(guest).unwrap(), "{}", &questions::release()).unwrap();
    let answer = review(&answers(false, Some(1.5), Some(0.0), 2, 65_536));
    let treatment = Treatment { clip: Some(1.5), noise: Some(0.0), precision: Precision::Bfloat16 };
    assert_eq!(answer.verdict, ReleaseVerdict::Release(treatment));
    assert_eq!((answer.state.len(), answer.reason.as_str()), (65_536, "the policy gave no reason"));
    assert_eq!(review(&answers(true, None, None, 0, 0)).verdict, ReleaseVerdict::Withhold);
}

#[test]
fn treatments_that_cannot_be_applied_are_refused() {
    let host = host();
    for (guest, expected) in [
        (answers(false, Some(0.0), None, 0, 0), "clip is 0; the norm"),
        (answers(false, Some(-1.0), None, 0, 0), "clip is -1; the norm"),
        (answers(false, Some(f64::NAN), None, 0, 0), "clip is NaN"),
        (answers(false, None, Some(-0.5), 0, 0), "noise is -0.5"),
        (answers(false, None, Some(f64::INFINITY), 0, 0), "noise is inf"),
        (answers(false, None, None, 3, 0), "discriminant"),
        (answers(true, None, None, 0, 65_537), "its state has 65537 bytes"),
    ] {
        let error = host.review(&host.load(&guest).unwrap(), "{}", &questions::release()).unwrap_err();
        assert!(matches!(error, PolicyError::Nonsense(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "`{error}` does not say `{expected}`");
    }
}

#[test]
fn an_update_that_is_not_finite_is_not_reviewed() {
    let host = host();
    let policy = host.load(&answers(false, None, None, 0, 0)).unwrap();
    let mut question = questions::release();
    question.update.norm = f64::INFINITY;
    let error = host.review(&policy, "{}", &question).unwrap_err();
    assert!(error.to_string().ends_with("the update's norm is inf"), "{error}");
}
