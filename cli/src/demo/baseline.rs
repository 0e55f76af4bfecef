//! What the federation is compared with: each region alone, and everything pooled in one place, trained for as long.

use anyhow::Result;
use polder_tensor::Parameters;
use polder_train::{Architecture, Control, DataSet, Evaluation, TrainConfig, evaluate, train};
use tokio_util::sync::CancellationToken;

use super::data::DemoData;

pub(crate) struct Baselines {
    /// By region, in the demo's order.
    pub(crate) alone: Vec<(String, Evaluation)>,
    pub(crate) pooled: Evaluation,
}

impl Baselines {
    /// The region that does best by itself.
    pub(crate) fn best(&self) -> Option<&(String, Evaluation)> {
        self.alone.iter().max_by(|(_, a), (_, b)| a.accuracy.total_cmp(&b.accuracy))
    }
}

/// Trains every baseline from the federation's own first model, with as many epochs as the federation's rounds had; gives
/// up once `stop` is cancelled.
pub(crate) fn train_all(
    architecture: &Architecture,
    start: &Parameters,
    config: &TrainConfig,
    rounds: u32,
    data: &DemoData,
    seed: u64,
    stop: &CancellationToken,
) -> Result<Baselines> {
    let config = TrainConfig { epochs: config.epochs.saturating_mul(rounds), ..config.clone() };
    let one = |part: &DataSet| -> Result<Evaluation> {
        let mut control = |_| if stop.is_cancelled() { Control::Stop } else { Control::Continue };
        let trained = train(architecture, start, part, &config, seed, &mut control)?;
        Ok(evaluate(architecture, &trained.parameters, &data.held_out)?)
    };
    // As many threads as parts: the machine's cores share them.
    let one = &one;
    std::thread::scope(|scope| {
        let pooled = scope.spawn(move || one(&data.pooled));
        let alone: Vec<_> = data
            .regions
            .iter()
            .map(|region| scope.spawn(move || Ok((region.name.clone(), one(&region.data)?))))
            .collect();
        let join = |error| anyhow::anyhow!("a baseline's thread panicked: {error:?}");
        let alone = alone.into_iter().map(|thread| thread.join().map_err(join)?).collect::<Result<Vec<_>>>()?;
        Ok(Baselines { alone, pooled: pooled.join().map_err(join)?? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::data;

    #[test]
    fn baselines_that_nobody_waits_for_are_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let data = data::prepare(None, 2, 1, dir.path()).unwrap();
        let architecture = Architecture::Mlp { inputs: 64, hidden: vec![4], classes: 10 };
        let start = architecture.initial(1).unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let given_up = train_all(&architecture, &start, &TrainConfig::default(), 5000, &data, 1, &stop);
        assert!(given_up.is_err(), "they were trained");
    }
}
