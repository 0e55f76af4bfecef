//! A thread for what blocks for long. Not one of tokio's: a runtime waits for those when it ends, and a trainer that
//! will not stop must not keep the worker from ending.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

/// Work that gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fallen {
    #[error("the trainer panicked: {said}")]
    Panicked { said: String },
    #[error("the trainer's thread ended without an answer")]
    Gone,
    #[error("no thread could be started for the trainer")]
    NoThread(#[source] std::io::Error),
}

/// Does `work` on a thread of its own; `shares_output` if others may read whatever it says when it panics. If this future is dropped, the thread goes on to its end.
pub(crate) async fn on_thread<T: Send + 'static>(
    shares_output: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fallen> {
    let (answer, answered) = oneshot::channel();
    let run = move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        // Whoever asked may have gone.
        let _ = answer.send(result.map_err(|panic| {
            tracing::error!("the trainer panicked: {}", message(panic.as_ref()));
            Fallen::Panicked { said: for_others(panic.as_ref(), shares_output) }
        }));
    };
    std::thread::Builder::new().name("trainer".into()).spawn(run).map_err(Fallen::NoThread)?;
    answered.await.unwrap_or(Err(Fallen::Gone))
}

/// What may be told of a panic. A text that was put together may quote data and stays in the region, unless the region says
/// otherwise; one that stands in the program cannot.
fn for_others(panic: &(dyn Any + Send), shares_output: bool) -> String {
    match panic.downcast_ref::<&'static str>() {
        Some(text) => (*text).to_owned(),
        None if shares_output => message(panic),
        None => "what it said may quote data and stands in the worker's log".into(),
    }
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
        assert_eq!(on_thread(false, || 7).await.unwrap(), 7);
        let literal = on_thread::<()>(false, || panic!("out of ideas")).await.unwrap_err();
        assert_eq!(literal.to_string(), "the trainer panicked: out of ideas");
        // Put together when it runs: the compiler would make one text of two that it knows.
        let quoting = |shares_output| on_thread::<()>(shares_output, || panic!("row 7: {}", String::from("secret")));
        let withheld = quoting(false).await.unwrap_err().to_string();
        assert!(!withheld.contains("secret") && withheld.contains("the worker's log"), "{withheld}");
        assert_eq!(quoting(true).await.unwrap_err().to_string(), "the trainer panicked: row 7: secret");
    }
}
