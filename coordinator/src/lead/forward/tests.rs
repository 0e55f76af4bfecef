use tokio_util::task::AbortOnDropHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    at: std::net::SocketAddr,
    leader: watch::Sender<Option<Leader>>,
    _forwarding: AbortOnDropHandle<()>,
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    (listener, at)
}

async fn world(patience: Duration) -> World {
    let (listener, _) = listen().await;
    let at = listener.local_addr().unwrap();
    let mut forwarding = Forwarding::new();
    let leader = forwarding.leader();
    let forwarding = tokio::spawn(async move { forwarding.forward(&listener, patience).await });
    World { at, leader, _forwarding: AbortOnDropHandle::new(forwarding) }
}

fn leads(epoch: u64, peer: &str) -> Option<Leader> {
    Some(Leader { epoch, peer: peer.into() })
}

/// Takes a connection as the leader does.
async fn taken(listener: &TcpListener) -> TcpStream {
    let (mut there, _) = listener.accept().await.unwrap();
    accept_passed_on(&mut there).await.unwrap();
    there
}

async fn hears(stream: &mut TcpStream, expected: &[u8]) {
    let mut said = vec![0; expected.len()];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(said, expected);
}

/// The stream ends, in whichever way.
async fn ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it does not end");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn bytes_go_both_ways_untouched_and_an_end_is_passed_on() {
    let (there, peer) = listen().await;
    let world = world(PATIENCE).await;
    world.leader.send_replace(leads(1, &peer));
    let mut client = TcpStream::connect(world.at).await.unwrap();
    let many = vec![7; 3 * BUFFER_BYTES];
    client.write_all(b"\x16hello").await.unwrap();
    let mut there = taken(&there).await;
    hears(&mut there, b"\x16hello").await;
    there.write_all(b"welcome").await.unwrap();
    hears(&mut client, b"welcome").await;
    let (mut reading, mut writing) = there.split();
    let mut heard = vec![0; many.len()];
    let (written, read) = tokio::join!(writing.write_all(&many), client.read_exact(&mut heard));
    written.unwrap();
    read.unwrap();
    assert_eq!(heard, many);
    client.shutdown().await.unwrap();
    assert_eq!(reading.read(&mut [0; 8]).await.unwrap(), 0);
    // The other direction goes on.
    writing.write_all(b"bye").await.unwrap();
    hears(&mut client, b"bye").await;
}

#[tokio::test]
async fn who_comes_while_nobody_leads_waits_for_a_leader() {
    let (there, peer) = listen().await;
    let world = world(PATIENCE).await;
    let mut client = TcpStream::connect(world.at).await.unwrap();
    client.write_all(b"\x16hello").await.unwrap();
    world.leader.send_replace(leads(1, &peer));
    hears(&mut taken(&there).await, b"\x16hello").await;
}

#[tokio::test]
async fn patience_ends() {
    let world = world(Duration::from_millis(50)).await;
    let mut client = TcpStream::connect(world.at).await.unwrap();
    client.write_all(b"\x16hello").await.unwrap();
    ends(&mut client).await;
}

#[tokio::test]
async fn a_new_leader_closes_what_went_to_the_old_one() {
    let ((old, old_peer), (new, new_peer)) = (listen().await, listen().await);
    let world = world(PATIENCE).await;
    world.leader.send_replace(leads(1, &old_peer));
    let mut client = TcpStream::connect(world.at).await.unwrap();
    client.write_all(b"\x16hello").await.unwrap();
    let mut there = taken(&old).await;
    hears(&mut there, b"\x16hello").await;
    there.write_all(b"welcome").await.unwrap();
    hears(&mut client, b"welcome").await;
    world.leader.send_replace(leads(2, &new_peer));
    ends(&mut client).await;
    ends(&mut there).await;
    let mut client = TcpStream::connect(world.at).await.unwrap();
    client.write_all(b"\x16again").await.unwrap();
    hears(&mut taken(&new).await, b"\x16again").await;
}

#[tokio::test]
async fn a_leader_that_does_not_answer_is_dialled_again_and_its_successor_too() {
    let (gone, gone_peer) = listen().await;
    drop(gone);
    let (there, peer) = listen().await;
    let world = world(PATIENCE).await;
    world.leader.send_replace(leads(1, &gone_peer));
    let mut client = TcpStream::connect(world.at).await.unwrap();
    client.write_all(b"\x16hello").await.unwrap();
    world.leader.send_replace(leads(2, &peer));
    hears(&mut taken(&there).await, b"\x16hello").await;
}

#[tokio::test]
async fn what_a_leader_did_not_answer_its_successor_is_told() {
    let ((paused, paused_peer), (gone, gone_peer), (new, new_peer)) = (listen().await, listen().await, listen().await);
    let world = world(PATIENCE).await;
    world.leader.send_replace(leads(1, &paused_peer));
    let mut client = TcpStream::connect(world.at).await.unwrap();
    client.write_all(b"\x16he").await.unwrap();
    let mut unanswered = taken(&paused).await;
    client.write_all(b"llo").await.unwrap();
    hears(&mut unanswered, b"\x16hello").await;
    world.leader.send_replace(leads(2, &gone_peer));
    drop(taken(&gone).await);
    world.leader.send_replace(leads(3, &new_peer));
    let mut there = taken(&new).await;
    hears(&mut there, b"\x16hello").await;
    there.write_all(b"welcome").await.unwrap();
    hears(&mut client, b"welcome").await;
}

#[tokio::test]
async fn who_talks_on_without_an_answer_is_cut_off() {
    let (_there, peer) = listen().await;
    let world = world(PATIENCE).await;
    world.leader.send_replace(leads(1, &peer));
    let mut client = TcpStream::connect(world.at).await.unwrap();
    // It may be cut off while it talks.
    let _ = client.write_all(&vec![0x16; 2 * GREETING_BYTES_MAX]).await;
    ends(&mut client).await;
}

#[tokio::test]
async fn two_followers_do_not_pass_a_connection_round_and_round() {
    let patience = Duration::from_millis(300);
    let (one, other) = (world(patience).await, world(patience).await);
    one.leader.send_replace(leads(1, &other.at.to_string()));
    other.leader.send_replace(leads(2, &one.at.to_string()));
    let mut client = TcpStream::connect(one.at).await.unwrap();
    client.write_all(b"\x16hello").await.unwrap();
    ends(&mut client).await;
}

#[tokio::test]
async fn only_the_whole_line_counts_as_passed_on() {
    let (there, peer) = listen().await;
    let mut client = TcpStream::connect(peer).await.unwrap();
    client.write_all(b"polder-passed-on/9\nmore").await.unwrap();
    let (mut taken, _) = there.accept().await.unwrap();
    assert_eq!(accept_passed_on(&mut taken).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}
