//! Bytes both ways between those who dialled this coordinator and the one that leads.
//!
//! TLS goes through untouched and ends at the leader: clients check that it is *a* coordinator of their authority, not at which
//! address. What is passed on begins with a line that says so. The leader drops it, and a follower that gets it hangs up: two
//! followers that each take the other for the leader must not pass a connection round and round.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// Says that a connection was passed on. TLS never begins with its first byte.
const PASSED_ON: &[u8] = b"polder-passed-on/1\n";
/// Connections passed on at once; others wait in the listener's backlog. A worker has two.
const FORWARDED_MAX: usize = 8192;
/// How long a client may take to say its first byte, and the leader to take the connection.
const OPENING: Duration = Duration::from_secs(5);
/// A direction in which nothing goes for this long is dead: both ends of a living connection send pings.
const IDLE: Duration = Duration::from_secs(90);
/// How long to wait before a leader that did not answer is dialled again.
const AGAIN: Duration = Duration::from_millis(100);
/// Most that a client says before it waits for an answer, in bytes: in TLS, its first message.
const GREETING_BYTES_MAX: usize = 32 * 1024;
/// Bytes on their way in one direction of one connection.
const BUFFER_BYTES: usize = 64 * 1024;

/// Who leads, as a follower knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) epoch: u64,
    /// Where the other coordinators reach it.
    pub(crate) peer: String,
}

/// The connections that a coordinator passes on. It outlives its turns: who waits for a leader may find that it is this one.
pub(crate) struct Forwarding {
    leader: watch::Sender<Option<Leader>>,
    open: JoinSet<()>,
}

impl Forwarding {
    pub(crate) fn new() -> Self {
        Self { leader: watch::Sender::new(None), open: JoinSet::new() }
    }

    /// Where to say who leads. Connections to the one before are closed, so that clients come anew.
    pub(crate) fn leader(&self) -> watch::Sender<Option<Leader>> {
        self.leader.clone()
    }

    /// Takes connections for ever and passes them on. Each waits for `patience` until a leader answers.
    pub(crate) async fn forward(&mut self, listener: &TcpListener, patience: Duration) {
        let places = Arc::new(Semaphore::new(FORWARDED_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let client = match listener.accept().await {
                Ok((client, _)) => client,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            while self.open.try_join_next().is_some() {}
            let leader = self.leader.subscribe();
            self.open.spawn(async move {
                if let Err(error) = pass_on(client, leader, patience).await {
                    tracing::debug!(%error, "a connection was not passed on to the end");
                }
                drop(place);
            });
        }
    }
}

async fn pass_on(
    mut client: TcpStream,
    mut leader: watch::Receiver<Option<Leader>>,
    patience: Duration,
) -> io::Result<()> {
    if timeout(OPENING, begins_passed_on(&client)).await?? {
        return Err(io::Error::other("another coordinator takes this one for the leader"));
    }
    client.set_nodelay(true)?;
    let (known, there) = timeout(patience, answered(&mut client, &mut leader)).await??;
    let both_ways = copy_both_ways(client, there);
    let changed = leader.wait_for(|now| now.as_ref() != Some(&known));
    tokio::select! {
        copied = both_ways => copied,
        _ = changed => Ok(()),
    }
}

/// A connection to a leader that has answered what the client said. One that goes without a word, or is the leader no more,
/// was told nothing that counts: its successor is told the same.
async fn answered(
    client: &mut TcpStream,
    leader: &mut watch::Receiver<Option<Leader>>,
) -> io::Result<(Leader, TcpStream)> {
    let mut said = Vec::new();
    loop {
        let (known, mut there) = dial(leader).await;
        let changed = leader.wait_for(|now| now.as_ref() != Some(&known));
        let has_answered = tokio::select! {
            has_answered = answers(client, &mut there, &mut said) => has_answered?,
            _ = changed => false,
        };
        if has_answered {
            return Ok((known, there));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Passes on what the client says until there is an answer; false if there is none.
async fn answers(client: &mut TcpStream, there: &mut TcpStream, said: &mut Vec<u8>) -> io::Result<bool> {
    if there.write_all(said).await.is_err() {
        return Ok(false);
    }
    let (mut first, mut words) = ([0], [0; 4096]);
    loop {
        tokio::select! {
            answer = there.peek(&mut first) => return Ok(answer.is_ok_and(|bytes| bytes > 0)),
            read = client.read(&mut words) => {
                let read = read?;
                if read == 0 || said.len() + read > GREETING_BYTES_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                said.extend_from_slice(&words[..read]);
                if there.write_all(&words[..read]).await.is_err() {
                    return Ok(false);
                }
            }
        }
    }
}

/// A connection to whoever leads; waits for somebody to.
async fn dial(leader: &mut watch::Receiver<Option<Leader>>) -> (Leader, TcpStream) {
    loop {
        let known = leader.wait_for(Option::is_some).await.map_or(None, |known| known.clone());
        // The follower is ending, and all of this with it.
        let Some(known) = known else { return std::future::pending().await };
        let opened = timeout(OPENING, async {
            let mut there = TcpStream::connect(&known.peer).await?;
            there.set_nodelay(true)?;
            there.write_all(PASSED_ON).await?;
            Ok::<_, io::Error>(there)
        });
        match opened.await.map_err(io::Error::from).flatten() {
            Ok(there) => return (known, there),
            Err(error) => tracing::debug!(peer = known.peer, %error, "the leader cannot be reached"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn copy_both_ways(client: TcpStream, there: TcpStream) -> io::Result<()> {
    let (from_client, to_client) = client.into_split();
    let (from_there, to_there) = there.into_split();
    // The one that ends may have more to hear, but an error ends both.
    tokio::try_join!(copy(from_client, to_there), copy(from_there, to_client)).map(|_| ())
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let deadline = Instant::now() + IDLE;
        let read = timeout_at(deadline, from.read(&mut buffer)).await??;
        if read == 0 {
            return to.shutdown().await;
        }
        timeout(IDLE, to.write_all(&buffer[..read])).await??;
    }
}

async fn begins_passed_on(client: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    if client.peek(&mut first).await? == 0 {
        // As somebody does who only looks whether the port is open.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(first[0] == PASSED_ON[0])
}

/// For the leader: drops the line with which a connection that was passed on begins. Bound the time it may take.
pub(crate) async fn accept_passed_on(client: &mut TcpStream) -> io::Result<()> {
    if begins_passed_on(client).await? {
        let mut line = vec![0; PASSED_ON.len()];
        client.read_exact(&mut line).await?;
        if line != PASSED_ON {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it neither speaks TLS nor was passed on"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
