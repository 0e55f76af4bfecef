//! The network between a region and its coordinator, as a TCP proxy that a test can slow down, silence and cut.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes that travel together.
const PIECE_BYTES: usize = 16 << 10;

/// The state that a line is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Open,
    /// Every piece of up to 16 KiB takes `delay_ms`, and its share of a second.
    Slow {
        delay_ms: u64,
        bytes_per_s: u64,
    },
    /// Nothing arrives and nothing breaks: what was sent waits, as packets do that are sent again and again.
    Silent,
    /// Connections are reset, new ones too.
    Cut,
}

impl Line {
    fn pause(self, bytes: usize) -> Duration {
        match self {
            Self::Slow { delay_ms, bytes_per_s } => {
                Duration::from_millis(delay_ms) + Duration::from_secs_f64(bytes as f64 / bytes_per_s.max(1) as f64)
            }
            Self::Open | Self::Silent | Self::Cut => Duration::ZERO,
        }
    }
}

/// One line. It ends with this value.
pub struct Proxy {
    pub address: SocketAddr,
    line: watch::Sender<Line>,
    target: watch::Sender<Option<SocketAddr>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback interface; there is nobody at the other end yet.
    pub fn start(runtime: &Handle) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (line, seen) = watch::channel(Line::Open);
        let (target, to) = watch::channel(None);
        let _context = runtime.enter();
        let listener = TcpListener::from_std(listener).unwrap();
        let serving = runtime.spawn(serve(listener, seen, to));
        Self { address, line, target, serving }
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Resets the connections there are; new ones get through.
    pub fn reset(&self) {
        let before = *self.line.borrow();
        self.set(Line::Cut);
        self.set(before);
    }

    /// New connections go there from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, mut line: watch::Receiver<Line>, target: watch::Receiver<Option<SocketAddr>>) {
    loop {
        if line.wait_for(|line| *line != Line::Silent).await.is_err() {
            return;
        }
        // A connection that broke before it was taken is no concern of ours.
        let Ok((client, _)) = listener.accept().await else { continue };
        tokio::spawn(carry(client, line.clone(), target.clone()));
    }
}

async fn carry(mut client: TcpStream, mut line: watch::Receiver<Line>, target: watch::Receiver<Option<SocketAddr>>) {
    let target = *target.borrow();
    let is_cut = *line.borrow_and_update() == Line::Cut;
    let (Some(target), false) = (target, is_cut) else { return reset(&client) };
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    let there = line.clone();
    let back = line.clone();
    let is_cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async { tokio::join!(pump(from_client, to_server, there), pump(from_server, to_client, back)) };
        tokio::select! {
            _ = both => false,
            // Even a cut that is over again when we look has broken this connection.
            () = cut(line) => true,
        }
    };
    if is_cut {
        reset(&client);
        reset(&server);
    }
}

/// Closing such a connection breaks it for the other side.
fn reset(connection: &TcpStream) {
    // It may be gone already.
    let _ = connection.set_zero_linger();
}

/// Until the line is cut, or is not what it was and back.
async fn cut(mut line: watch::Receiver<Line>) {
    loop {
        let before = *line.borrow();
        if line.changed().await.is_err() {
            return;
        }
        let after = *line.borrow_and_update();
        if after == Line::Cut || after == before {
            return;
        }
    }
}

async fn pump(
    mut from: tokio::net::tcp::ReadHalf<'_>,
    mut to: tokio::net::tcp::WriteHalf<'_>,
    mut line: watch::Receiver<Line>,
) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = tokio::select! {
            biased;
            changed = line.changed() => match changed {
                Ok(()) => {
                    if line.wait_for(|line| *line != Line::Silent).await.is_err() {
                        return;
                    }
                    continue;
                }
                Err(_) => return,
            },
            read = from.read(&mut piece) => read,
        };
        let Ok(read @ 1..) = read else {
            // The other side may have left before.
            let _ = to.shutdown().await;
            return;
        };
        let Ok(now) = line.wait_for(|line| *line != Line::Silent).await.map(|line| *line) else { return };
        tokio::time::sleep(now.pause(read)).await;
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}
