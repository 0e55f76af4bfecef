//! What is done to the federation, and when: all of it follows from the seed.

use std::fmt;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The first fault finds a federation at work.
const QUIET_MS: u64 = 1_500;

/// Something that goes wrong, by the place of its victim in the world's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, and started again after a while.
    KillCoordinator {
        coordinator: usize,
        down_ms: u64,
    },
    KillWorker {
        worker: usize,
        down_ms: u64,
    },
    /// SIGSTOP, and SIGCONT after a while.
    PauseCoordinator {
        coordinator: usize,
        ms: u64,
    },
    PauseWorker {
        worker: usize,
        ms: u64,
    },
    /// The region's connections are reset, and refused for a while.
    Cut {
        region: usize,
        ms: u64,
    },
    /// Nothing arrives any more, and nothing breaks.
    Silence {
        region: usize,
        ms: u64,
    },
    /// Only one region still reaches its coordinator.
    Partition {
        alone: usize,
        ms: u64,
    },
    Slow {
        region: usize,
        delay_ms: u64,
        bytes_per_s: u64,
        ms: u64,
    },
    /// The region's connections are reset, once.
    Reset {
        region: usize,
    },
    /// The disk of the coordinators has no byte left.
    FillDisk {
        ms: u64,
    },
    /// No fault: somebody submits one more run, whatever else happens.
    Submit,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillCoordinator { coordinator, down_ms } => {
                write!(f, "kill -9 coordinator {coordinator}, down for {down_ms} ms")
            }
            Self::KillWorker { worker, down_ms } => write!(f, "kill -9 worker {worker}, down for {down_ms} ms"),
            Self::PauseCoordinator { coordinator, ms } => write!(f, "pause coordinator {coordinator} for {ms} ms"),
            Self::PauseWorker { worker, ms } => write!(f, "pause worker {worker} for {ms} ms"),
            Self::Cut { region, ms } => write!(f, "cut region {region} for {ms} ms"),
            Self::Silence { region, ms } => write!(f, "silence region {region} for {ms} ms"),
            Self::Partition { alone, ms } => write!(f, "silence all regions but {alone} for {ms} ms"),
            Self::Slow { region, delay_ms, bytes_per_s, ms } => {
                write!(f, "slow region {region} to {delay_ms} ms and {bytes_per_s} B/s for {ms} ms")
            }
            Self::Reset { region } => write!(f, "reset the connections of region {region}"),
            Self::FillDisk { ms } => write!(f, "fill the coordinators' disk for {ms} ms"),
            Self::Submit => f.write_str("submit a run"),
        }
    }
}

/// A fault at its time after the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) at_ms: u64,
    pub(crate) fault: Fault,
}

/// How many there are of everything that can be hurt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Victims {
    pub(crate) coordinators: usize,
    pub(crate) workers: usize,
    pub(crate) regions: usize,
    /// Whether the coordinators' disk can be filled.
    pub(crate) has_own_disk: bool,
}

/// The faults of `lasting_ms`, in the order of time. The same seed gives the same ones; a longer time goes on after them.
pub(crate) fn plan(seed: u64, lasting_ms: u64, victims: Victims) -> Vec<Planned> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut planned = Vec::new();
    let mut at_ms = QUIET_MS;
    while at_ms < lasting_ms {
        let fault = draw(&mut dice, victims);
        planned.extend(
            (victims.has_own_disk || !matches!(fault, Fault::FillDisk { .. }))
                .then_some(fault)
                .map(|fault| Planned { at_ms, fault }),
        );
        at_ms += dice.random_range(100..=1_300);
    }
    planned
}

/// Every number is drawn whatever becomes of it, so that a seed means the same with and without a disk to fill.
fn draw(dice: &mut ChaCha8Rng, victims: Victims) -> Fault {
    let what = dice.random_range(0..100);
    let coordinator = dice.random_range(0..victims.coordinators);
    let worker = dice.random_range(0..victims.workers);
    let region = dice.random_range(0..victims.regions);
    let ms = dice.random_range(50..=4_000);
    // Most that are killed are back soon: that is when they meet what they have left behind.
    let down_ms = if dice.random::<f64>() < 0.7 { ms / 10 } else { ms };
    match what {
        0..18 => Fault::KillCoordinator { coordinator, down_ms },
        18..40 => Fault::KillWorker { worker, down_ms },
        40..48 => Fault::PauseCoordinator { coordinator, ms },
        48..58 => Fault::PauseWorker { worker, ms },
        58..66 => Fault::Cut { region, ms },
        66..74 => Fault::Silence { region, ms },
        74..77 => Fault::Partition { alone: region, ms },
        77..84 => Fault::Slow { region, delay_ms: ms / 100, bytes_per_s: 20_000 + ms * 100, ms },
        84..90 => Fault::Reset { region },
        90..95 => Fault::FillDisk { ms },
        _ => Fault::Submit,
    }
}

#[test]
fn a_seed_always_means_the_same_and_more_time_only_adds() {
    let victims = Victims { coordinators: 1, workers: 5, regions: 3, has_own_disk: true };
    let faults = |seed, ms, victims| plan(seed, ms, victims).iter().map(|planned| planned.fault).collect::<Vec<_>>();
    let short = faults(7, 20_000, victims);
    let long = faults(7, 60_000, victims);
    assert!(short.len() > 15 && long.starts_with(&short) && long.len() > short.len());
    assert_ne!(short, faults(8, 20_000, victims));
    let diskless = Victims { has_own_disk: false, ..victims };
    let without: Vec<_> = long.into_iter().filter(|fault| !matches!(fault, Fault::FillDisk { .. })).collect();
    assert_eq!(without, faults(7, 60_000, diskless));
}
