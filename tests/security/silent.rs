//! Those who say nothing keep nobody out.

use polder_tests::Coordinator;
use polder_tests::peer::channel;
use tokio::net::TcpStream;

/// More than may shake hands at once.
const SILENT: usize = 300;
/// On a machine that is busy with other things, the silent ones may have been sent away before the operator was there.
const ATTEMPTS: usize = 5;

async fn silent(coordinator: &Coordinator) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..SILENT {
        open.push(TcpStream::connect(coordinator.endpoint.to_string()).await.unwrap());
    }
    open
}

/// Whether an operator is in before the first of those who say nothing is sent away, and so did not wait for its place.
async fn passes_them(coordinator: &Coordinator) -> bool {
    let silent = silent(coordinator).await;
    channel(&coordinator.operator_credentials(), &coordinator.endpoint).await.unwrap();
    let read = silent[0].try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_take_nobodys_place() {
    let coordinator = Coordinator::start().await;
    let mut has_passed = false;
    for _ in 0..ATTEMPTS {
        has_passed = has_passed || passes_them(&coordinator).await;
    }
    assert!(has_passed, "the operator waited for the place of one who said nothing");
    coordinator.stop().await;
}
