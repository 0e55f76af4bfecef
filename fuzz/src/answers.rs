//! Whatever a policy answers: what the contract allows gets through as it was, anything else is refused with a sentence, and nothing panics.
//!
//! The `echo-*` guests answer with bytes that they are given, so an answer needs no compiler: the input is read as a recipe for an answer
//! ([`Source`]), which is laid out as the canonical ABI wants it ([`Image`]) and then perhaps corrupted. For one that is not, this file says
//! independently of the host whether the contract allows it.

mod image;

use std::sync::OnceLock;

use polder_core::policy::{
    AggregationQuestion, Demand, PlacementQuestion, ReleaseQuestion, ReleaseVerdict, UpdateSummary, WorkerLoad,
    WorkerSnapshot,
};
use polder_core::{Region, RunId, WorkerName};
use polder_policy::{ChunkJob, Limits, Policy, PolicyError, PolicyHost, Span};

use self::image::{Image, STATE_BYTES_MAX, Source};

/// Largest `proximal-mu` and `alpha`.
const STRENGTH_MAX: f64 = 1e9;

struct World {
    host: PolicyHost,
    placement: Policy,
    aggregation: Policy,
    release: Policy,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let limits = Limits { question_ms_max: 10_000, chunk_ms_max: 10_000, ..Limits::default() };
        let host = PolicyHost::new(limits, None).expect("the sandbox works");
        let load = |bytes: &[u8]| host.load(bytes).expect("the echo is a policy");
        World {
            placement: load(include_bytes!("../../tests/policies/guests/echo-placement.wasm")),
            aggregation: load(include_bytes!("../../tests/policies/guests/echo-aggregation.wasm")),
            release: load(include_bytes!("../../tests/policies/guests/echo-release.wasm")),
            host,
        }
    })
}

/// Reads `bytes` as a recipe for an answer, gives it, and holds the host to what it must make of it.
pub(crate) fn hold(bytes: &[u8]) {
    let mut source = Source(bytes);
    match source.below(6) {
        0 => describe(&mut source),
        1 => place(&mut source),
        2 => review(&mut source),
        3 => combine(&mut source),
        4 => step(&mut source),
        _ => weigh(&mut source),
    }
}

/// Compares the host's verdict on an answer that was not corrupted with the contract's, and holds any refusal to its form.
fn judge<T: std::fmt::Debug>(outcome: &Result<T, PolicyError>, is_allowed: bool, is_corrupted: bool) {
    if let Err(error) = outcome {
        let message = error.to_string();
        assert!(message.len() < 2000 && !message.contains(|c: char| c.is_control()), "{message:?}");
        let is_the_answers = matches!(
            error,
            PolicyError::Nonsense(_)
                | PolicyError::OutputTooLarge { .. }
                | PolicyError::Parameters { .. }
                | PolicyError::Refused { .. }
        );
        assert!(is_the_answers, "{error:?}");
    }
    if !is_corrupted {
        assert_eq!(outcome.is_ok(), is_allowed, "{outcome:?}");
    }
}

/// The result of `describe`, and whether the contract allows it.
fn traits(source: &mut Source<'_>) -> (Image, bool) {
    let mut image = Image::new(80);
    let (shape, statistics) = (source.below(3) as u8, source.below(4) as u8);
    let (updates_min, has_step, state_tensors) = (source.count(1), source.is(2), source.count(0));
    image.put(8, &[shape, statistics]);
    image.word(12, updates_min);
    image.flag(16, has_step);
    image.word(20, state_tensors);
    let mu = source.is(3).then(|| source.double());
    image.option(24, mu);
    let correction = source.below(4);
    let (index, alpha) = (source.below(3), source.double());
    image.flag(40, correction > 1);
    image.flag(48, correction == 3);
    if correction == 3 {
        image.put(56, &alpha.to_le_bytes());
    } else {
        image.word(56, index);
    }
    let is_allowed = updates_min > 0
        && (statistics == 0 || shape != 0)
        && state_tensors <= 4
        && (state_tensors == 0 || has_step)
        && mu.is_none_or(|mu| (0.0..=STRENGTH_MAX).contains(&mu))
        && (correction != 2 || index < state_tensors)
        && (correction != 3 || alpha > 0.0 && alpha <= STRENGTH_MAX);
    (image, is_allowed)
}

fn describe(source: &mut Source<'_>) {
    let World { host, aggregation, .. } = world();
    let (mut image, is_allowed) = traits(source);
    let is_corrupted = image.corrupt(source);
    let outcome = host.describe(aggregation, &image.letters());
    judge(&outcome, is_allowed, is_corrupted);
    if let Ok(traits) = outcome {
        assert!(traits.updates_min > 0 && traits.state_tensors <= 4, "{traits:?}");
        let mu = traits.training.proximal_mu;
        assert!(mu.is_none_or(|mu| (0.0..=STRENGTH_MAX).contains(&mu)), "{traits:?}");
    }
}

fn weigh(source: &mut Source<'_>) {
    let World { host, aggregation, .. } = world();
    let updates = 1 + source.below(5);
    let has_step = source.is(2);
    let parameters = if has_step {
        let mut traits = Image::new(80);
        traits.word(12, 1);
        traits.flag(16, true);
        traits.letters()
    } else {
        "{}".into()
    };
    let mut image = Image::new(56);
    let count = source.count(updates);
    let weights = source.floats(count);
    let lists = if source.is(3) { source.below(4) } else { 0 };
    let extra = source.lists(lists, updates);
    let (memo, state) = (source.state_len(), source.state_len());
    let notes = if source.is(3) { source.count(updates) } else { 0 };
    image.floats(4, &weights);
    image.lists_of_floats(12, &extra);
    image.bytes(20, memo);
    image.bytes(28, state);
    image.list(36, &vec![0; notes as usize * 8], notes);
    image.list(44, b"because", 7);
    let is_corrupted = image.corrupt(source);
    let fits = |weights: &[f32]| weights.len() == updates as usize;
    let is_weight = |weight: &f32| weight.is_finite() && *weight >= 0.0;
    let is_allowed = fits(&weights)
        && weights.iter().all(is_weight)
        && weights.iter().any(|weight| *weight > 0.0)
        && (extra.is_empty() || has_step)
        && extra.len() <= 2
        && extra.iter().all(|list| fits(list) && list.iter().all(|weight| weight.is_finite()))
        && memo.max(state) <= STATE_BYTES_MAX
        && (notes == 0 || notes == updates);
    let question = AggregationQuestion {
        round: 1,
        updates: vec![UpdateSummary::default(); updates as usize],
        state: image.0,
        ..AggregationQuestion::default()
    };
    let outcome = host.weigh(aggregation, &parameters, &question);
    judge(&outcome, is_allowed, is_corrupted);
    let Ok(plan) = outcome else { return };
    assert!(fits(&plan.weights) && plan.weights.iter().all(is_weight), "{plan:?}");
    assert!(plan.weights.iter().any(|weight| *weight > 0.0), "{plan:?}");
    assert!(plan.memo.len().max(plan.state.len()) <= STATE_BYTES_MAX as usize && plan.reason.len() <= 500);
    if !is_corrupted {
        assert!(plan.weights == weights && plan.extra_weights == extra && plan.reason == "because", "{plan:?}");
    }
}

/// Workers, and rounds of which each may have the first of them, one more a round.
fn asked(workers: u32, demands: u32) -> PlacementQuestion {
    let names: Vec<_> = (0..workers).filter_map(|index| WorkerName::new(format!("worker-{index}")).ok()).collect();
    let worker = |name: &WorkerName| WorkerSnapshot {
        name: name.clone(),
        region: Region::new("eu-west").expect("a region"),
        slots: 1,
        slots_free: 1,
        rounds_assigned: 0,
        latency_ms: None,
        load: WorkerLoad::default(),
    };
    let demand = |index: u32| Demand {
        run: RunId::new(format!("run-{index}")).expect("a run"),
        round: 1,
        seats: 1,
        seats_min: 1,
        candidates: names.iter().take(1 + index as usize).cloned().collect(),
    };
    PlacementQuestion {
        seed: 1,
        demands: (0..demands).map(demand).collect(),
        workers: names.iter().map(worker).collect(),
        state: Vec::new(),
    }
}

fn place(source: &mut Source<'_>) {
    let World { host, placement, .. } = world();
    let (workers, demands) = (1 + source.below(4), source.below(4));
    let mut question = asked(workers, demands);
    let candidates: usize = question.demands.iter().map(|demand| demand.candidates.len()).sum();
    let (seats, declined, state) = (source.below(4), source.count(0), source.state_len());
    let mut is_allowed = seats as usize <= candidates && declined <= demands && state <= STATE_BYTES_MAX;
    let mut image = Image::new(32);
    let mut content = Vec::new();
    for _ in 0..seats {
        let (demand, worker) = (source.below(demands + 1), source.below(workers + 1));
        let gpu = source.is(16);
        is_allowed &= demand < demands && worker < workers && !gpu;
        let words = [demand, worker, u32::from(gpu), 0, 0, 0];
        content.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }
    image.list(4, &content, seats);
    content.clear();
    for _ in 0..declined {
        let demand = source.below(demands + 1);
        is_allowed &= demand < demands;
        content.extend([demand, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
    }
    image.list(12, &content, declined);
    image.bytes(20, state);
    let is_corrupted = image.corrupt(source);
    question.state = image.0;
    let outcome = host.place(placement, "{}", &question);
    judge(&outcome, is_allowed, is_corrupted);
    let Ok(answer) = outcome else { return };
    assert!(answer.assignments.len() <= candidates && answer.state.len() <= STATE_BYTES_MAX as usize, "{answer:?}");
    assert!(answer.assignments.iter().all(|seat| question.workers.iter().any(|worker| worker.name == seat.worker)));
    assert!(is_corrupted || answer.assignments.len() == seats as usize, "{answer:?}");
}

fn review(source: &mut Source<'_>) {
    let World { host, release, .. } = world();
    let mut image = Image::new(80);
    let is_withheld = source.is(4);
    let clip = source.is(2).then(|| source.double());
    let noise = source.is(2).then(|| source.double());
    let (precision, state) = (source.below(3) as u8, source.state_len());
    image.flag(8, is_withheld);
    image.option(16, clip);
    image.option(32, noise);
    image.put(48, &[precision]);
    image.bytes(56, state);
    image.list(64, b"because", 7);
    let is_corrupted = image.corrupt(source);
    let is_treatment = |clip: Option<f64>, noise: Option<f64>| {
        clip.is_none_or(|clip| clip.is_finite() && clip > 0.0)
            && noise.is_none_or(|noise| noise.is_finite() && noise >= 0.0)
    };
    let is_allowed = (is_withheld || is_treatment(clip, noise)) && state <= STATE_BYTES_MAX;
    let question = ReleaseQuestion { state: image.0, ..ReleaseQuestion::default() };
    let outcome = host.review(release, "{}", &question);
    judge(&outcome, is_allowed, is_corrupted);
    let Ok(answer) = outcome else { return };
    assert!(is_corrupted || is_withheld == (answer.verdict == ReleaseVerdict::Withhold), "{answer:?}");
    if let ReleaseVerdict::Release(treatment) = answer.verdict {
        assert!(is_treatment(treatment.clip, treatment.noise), "{answer:?}");
    }
}

fn combine(source: &mut Source<'_>) {
    let World { host, aggregation, .. } = world();
    let values = source.below(9);
    let given = source.count(values);
    let given = source.floats(given);
    let mut image = Image::new(16);
    image.floats(4, &given);
    let is_corrupted = image.corrupt(source);
    let job = ChunkJob { round: 1, seed: 1, memo: image.0, parameters: "{}".into() };
    let (row, mut aggregate) = (vec![1.0; values as usize], vec![0.0; values as usize]);
    let mut chunks = host.chunks(aggregation, &job).expect("the echo starts");
    let outcome = chunks.combine(Span::default(), &[&row], &[1.0], &mut aggregate);
    judge(&outcome, given.len() == row.len(), is_corrupted);
    if outcome.is_ok() && !is_corrupted {
        assert!(aggregate.iter().zip(&given).all(|(got, given)| got.to_bits() == given.to_bits()), "{aggregate:?}");
    }
}

fn step(source: &mut Source<'_>) {
    let World { host, aggregation, .. } = world();
    let (values, tensors) = (source.below(9), source.below(5));
    let model = source.count(values);
    let model = source.floats(model);
    let lists = source.count(tensors);
    let state = source.lists(lists, values);
    let mut image = Image::new(24);
    image.floats(4, &model);
    image.lists_of_floats(12, &state);
    let is_corrupted = image.corrupt(source);
    let job = ChunkJob { round: 1, seed: 1, memo: image.0, parameters: "{}".into() };
    let (aggregate, mut next) = (vec![1.0; values as usize], vec![0.0; values as usize]);
    let mut kept = vec![vec![0.0; values as usize]; tensors as usize];
    let mut into: Vec<&mut [f32]> = kept.iter_mut().map(Vec::as_mut_slice).collect();
    let mut chunks = host.chunks(aggregation, &job).expect("the echo starts");
    let outcome = chunks.step(Span::default(), &mut next, &aggregate, &[], &mut into);
    let is_as_long = |list: &Vec<f32>| list.len() == values as usize;
    let is_allowed = is_as_long(&model) && state.len() == tensors as usize && state.iter().all(is_as_long);
    judge(&outcome, is_allowed, is_corrupted);
    if outcome.is_ok() && !is_corrupted {
        let bits = |list: &[f32]| list.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&next), bits(&model));
        assert!(kept.iter().zip(&state).all(|(got, given)| bits(got) == bits(given)), "{kept:?}");
    }
}
