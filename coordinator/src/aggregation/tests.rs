use std::fs;

use polder_core::{RunId, WorkerName};
use polder_tensor::{Parameters, TensorSpec};
use proptest::prelude::*;

use super::*;
use crate::store::Store;

struct World {
    dir: tempfile::TempDir,
    store: Store,
    layout: Arc<Layout>,
    base: Parameters,
}

impl World {
    fn new(base: &[f32]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = runtime.block_on(Store::open(&dir.path().join("state"))).unwrap();
        let layout = Arc::new(Layout::new(vec![TensorSpec::new("w", [base.len()])]).unwrap());
        let base = Parameters::new(Arc::clone(&layout), base.to_vec()).unwrap();
        let world = Self { dir, store, layout, base };
        let mut writer = world.store.blobs().writer().unwrap();
        writer.write(&world.base.to_safetensors()).unwrap();
        assert_eq!(writer.finish().unwrap().0, world.base.digest());
        world
    }

    fn spooled(&self, number: usize, values: &[f32]) -> SpooledUpdate {
        let update = Parameters::new(Arc::clone(&self.layout), values.to_vec()).unwrap();
        let path = self.dir.path().join(format!("{number}.update"));
        fs::write(&path, update.to_safetensors()).unwrap();
        let assignment = AssignmentId {
            run: RunId::new("digits-1").unwrap(),
            round: 1,
            worker: WorkerName::new(format!("worker-{number}")).unwrap(),
        };
        SpooledUpdate { assignment, digest: update.digest(), path, bytes: self.layout.file_bytes() }
    }

    fn all_spooled(&self, updates: &[Vec<f32>]) -> Vec<SpooledUpdate> {
        updates.iter().enumerate().map(|(number, values)| self.spooled(number, values)).collect()
    }

    fn aggregate(&self, updates: &[SpooledUpdate], weights: &[f32]) -> Result<Aggregated, AggregationError> {
        aggregate(self.store.blobs(), &self.base.digest(), &self.layout, updates, weights)
    }

    fn model(&self, aggregated: &Aggregated) -> Parameters {
        let bytes = fs::read(self.store.blobs().path(&aggregated.digest)).unwrap();
        assert_eq!(bytes.len() as u64, aggregated.bytes);
        let model = Parameters::from_safetensors(&bytes).unwrap();
        assert_eq!(model.digest(), aggregated.digest);
        model
    }
}

/// The definition, in the order of the updates.
fn by_definition(base: &[f32], updates: &[Vec<f32>], weights: &[f32]) -> Vec<f32> {
    let sum = |at: usize| updates.iter().zip(weights).fold(0.0, |sum: f32, (row, weight)| sum + weight * row[at]);
    base.iter().enumerate().map(|(at, base)| sum(at) + base).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn neither_threads_nor_chunks_change_a_bit(
        parameters in 1..700_usize,
        updates in 1..20_usize,
        seed: u32,
        layouts in prop::collection::vec((1..5_usize, 1..200_usize), 1..4),
    ) {
        let value = |row: usize, at: usize| {
            let mixed = seed.wrapping_add((row * 7919 + at) as u32).wrapping_mul(2_654_435_761) >> 8;
            mixed as f32 / 8_388_608.0 - 1.0
        };
        let base: Vec<f32> = (0..parameters).map(|at| value(100, at)).collect();
        let rows: Vec<Vec<f32>> = (0..updates).map(|row| (0..parameters).map(|at| value(row, at)).collect()).collect();
        // Some are left out.
        let weights: Vec<f32> = (0..updates).map(|row| if row % 5 == 3 { 0.0 } else { 1.0 / (row + 2) as f32 }).collect();
        let world = World::new(&base);
        let spooled = world.all_spooled(&rows);
        let expected = bits(&by_definition(&base, &rows, &weights));
        let whole = world.aggregate(&spooled, &weights).unwrap();
        prop_assert_eq!(bits(world.model(&whole).values()), expected);
        for (threads, chunk) in layouts {
            let digest = world.base.digest();
            let again = pool(threads).install(|| {
                aggregate_in_chunks(world.store.blobs(), &digest, &world.layout, &spooled, &weights, chunk)
            });
            prop_assert_eq!(again.unwrap(), whole);
        }
    }
}

#[test]
fn a_model_of_many_blocks_is_walked_to_its_end() {
    // More than one block of full-sized chunks on one thread, and not a multiple of anything.
    let parameters = CHUNK_PARAMETERS * CHUNKS_PER_THREAD * 2 + 1234;
    let base: Vec<f32> = (0..parameters).map(|at| at as f32 / 1024.0).collect();
    let rows: Vec<Vec<f32>> = (1..=3_u8).map(|row| base.iter().map(|value| value * f32::from(row)).collect()).collect();
    let weights = [0.5, 0.25, 0.125];
    let world = World::new(&base);
    let spooled = world.all_spooled(&rows);
    let aggregated = pool(1).install(|| world.aggregate(&spooled, &weights)).unwrap();
    assert!(bits(world.model(&aggregated).values()) == bits(&by_definition(&base, &rows, &weights)));
}

#[test]
fn an_update_without_weight_is_not_read() {
    let world = World::new(&[1.0, 2.0]);
    let mut spooled = world.all_spooled(&[vec![10.0, 20.0], vec![1.0, 1.0]]);
    spooled[1].path = world.dir.path().join("nowhere");
    let aggregated = world.aggregate(&spooled, &[0.5, 0.0]).unwrap();
    assert_eq!(world.model(&aggregated).values(), [6.0, 12.0]);
    let error = world.aggregate(&spooled, &[0.5, 0.5]).unwrap_err();
    assert_eq!(error.to_string(), format!("could not read `{}`", spooled[1].path.display()));
}

#[test]
fn an_overflow_names_the_tensor_and_leaves_nothing() {
    let world = World::new(&[1.0, 2.0, 3.0]);
    let spooled = world.all_spooled(&[vec![0.0, 0.0, f32::MAX]]);
    let error = world.aggregate(&spooled, &[2.0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the sum is too large for a float32: tensor `w` has a value that is not finite, at index 2; lower the \
         learning rate or the weights"
    );
    assert_eq!(fs::read_dir(world.dir.path().join("state/incoming")).unwrap().count(), 0);
}

#[test]
fn weights_are_checked() {
    let world = World::new(&[1.0]);
    let spooled = world.all_spooled(&[vec![1.0], vec![2.0]]);
    let say = |weights: &[f32]| world.aggregate(&spooled, weights).unwrap_err().to_string();
    assert_eq!(say(&[1.0]), "there are 2 updates, but 1 weights");
    assert_eq!(say(&[0.0, 0.0]), "no update has a weight above zero");
    for bad in [f32::NAN, f32::INFINITY, -0.5] {
        let expected =
            format!("the weight of the update from digits-1/1/worker-1 is {bad}; weights are finite and not negative");
        assert_eq!(say(&[1.0, bad]), expected);
    }
}

#[test]
fn corrupt_files_are_refused() {
    let world = World::new(&[1.0, 2.0]);
    let spooled = world.all_spooled(&[vec![1.0, 2.0]]);
    let good = fs::read(&spooled[0].path).unwrap();
    for bad in [&good[..good.len() - 1], &[b" ", good.as_slice()].concat(), &[&good[..1], &good[2..], b"x"].concat()] {
        fs::write(&spooled[0].path, bad).unwrap();
        let error = world.aggregate(&spooled, &[1.0]).unwrap_err();
        assert!(matches!(error, AggregationError::Shape { .. }), "{error}");
    }
    fs::write(&spooled[0].path, good).unwrap();

    let other = Parameters::new(Arc::clone(&world.layout), vec![1.0, 2.5]).unwrap();
    fs::write(world.store.blobs().path(&world.base.digest()), other.to_safetensors()).unwrap();
    let error = world.aggregate(&spooled, &[1.0]).unwrap_err();
    assert!(matches!(error, AggregationError::ModelCorrupt { found, .. } if found == other.digest()), "{error}");
}
