//! Where the coordinator listens: `host:port`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use rustls::pki_types::{IpAddr, ServerName};

/// A host, by DNS name or address, and a port. Written `coordinator.example:7400`, `192.0.2.1:7400` or
/// `[2001:db8::1]:7400`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address; write `host:port`, e.g. `coordinator.example:7400` or `[2001:db8::1]:7400`")]
pub struct EndpointError {
    text: String,
}

impl Endpoint {
    /// Checks a host and a port (not 0). An IPv6 address comes without brackets.
    pub fn new(host: &str, port: u16) -> Result<Self, EndpointError> {
        if port == 0 || ServerName::try_from(host).is_err() {
            return Err(EndpointError { text: format!("{host}:{port}").chars().take(300).collect() });
        }
        Ok(Self { host: host.into(), port })
    }

    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || EndpointError { text: text.chars().take(300).collect() };
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // A bare IPv6 address would be cut at its last colon, into something else that looks right.
        match bracketed {
            Some(host) if host.parse::<Ipv6Addr>().is_err() => return Err(refuse()),
            None if host.contains(':') => return Err(refuse()),
            _ => {}
        }
        // `u16::from_str` takes a plus sign.
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        Self::new(bracketed.unwrap_or(host), port.parse().map_err(|_| refuse())?).map_err(|_| refuse())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ServerName::try_from(self.host.as_str()) {
            Ok(ServerName::IpAddress(IpAddr::V6(_))) => write!(f, "[{}]:{}", self.host, self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["localhost:7400", "coordinator.example:1", "192.0.2.1:65535", "[2001:db8::1]:7400"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:7400".parse::<Endpoint>().unwrap().host(), "::1");
    }

    #[test]
    fn refuses_what_is_no_endpoint() {
        for text in [
            "",
            "localhost",
            "localhost:",
            ":7400",
            "localhost:0",
            "localhost:65536",
            "localhost:+1",
            "::1:7400",
            "https://x:1",
            "a b:1",
            "a/b:1",
            "[x:1",
            "[localhost]:1",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text} was accepted");
        }
    }
}
