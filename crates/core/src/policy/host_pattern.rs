//! Hosts a policy may claim: `orders.shop.svc`, `api.example.com:8443`, `*.example.com`.
//!
//! Flows in: text from a route, or the DNS names of a Service. Flows out: keys of the host look-up, and whether two
//! patterns overlap.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::names::NameError;
use crate::request::{Host, is_host_name, split_port};

/// A host, or with `*.` every host below a name. Without a port it means every port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern {
    /// The name in lower case; with `below`, what follows `*.`.
    pub(crate) name: Arc<str>,
    /// Whether names below `name`, at any depth, are meant, and not itself.
    pub(crate) below: bool,
    /// The port; every port when absent.
    pub(crate) port: Option<u16>,
}

impl HostPattern {
    /// The name this pattern is about: the host, or what follows `*.`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        self.below
    }

    /// The port, where the pattern names one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether a request's host is meant.
    pub fn matches(&self, host: &Host<'_>) -> bool {
        self.port.is_none_or(|port| host.port == Some(port)) && self.means(&host.name)
    }

    /// Whether some host is meant by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let ports = self.port.is_none() || other.port.is_none() || self.port == other.port;
        let names = match (self.below, other.below) {
            (false, false) => self.name == other.name,
            (true, false) => self.means(&other.name),
            (false, true) => other.means(&self.name),
            (true, true) => self.name == other.name || self.means(&other.name) || other.means(&self.name),
        };
        ports && names
    }

    /// Whether every host `other` means is meant by this one too.
    pub fn covers(&self, other: &Self) -> bool {
        let ports = self.port.is_none() || self.port == other.port;
        ports && (self.means(&other.name) || (self.below == other.below && self.name == other.name))
    }

    fn means(&self, name: &str) -> bool {
        if !self.below {
            return *self.name == *name;
        }
        name.strip_suffix(&*self.name).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
    }
}

impl FromStr for HostPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError {
            kind: "host",
            value: text.chars().take(64).collect(),
            rule: "must be a lower case host name, *.name or an IPv6 address in brackets, with :port if only that port is meant",
        };
        let (name, port) = split_port(text).map_err(|_| error())?;
        let (below, name) = name.strip_prefix("*.").map_or((false, name), |rest| (true, rest));
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let good = match address {
            Some(address) => !below && address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host_name(name),
        };
        if !good || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error());
        }
        Ok(Self { name: name.into(), below, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().expect("a host pattern")
    }

    #[test]
    fn a_pattern_means_its_host_on_every_port_unless_it_names_one() {
        let means = |text: &str, host| pattern(text).matches(&Host::read(host, "https").expect("a host"));
        assert!(means("a.example.com", "A.example.com.") && means("a.example.com", "a.example.com:8443"));
        assert!(means("a.example.com:443", "a.example.com") && !means("a.example.com:8443", "a.example.com"));
        assert!(!means("a.example.com", "b.example.com") && !means("example.com", "a.example.com"));
    }

    #[test]
    fn a_wildcard_means_every_name_below_but_not_its_own() {
        let means = |host| pattern("*.example.com").matches(&Host::read(host, "https").expect("a host"));
        assert!(means("a.example.com") && means("a.b.example.com"));
        assert!(!means("example.com") && !means("aexample.com") && !means("example.com.evil.org"));
    }

    #[test]
    fn overlap_is_symmetric_and_knows_wildcards_and_ports() {
        for (left, right, expected) in [
            ("a.example.com", "a.example.com:8443", true),
            ("a.example.com:443", "a.example.com:8443", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "*.b.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com:1", "a.example.com:2", false),
            ("a", "b", false),
        ] {
            assert_eq!(pattern(left).overlaps(&pattern(right)), expected, "{left} {right}");
            assert_eq!(pattern(right).overlaps(&pattern(left)), expected, "{right} {left}");
        }
    }

    #[test]
    fn a_wildcard_covers_narrower_patterns_only() {
        assert!(pattern("*.example.com").covers(&pattern("a.example.com:1")));
        assert!(pattern("*.example.com").covers(&pattern("*.a.example.com")));
        assert!(!pattern("a.example.com").covers(&pattern("*.example.com")));
        assert!(!pattern("a.example.com:1").covers(&pattern("a.example.com")));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "*", "*.", "a.*.b", "A.example.com", "https://a", "a/b", "a:", "a:0", "a b", "*.[::1]"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
        assert_eq!(pattern("*.a:8443").to_string(), "*.a:8443");
    }
}
