//! Which coordinators there are: each says every second that it is there, and reads who else did.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::driver::chain;
use crate::store::{Member, MemberSeen, Store, StoreError};

/// How often this one says that it is there.
const EVERY: Duration = Duration::from_secs(1);
/// Who was not heard of for this long is none of the coordinators any more.
const GONE_MS: u64 = 5 * 60 * 1000;
/// Most endpoints that workers are told.
const ENDPOINTS_MAX: usize = 16;

/// The coordinators of the federation, as they last were.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    own: Arc<Member>,
    seen: watch::Receiver<Vec<MemberSeen>>,
}

impl Members {
    /// With the sender that [`announce`] fills it by.
    pub(crate) fn new(own: Member) -> (watch::Sender<Vec<MemberSeen>>, Self) {
        let (sender, seen) = watch::channel(Vec::new());
        (sender, Self { own: Arc::new(own), seen })
    }

    /// All of them, by endpoint; the caller's own coordinator is the one that leads.
    pub(crate) fn all(&self) -> Vec<MemberSeen> {
        let others = self.seen.borrow().iter().filter(|seen| seen.member.id != self.own.id).cloned().collect();
        with_own(&self.own, others)
    }

    /// Where they can be reached, ours first.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let mut endpoints = vec![self.own.endpoint.clone()];
        for seen in self.all() {
            // Behind one load balancer they have one endpoint together.
            if !endpoints.contains(&seen.member.endpoint) {
                endpoints.push(seen.member.endpoint);
            }
        }
        endpoints.truncate(ENDPOINTS_MAX);
        endpoints
    }

    /// The same, as soon as they are others than `known`.
    pub(crate) async fn endpoints_other_than(&mut self, known: &[String]) -> Vec<String> {
        loop {
            self.seen.mark_unchanged();
            let endpoints = self.endpoints();
            if endpoints != known {
                return endpoints;
            }
            if self.seen.changed().await.is_err() {
                // Nobody looks any more: the coordinator ends, and all of this with it.
                return std::future::pending().await;
            }
        }
    }
}

fn with_own(own: &Member, mut others: Vec<MemberSeen>) -> Vec<MemberSeen> {
    others.retain(|seen| seen.seen_ms_ago <= GONE_MS);
    for other in &mut others {
        // What was read may be a second old, and whoever asks is the leader.
        other.leads = false;
    }
    others.push(MemberSeen { member: own.clone(), seen_ms_ago: 0, leads: true });
    others.sort_by(|a, b| (&a.member.endpoint, &a.member.id).cmp(&(&b.member.endpoint, &b.member.id)));
    others
}

/// Says for ever that this coordinator is there.
pub(crate) async fn announce(store: Arc<Store>, own: Member, seen: watch::Sender<Vec<MemberSeen>>) {
    let mut is_away = false;
    loop {
        match announce_once(&store, &own).await {
            Ok(members) => {
                is_away = false;
                seen.send_replace(members);
            }
            Err(error) if !std::mem::replace(&mut is_away, true) => {
                tracing::warn!(error = chain(&error), "the other coordinators cannot be told that this one is here");
            }
            Err(_) => {}
        }
        tokio::time::sleep(EVERY).await;
    }
}

pub(crate) async fn announce_once(store: &Store, own: &Member) -> Result<Vec<MemberSeen>, StoreError> {
    store.announce(own).await?;
    store.members().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, endpoint: &str) -> Member {
        Member { id: id.into(), endpoint: endpoint.into(), peer: endpoint.into(), version: "0.1.0".into() }
    }

    fn seen(member: Member, seen_ms_ago: u64) -> MemberSeen {
        MemberSeen { member, seen_ms_ago, leads: true }
    }

    #[test]
    fn our_own_endpoint_goes_first_and_none_twice() {
        let (sender, members) = Members::new(member("b", "b:7700"));
        assert_eq!(members.endpoints(), ["b:7700"]);
        sender.send_replace(vec![
            seen(member("b", "b:7700"), 900),
            seen(member("c", "a:7700"), 10),
            seen(member("a", "a:7700"), 10),
            seen(member("gone", "gone:7700"), GONE_MS + 1),
        ]);
        assert_eq!(members.endpoints(), ["b:7700", "a:7700"]);
        let leads: Vec<_> = members.all().iter().map(|seen| (seen.member.id.clone(), seen.leads)).collect();
        assert_eq!(leads, [("a".into(), false), ("c".into(), false), ("b".into(), true)]);
    }

    #[tokio::test]
    async fn who_waits_for_other_endpoints_is_told_when_one_comes_or_goes_and_not_before() {
        let (sender, mut members) = Members::new(member("a", "a:1"));
        let known = members.endpoints();
        sender.send_replace(vec![seen(member("b", "b:2"), 10)]);
        let both = members.endpoints_other_than(&known).await;
        assert_eq!(both, ["a:1", "b:2"]);
        // The same two, heard of again.
        sender.send_replace(vec![seen(member("b", "b:2"), 20)]);
        let waiting = tokio::spawn(async move { members.endpoints_other_than(&both).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sender.send_replace(Vec::new());
        assert_eq!(waiting.await.unwrap(), ["a:1"]);
    }

    #[test]
    fn workers_are_told_of_a_bounded_number() {
        let (sender, members) = Members::new(member("own", "own:1"));
        sender.send_replace((1..100).map(|at| seen(member(&format!("m{at}"), &format!("m:{at}")), 0)).collect());
        assert_eq!(members.endpoints().len(), ENDPOINTS_MAX);
        assert_eq!(members.endpoints()[0], "own:1");
    }
}
