//! The lines of the federation: one a region, one for the operator. Each leads to a coordinator that is up.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use polder_tests::proxy::{Line, Proxy};
use tokio::runtime::Handle;

/// A coordinator's process, told from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) coordinator: usize,
    pub(crate) number: u32,
}

pub(crate) struct Lines {
    pub(crate) regions: Vec<Proxy>,
    pub(crate) operator: Proxy,
    /// What coordinators tell workers and tokens about where they are: a place where nobody is. Without it a worker would learn the
    /// way around its region's line.
    pub(crate) nowhere: Proxy,
    /// By coordinator: how often it was started, and where it listens.
    listening: Mutex<Vec<(u32, Option<SocketAddr>)>>,
}

impl Lines {
    pub(crate) fn new(runtime: &Handle, regions: usize, coordinators: usize) -> Self {
        let nowhere = Proxy::start(runtime);
        nowhere.set(Line::Cut);
        Self {
            regions: (0..regions).map(|_| Proxy::start(runtime)).collect(),
            operator: Proxy::start(runtime),
            nowhere,
            listening: Mutex::new(vec![(0, None); coordinators]),
        }
    }

    /// A coordinator is about to start.
    pub(crate) fn begins(&self, coordinator: usize) -> Life {
        let mut listening = self.listening();
        let number = listening[coordinator].0 + 1;
        listening[coordinator] = (number, None);
        Life { coordinator, number }
    }

    /// It said where it listens; what a life says that is over does not count.
    pub(crate) fn is_up(&self, life: Life, at: SocketAddr) {
        let mut listening = self.listening();
        if listening[life.coordinator].0 == life.number {
            listening[life.coordinator].1 = Some(at);
        }
        self.lead(&listening);
    }

    pub(crate) fn is_down(&self, coordinator: usize) {
        let mut listening = self.listening();
        listening[coordinator].1 = None;
        self.lead(&listening);
    }

    pub(crate) fn are_all_up(&self) -> bool {
        self.listening().iter().all(|(_, at)| at.is_some())
    }

    /// Each line to the coordinator of its own number, or the next that is up; to where it led if none is.
    fn lead(&self, listening: &[(u32, Option<SocketAddr>)]) {
        for (number, line) in self.regions.iter().chain([&self.operator]).enumerate() {
            let in_turn = (0..listening.len()).map(|step| listening[(number + step) % listening.len()].1);
            if let Some(target) = in_turn.flatten().next() {
                line.lead_to(target);
            }
        }
    }

    fn listening(&self) -> MutexGuard<'_, Vec<(u32, Option<SocketAddr>)>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
