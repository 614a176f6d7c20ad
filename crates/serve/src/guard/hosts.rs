//! The host names that a server accepts.
//!
//! A browser sends the name of the address in `Host`. An attacker whose name points at this machine (DNS rebinding) can
//! send a browser here, but cannot make it send another name. Address literals cannot be made to point elsewhere.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::uri::Authority;

/// A name, with or without a port, that a server accepts besides its own address: `dash.example.org`, `dash:8443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// In lower case.
    host: String,
    /// `None` allows any.
    port: Option<u16>,
}

/// Why a text is not an [`AllowedHost`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// It would allow anything.
    #[error("'*' would let any web page read this server (DNS rebinding): name the hosts, one --allow-host each")]
    Any,
    /// Not a name.
    #[error("'{0}' is not a host: use NAME or NAME:PORT, as in dash.example.org")]
    NoHost(String),
}

impl FromStr for AllowedHost {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('*') {
            return Err(BadHost::Any);
        }
        let bad = || BadHost::NoHost(text.to_owned());
        let authority: Authority = text.parse().map_err(|_| bad())?;
        let port = authority.port_u16();
        if text.contains('@') || authority.host().is_empty() || has_bad_port(&authority) {
            return Err(bad());
        }
        Ok(Self { host: authority.host().to_ascii_lowercase(), port })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Whether the name is followed by something other than a port.
fn has_bad_port(authority: &Authority) -> bool {
    authority.port_u16().is_none() && authority.as_str().len() > authority.host().len()
}

/// All names of one server.
#[derive(Debug)]
pub(super) struct Hosts {
    address: SocketAddr,
    named: Vec<AllowedHost>,
}

impl Hosts {
    pub(super) fn new(address: SocketAddr, named: Vec<AllowedHost>) -> Self {
        Self { address, named }
    }

    /// Whether a `Host` header names this server.
    pub(super) fn allow(&self, host: &str) -> bool {
        self.allow_authority(host, 80)
    }

    /// Whether an `Origin` header does.
    pub(super) fn allow_origin(&self, origin: &str) -> bool {
        match origin.split_once("://") {
            Some(("http", host)) => self.allow_authority(host, 80),
            Some(("https", host)) => self.allow_authority(host, 443),
            _ => false,
        }
    }

    fn allow_authority(&self, text: &str, default_port: u16) -> bool {
        let Ok(authority) = text.parse::<Authority>() else { return false };
        if text.contains('@') || has_bad_port(&authority) {
            return false;
        }
        let (host, port) = (authority.host(), authority.port_u16().unwrap_or(default_port));
        let named = |named: &AllowedHost| {
            named.host.eq_ignore_ascii_case(host) && named.port.is_none_or(|wanted| wanted == port)
        };
        self.named.iter().any(named) || (port == self.address.port() && self.is_own(host))
    }

    fn is_own(&self, host: &str) -> bool {
        if host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let Ok(ip) = literal.parse::<IpAddr>() else { return false };
        // When it listens on all addresses, each of the machine's addresses is its own.
        self.address.ip().is_unspecified()
            || ip == self.address.ip()
            || ip == IpAddr::from([127, 0, 0, 1])
            || ip == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])
    }

    /// What to do about a name that is refused.
    pub(super) fn help(&self) -> String {
        format!("use http://{}, or start with --allow-host NAME", self.address)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hosts(address: &str, named: &[&str]) -> Hosts {
        Hosts::new(address.parse().unwrap(), named.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn a_loopback_server_answers_to_its_own_names_only() {
        let hosts = hosts("127.0.0.1:8080", &[]);
        for own in ["127.0.0.1:8080", "localhost:8080", "LocalHost:8080", "[::1]:8080"] {
            assert!(hosts.allow(own), "{own}");
            assert!(hosts.allow_origin(&format!("http://{own}")), "{own}");
        }
        for other in [
            "evil.example:8080",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:8081",
            "localhost",
            "localhost.:8080",
            "localhost.evil.example:8080",
            "10.0.0.1:8080",
            "user@localhost:8080",
            "",
            ":8080",
            "localhost:8080:1",
            "localhost:",
            "[::1",
            "localhost:8080/x",
            "localhost:99999",
        ] {
            assert!(!hosts.allow(other), "{other}");
        }
        for other in ["null", "http://evil.example", "https://localhost", "file://localhost:8080", "localhost:8080"] {
            assert!(!hosts.allow_origin(other), "{other}");
        }
    }

    #[test]
    fn everywhere_means_every_address_but_no_name() {
        let hosts = hosts("0.0.0.0:80", &[]);
        assert!(hosts.allow("10.1.2.3") && hosts.allow("10.1.2.3:80") && hosts.allow("[fe80::1]"));
        assert!(!hosts.allow("dash.example.org") && !hosts.allow("10.1.2.3:81"));
        assert!(!hosts.allow("10.1.2.3:") && !hosts.allow("10.1.2.3:99999") && !hosts.allow("10.1.2.3:x"));
    }

    #[test]
    fn names_are_allowed_with_any_port_or_with_theirs() {
        let hosts = hosts("127.0.0.1:8080", &["Dash.example.org", "dash:8443"]);
        assert!(hosts.allow("dash.example.org") && hosts.allow("DASH.example.org:9999"));
        assert!(hosts.allow_origin("https://dash.example.org"));
        assert!(hosts.allow("dash:8443") && !hosts.allow("dash:8080") && !hosts.allow("example.org"));
    }

    #[test]
    fn a_text_that_is_not_a_name_is_explained() {
        assert_eq!(AllowedHost::from_str("*"), Err(BadHost::Any));
        assert_eq!(AllowedHost::from_str("*.example.org"), Err(BadHost::Any));
        for wrong in ["", "a b", "http://dash", "user@dash", "dash:port", "dash/x"] {
            assert!(AllowedHost::from_str(wrong).is_err(), "{wrong}");
        }
        assert_eq!(AllowedHost::from_str("Dash:8443").unwrap().to_string(), "dash:8443");
    }
}
