//! Times of variants, taken in turn.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

/// One variant of what is measured; blocks.
pub(super) type Work = Arc<dyn Fn() -> Result<()> + Send + Sync>;

pub(super) fn work(work: impl Fn() -> Result<()> + Send + Sync + 'static) -> Work {
    Arc::new(work)
}

/// The median time of each variant in seconds: all of them once untimed, then in turn, so that whatever else the machine does
/// meets them all.
pub(super) async fn medians<const N: usize>(repeats: usize, variants: [Work; N]) -> Result<[f64; N]> {
    for variant in &variants {
        once(variant).await?;
    }
    let mut times = [const { Vec::new() }; N];
    for _ in 0..repeats {
        for (variant, times) in variants.iter().zip(&mut times) {
            times.push(once(variant).await?);
        }
    }
    Ok(times.map(median))
}

/// Off the async threads, so that the wish to stop is heard between any two.
async fn once(work: &Work) -> Result<f64> {
    let work = work.clone();
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        work()?;
        Ok(started.elapsed().as_secs_f64())
    })
    .await?
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
