//! Those who say nothing keep nobody out.

use polder_core::enrolment::Grant;
use polder_tests::{Coordinator, Peer};
use tokio::net::TcpStream;

/// More than two times as many as may shake hands at once.
const SILENT: usize = 600;

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_take_nobodys_place() {
    let coordinator = Coordinator::start().await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(coordinator.endpoint.to_string()).await.unwrap());
    }
    // Each gives up by itself before those who have a place would be thrown out.
    coordinator.token(Grant::Operator { name: "ada".into() }, 60_000).await;
    let mut worker = Peer::enrolled(&coordinator, "eu-west-1").await;
    let session = worker.session().await;
    drop((session, silent));
    coordinator.stop().await;
}
