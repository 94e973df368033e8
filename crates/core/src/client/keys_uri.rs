//! Where a client says its public keys are published (`jwks_uri`, RFC 7591 section 2): text of a tenant's that makes an issuer
//! call somebody, so that as little as possible is left to choose.
//!
//! Flows in: the text of a spec, or an address a name was resolved to. Flows out: a URL of the one form that is called, or whether an
//! address is one that everybody can call. What goes wrong otherwise is server-side request forgery.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The most characters of a URL.
const MAX: usize = 512;
const SCHEME: &str = "https://";
/// Last labels of names that mean something inside a network or a machine alone.
const INTERNAL: [&str; 7] = ["svc", "local", "localhost", "internal", "home", "lan", "arpa"];

/// An https URL that names a host and nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeysUri {
    text: String,
    host: String,
}

/// Hosts that may be called whatever they are: what the operator says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Arc<BTreeSet<String>>);

/// Why a URL is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysUriError {
    /// Too long, or with spaces, control characters or characters no URL has.
    #[error("must have at most 512 of the characters a URL may have")]
    Text,
    /// `http:` or something else.
    #[error("must begin with https://")]
    Scheme,
    /// `https://somebody@…`
    #[error("must name no user")]
    User,
    /// `…#…`
    #[error("must have no fragment")]
    Fragment,
    /// Neither a name nor an address.
    #[error("must name a host: a DNS name in lower case without a dot at its end, or an IP address")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("must have a port from 1 to 65535, or none")]
    Port,
}

// === impl Hosts ===

impl Hosts {
    /// Whether the host is among them, letter for letter.
    pub fn contains(&self, host: &str) -> bool {
        self.0.contains(host)
    }
}

impl FromIterator<String> for Hosts {
    fn from_iter<T: IntoIterator<Item = String>>(hosts: T) -> Self {
        Self(Arc::new(hosts.into_iter().collect()))
    }
}

// === impl KeysUri ===

impl KeysUri {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host: a DNS name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address, where one is written in the place of a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether the host is one that means the same everywhere, by its text alone: what a name resolves to is looked at when it
    /// is called.
    pub fn is_public(&self, cluster_domain: &str) -> bool {
        if let Some(address) = self.address() {
            return is_public(address);
        }
        let in_cluster =
            self.host.strip_suffix(cluster_domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let labels: Vec<&str> = self.host.split('.').collect();
        // `<service>.<namespace>` is found in a cluster too, but so are names of the whole world: those addresses decide.
        let internal = labels.last().is_none_or(|last| INTERNAL.contains(last));
        !in_cluster && !internal && labels.len() > 1
    }
}

impl FromStr for KeysUri {
    type Err = KeysUriError;

    fn from_str(text: &str) -> Result<Self, KeysUriError> {
        let odd = |byte: u8| !byte.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&byte);
        if text.len() > MAX || text.bytes().any(odd) {
            return Err(KeysUriError::Text);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(KeysUriError::Scheme)?;
        if rest.contains('#') {
            return Err(KeysUriError::Fragment);
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(KeysUriError::User);
        }
        let (host, port) = split(authority)?;
        let is_port = |digits: &str| {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse().is_ok_and(|port: u16| port != 0)
        };
        if !port.is_none_or(is_port) {
            return Err(KeysUriError::Port);
        }
        Ok(Self { text: text.to_owned(), host: host.to_owned() })
    }
}

impl fmt::Display for KeysUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Host and port (RFC 3986 section 3.2).
fn split(authority: &str) -> Result<(&str, Option<&str>), KeysUriError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(KeysUriError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| KeysUriError::Host)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(KeysUriError::Host),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if is_host(host) { Ok((host, port)) } else { Err(KeysUriError::Host) }
}

/// Whether it is a DNS name, or an IPv4 address of four decimal numbers: `127.1` and `0x7f.1` are addresses to some and names to
/// others.
fn is_host(host: &str) -> bool {
    if host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(byte) && !label.starts_with('-') && !label.ends_with('-')
    };
    let named = host.rsplit('.').next().is_some_and(|last| last.starts_with(|first: char| first.is_ascii_lowercase()));
    host.len() <= 253 && named && host.split('.').all(label)
}

/// Whether everybody on the Internet means the same by this address (RFC 6890 and the registries it began), and it is of one
/// machine.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let special = [
        // "This network", RFC 1122.
        first == 0,
        // Shared with carriers' customers, RFC 6598.
        first == 100 && (64..=127).contains(&second),
        // Protocol assignments, RFC 6890, and the way to 6to4 relays, RFC 7526.
        [(192, 0, 0), (192, 88, 99)].contains(&(first, second, third)),
        // Measurements, RFC 2544.
        first == 198 && (18..=19).contains(&second),
        // What serves Azure's machines their secrets.
        address == Ipv4Addr::new(168, 63, 129, 16),
        // Multicast, RFC 1112, and what is left, up to broadcast.
        first >= 224,
        address.is_private(),
        address.is_loopback(),
        address.is_link_local(),
        address.is_documentation(),
    ];
    !special.contains(&true)
}

/// Only what was given out as global unicast (RFC 4291 section 2.4), without what carries an IPv4 address or is for examples. So
/// loopback, link-local, site-local, unique local, NAT64, multicast and unspecified are not in it to begin with.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let special = match first {
        // Teredo and other protocols, RFC 2928; examples, RFC 3849.
        0x2001 => second < 0x0200 || second == 0x0db8,
        // 6to4, RFC 3056.
        0x2002 => true,
        // Examples, RFC 9637.
        0x3fff => second < 0x1000,
        _ => false,
    };
    first & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, KeysUriError> {
        text.parse().map(|uri: KeysUri| uri.host().to_owned())
    }

    #[test]
    fn a_url_has_one_form() {
        for (text, host) in [
            ("https://keys.example.com/jwks.json", "keys.example.com"),
            ("https://keys.example.com", "keys.example.com"),
            ("https://keys.example.com:8443/?a=b@c", "keys.example.com"),
            ("https://198.51.100.7/", "198.51.100.7"),
            ("https://[2001:db8::1]:444/k", "2001:db8::1"),
        ] {
            assert_eq!(read(text), Ok(host.to_owned()), "{text}");
        }
    }

    #[test]
    fn cla_08_everything_else_is_refused() {
        let long = format!("https://a.example/{}", "x".repeat(MAX));
        for (text, error) in [
            ("http://keys.example.com/", KeysUriError::Scheme),
            ("HTTPS://keys.example.com/", KeysUriError::Scheme),
            ("ftp://keys.example.com/", KeysUriError::Scheme),
            ("//keys.example.com/", KeysUriError::Scheme),
            ("", KeysUriError::Scheme),
            ("https://me@keys.example.com/", KeysUriError::User),
            ("https://me:secret@127.0.0.1/", KeysUriError::User),
            ("https://keys.example.com/#a", KeysUriError::Fragment),
            ("https://keys.example.com#@127.0.0.1/", KeysUriError::Fragment),
            ("https://keys.example.com\\@127.0.0.1/", KeysUriError::Text),
            ("https://keys.example.com/ a", KeysUriError::Text),
            ("https://keys.example.com/\n", KeysUriError::Text),
            ("https://kéys.example.com/", KeysUriError::Text),
            (&long, KeysUriError::Text),
            ("https:///keys", KeysUriError::Host),
            ("https://:443/", KeysUriError::Host),
            ("https://Keys.example.com/", KeysUriError::Host),
            ("https://keys.example.com./", KeysUriError::Host),
            ("https://-a.example.com/", KeysUriError::Host),
            ("https://a..example.com/", KeysUriError::Host),
            ("https://a%2eexample.com/", KeysUriError::Host),
            ("https://a_b.example.com/", KeysUriError::Host),
            ("https://127.1/", KeysUriError::Host),
            ("https://0x7f.0.0.1/", KeysUriError::Host),
            ("https://0x7f000001/", KeysUriError::Host),
            ("https://2130706433/", KeysUriError::Host),
            ("https://127.0.0.01/", KeysUriError::Host),
            ("https://[::1/", KeysUriError::Host),
            ("https://[::1]x/", KeysUriError::Host),
            ("https://[fe80::1%25eth0]/", KeysUriError::Host),
            ("https://::1/", KeysUriError::Host),
            ("https://keys.example.com:/", KeysUriError::Port),
            ("https://keys.example.com:0/", KeysUriError::Port),
            ("https://keys.example.com:65536/", KeysUriError::Port),
            ("https://keys.example.com:+1/", KeysUriError::Port),
            ("https://keys.example.com:1:2/", KeysUriError::Port),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn cla_08_hosts_of_a_cluster_or_a_machine_are_not_public() {
        let is_public = |text: &str| text.parse::<KeysUri>().expect("a URL").is_public("cluster.local");
        for text in [
            "https://localhost/",
            "https://keys.localhost/",
            "https://keys/",
            "https://keys.shop.svc/",
            "https://kubernetes.default.svc.cluster.local/",
            "https://cluster.local/",
            "https://printer.local/",
            "https://metadata.google.internal/",
            "https://127.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
        ] {
            assert!(!is_public(text), "{text}");
        }
        for text in ["https://keys.example.com/", "https://8.8.8.8/", "https://mycluster.local.example/"] {
            assert!(is_public(text), "{text}");
        }
        assert!(!"https://keys.shop.svc.k8s.example".parse::<KeysUri>().expect("a URL").is_public("k8s.example"));
    }

    #[test]
    fn cla_08_addresses_that_mean_something_else_elsewhere_are_not_public() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.9.9",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a00:1",
            "100::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "4000::1",
        ] {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }
}
