//! Where the federation's coordinators are: the address that the worker was given, and those that a coordinator named since.
//! They outlive the worker, so that it finds its way also when the one it was told of is gone.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use polder_security::Endpoint;

use crate::durable;

/// Inside the worker's directory: one `host:port` a line.
pub(crate) const ENDPOINTS_FILE: &str = "endpoints";
/// Most coordinators that are remembered.
const NAMED_MAX: usize = 16;
/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// The addresses, and the one in use.
#[derive(Debug)]
pub(crate) struct Endpoints {
    /// What the worker was given; always one of those that are tried, and the first.
    own: Endpoint,
    named: Vec<Endpoint>,
    current: Endpoint,
    path: PathBuf,
}

impl Endpoints {
    /// `own`, and what the file at `path` remembers; what cannot be read there is forgotten.
    pub(crate) fn open(own: Endpoint, path: PathBuf) -> Self {
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        let named = if read.is_ok() { valid(text.lines()) } else { Vec::new() };
        Self { current: own.clone(), own, named, path }
    }

    pub(crate) fn current(&self) -> &Endpoint {
        &self.current
    }

    /// Whether there is but one.
    pub(crate) fn is_only(&self) -> bool {
        self.all().count() == 1
    }

    fn all(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.own).chain(self.named.iter().filter(|named| **named != self.own))
    }

    /// Goes on to the next; says whether all have had their turn.
    pub(crate) fn turn(&mut self) -> bool {
        let next = self.all().skip_while(|endpoint| **endpoint != self.current).nth(1).cloned();
        let is_round = next.is_none();
        self.current = next.unwrap_or_else(|| self.own.clone());
        is_round
    }

    /// A coordinator named them all: those named before are forgotten.
    pub(crate) fn learn(&mut self, named: &[String]) {
        let named = valid(named.iter().map(String::as_str));
        if named.is_empty() || named == self.named {
            return;
        }
        self.named = named;
        let saved =
            durable::replace(&self.path, |file| self.named.iter().try_for_each(|named| writeln!(file, "{named}")));
        match saved {
            Ok(()) => tracing::debug!("the federation's coordinators are at {:?}", self.named),
            Err(error) => tracing::warn!("where the other coordinators are cannot be remembered: {error}"),
        }
    }
}

/// Those that are addresses, each once.
fn valid<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for endpoint in texts.take(4 * NAMED_MAX).filter_map(|text| text.parse().ok()) {
        if endpoints.len() < NAMED_MAX && !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn all_have_their_turn_and_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Endpoints::open(endpoint("own:1"), dir.path().join(ENDPOINTS_FILE));
        let mut endpoints = open();
        assert!(endpoints.is_only() && endpoints.turn());
        endpoints.learn(&["b:2".into(), "own:1".into(), "c:3".into(), "b:2".into()]);

        let mut again = open();
        let mut seen = Vec::new();
        loop {
            seen.push(again.current().to_string());
            if again.turn() {
                break;
            }
        }
        assert_eq!(seen, ["own:1", "b:2", "c:3"]);
        assert_eq!(again.current(), &endpoint("own:1"));
        // The one in use may be named no more; the round begins anew after it.
        again.turn();
        again.learn(&["c:3".into()]);
        assert_eq!(again.current(), &endpoint("b:2"));
        assert!(again.turn());
        assert_eq!(again.current(), &endpoint("own:1"));
    }

    #[test]
    fn what_is_no_address_and_what_is_too_much_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ENDPOINTS_FILE);
        let mut endpoints = Endpoints::open(endpoint("own:1"), path.clone());
        let named: Vec<String> = (0..40).map(|port| format!("host:{port}")).chain(["no address".into()]).collect();
        endpoints.learn(&named);
        assert_eq!(endpoints.named.len(), NAMED_MAX);
        // Nothing at all is no news.
        endpoints.learn(&["no address".into()]);
        assert_eq!(endpoints.named.len(), NAMED_MAX);
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(Endpoints::open(endpoint("own:1"), path).is_only());
    }
}
