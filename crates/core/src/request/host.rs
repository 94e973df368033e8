//! The canonical reading of an authority: host name and port.
//!
//! Flows in: `:authority` or `Host` as received, and the scheme. Flows out: a lower-case name without its trailing dot
//! and the effective port, so that `api.example.com`, `API.example.com.` and, over https, `api.example.com:443` are one.

use std::borrow::Cow;

use super::Ambiguity;

/// Where a request is addressed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// The name in lower case, an IPv4 address, or an IPv6 address in brackets.
    pub name: Cow<'a, str>,
    /// The port, that of the scheme when the authority names none; absent when neither says.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads an authority. User information, empty names, several hosts and anything that is no host are refused.
    pub fn read(authority: &'a str, scheme: &str) -> Result<Self, Ambiguity> {
        let (name, port) = split_port(authority)?;
        let name = name.strip_suffix('.').unwrap_or(name);
        let good = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host_name(name),
        };
        if !good {
            return Err(Ambiguity::Host);
        }
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        Ok(Self { name, port: port.or_else(|| default_port(scheme)) })
    }
}

/// Whether the text is a host name of A-labels or an IPv4 address, in any case.
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Splits `name[:port]`; brackets keep the colons of an IPv6 address together.
pub(crate) fn split_port(authority: &str) -> Result<(&str, Option<u16>), Ambiguity> {
    let colon = match authority.rfind(']') {
        Some(bracket) => authority.get(bracket + 1..).and_then(|rest| rest.find(':')).map(|at| bracket + 1 + at),
        None => authority.find(':'),
    };
    let Some((name, port)) = colon.and_then(|at| authority.split_at_checked(at)) else { return Ok((authority, None)) };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(port) if only_digits && port != 0 => Ok((name, Some(port))),
        _ => Err(Ambiguity::Host),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(authority: &str, scheme: &str) -> Option<(String, Option<u16>)> {
        Host::read(authority, scheme).ok().map(|host| (host.name.into_owned(), host.port))
    }

    #[test]
    fn spellings_of_one_host_read_the_same() {
        let expected = Some(("api.example.com".to_owned(), Some(443)));
        for authority in ["api.example.com", "API.Example.com", "api.example.com.", "api.example.com:443"] {
            assert_eq!(read(authority, "https"), expected, "{authority}");
        }
        assert!(matches!(Host::read("api.example.com", "https").map(|host| host.name), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn a_port_is_that_of_the_authority_then_that_of_the_scheme() {
        assert_eq!(read("a:8443", "https"), Some(("a".to_owned(), Some(8443))));
        assert_eq!(read("a", "http"), Some(("a".to_owned(), Some(80))));
        assert_eq!(read("a", ""), Some(("a".to_owned(), None)));
        assert_eq!(read("[::1]:8443", "https"), Some(("[::1]".to_owned(), Some(8443))));
        assert_eq!(read("127.0.0.1:18000", "http"), Some(("127.0.0.1".to_owned(), Some(18000))));
    }

    #[test]
    fn what_is_no_single_host_is_refused() {
        for authority in [
            "",
            ".",
            "a..b",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "a:1:2",
            "u@a",
            "a,b",
            "a b",
            "a/b",
            "::1",
            "[::1",
            "[x]",
            "[::1]x:1",
            "[::1]]",
            "*.a",
            "bücher.example",
            "a\0",
        ] {
            assert_eq!(read(authority, "https"), None, "{authority:?}");
        }
    }
}
