//! A thread for what blocks for long. Not one of tokio's: a runtime waits for those when it ends, and a trainer that
//! will not stop must not keep the worker from ending.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

/// Work that gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fallen {
    #[error("the trainer panicked; the worker's log says how")]
    Panicked,
    #[error("no thread could be started for the trainer")]
    NoThread(#[source] std::io::Error),
}

/// Does `work` on a thread of its own. If this future is dropped, the thread goes on to its end.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fallen> {
    let (answer, answered) = oneshot::channel();
    let run = move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        // A panic may quote data, so what it says stays in the region. Whoever asked may have gone.
        let _ = answer.send(result.map_err(|panic| {
            tracing::error!("the trainer panicked: {}", message(panic.as_ref()));
            Fallen::Panicked
        }));
    };
    std::thread::Builder::new().name("trainer".into()).spawn(run).map_err(Fallen::NoThread)?;
    answered.await.unwrap_or(Err(Fallen::Panicked))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_and_panics_come_back() {
        assert_eq!(on_thread(|| 7).await.unwrap(), 7);
        let fallen = on_thread::<()>(|| panic!("row 7: {}", "secret")).await.unwrap_err();
        assert_eq!(fallen.to_string(), "the trainer panicked; the worker's log says how");
        let panic = catch_unwind(|| panic!("row {}", 7)).unwrap_err();
        assert_eq!(message(panic.as_ref()), "row 7");
    }
}
