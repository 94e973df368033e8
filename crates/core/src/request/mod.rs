//! The one canonical reading of a request, shared by all front ends.
//!
//! Flows in: what the proxy says it received ([`RequestParts`]). Flows out: a [`Request`] every rule is judged by, borrowed
//! from the parts in the usual case, or the [`Ambiguity`] for which it is refused.

use std::borrow::Cow;

mod host;
mod path;

pub use host::Host;
pub(crate) use host::{is_host_name, split_port};
pub use path::{MAX_TARGET, read_path};

/// Header lines of a request that look like ours, `x-countersign-*` in any spelling, and the longest name of one.
const MAX_IDENTITIES: u8 = 32;
const MAX_IDENTITY: usize = 128;

/// The header lines of a request, however the front end keeps them.
pub trait Headers: Sync {
    /// Calls `each` with every name, in any case, and value, in order. A name comes once for each of its lines.
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8]));
}

impl Headers for &[(&str, &str)] {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.iter().for_each(|(name, value)| each(name, value.as_bytes()));
    }
}

/// A request as the proxy received it.
#[derive(Clone, Copy)]
pub struct RequestParts<'a> {
    /// The method, from the proxy's own field.
    pub method: &'a str,
    /// `http` or `https`; empty when the proxy does not say.
    pub scheme: &'a str,
    /// `:authority`, or `Host` where there is none.
    pub host: &'a str,
    /// Path and query, undecoded.
    pub target: &'a str,
    /// All header lines.
    pub headers: &'a dyn Headers,
}

/// Why two readers of a request could understand it differently; it is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ambiguity {
    /// The method is no upper-case token.
    #[error("the method is not an upper-case token")]
    Method,
    /// A header asks the backend to take the request for another method.
    #[error("a header overrides the method")]
    MethodOverride,
    /// The authority is no single host.
    #[error("the host is not a single host name or address")]
    Host,
    /// `:authority` and `Host` disagree, or there are several.
    #[error("the request names more than one host")]
    HostMismatch,
    /// Longer than [`MAX_TARGET`].
    #[error("the path and query are too long")]
    TargetTooLong,
    /// The path has no leading `/`, as with CONNECT, `*` and absolute URIs.
    #[error("the path does not begin with a slash")]
    PathNotAbsolute,
    /// A character that must not be in a path as it is.
    #[error("the path holds a character that is not allowed")]
    PathCharacter,
    /// A malformed escape, or one of a delimiter, a dot, `%` or a control character.
    #[error("the path holds an escape that is not allowed")]
    PathEscape,
    /// An empty, `.` or `..` segment.
    #[error("the path holds an empty or dot segment")]
    PathSegment,
    /// The query holds a fragment, a space or control bytes.
    #[error("the query holds a character that is not allowed")]
    Query,
    /// A header that decides is repeated or no visible ASCII, or there are too many that claim to be ours.
    #[error("a header the decision rests on is repeated or malformed, or too many begin with x-countersign-")]
    Header,
}

closed_names!(Ambiguity {
    Method => "AmbiguousMethod",
    MethodOverride => "MethodOverride",
    Host => "AmbiguousHost",
    HostMismatch => "HostMismatch",
    TargetTooLong => "TargetTooLong",
    PathNotAbsolute => "PathNotAbsolute",
    PathCharacter => "PathCharacter",
    PathEscape => "PathEscape",
    PathSegment => "PathSegment",
    Query => "AmbiguousQuery",
    Header => "AmbiguousHeader",
});

/// The credential in the `Authorization` header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// There is none, or one of another scheme.
    None,
    /// `Bearer` and a token of the characters RFC 6750 section 2.1 allows.
    Bearer(&'a str),
    /// Several, or one that cannot be read in one way only.
    Ambiguous,
}

/// The text of a token is never printed.
impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer(…)",
            Self::Ambiguous => "Ambiguous",
        })
    }
}

/// A request in its one canonical reading.
#[derive(Clone)]
pub struct Request<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// Where it is addressed to.
    pub host: Host<'a>,
    /// The path, its escapes decoded.
    pub path: Cow<'a, str>,
    /// The query as received, without `?`.
    pub query: &'a str,
    /// What the `Authorization` header holds.
    pub credential: Credential<'a>,
    /// Whether this is a CORS preflight: `OPTIONS` with `Origin` and `Access-Control-Request-Method`.
    pub preflight: bool,
    /// All header lines.
    pub headers: &'a dyn Headers,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.host)
            .field("path", &self.path)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    /// Reads the parts in the one way that counts.
    pub fn read(parts: &RequestParts<'a>) -> Result<Self, Ambiguity> {
        if !is_method(parts.method) {
            return Err(Ambiguity::Method);
        }
        let host = Host::read(parts.host, parts.scheme)?;
        let (path, query) = path::read_target(parts.target)?;
        let mut seen = Seen::default();
        parts.headers.visit(&mut |name, value| seen.header(parts, name, value));
        if let Some(ambiguity) = seen.ambiguity {
            return Err(ambiguity);
        }
        let preflight = parts.method == "OPTIONS" && seen.origin && seen.requested_method;
        let mut credential = seen.credential;
        if matches!(credential, Credential::Bearer(_)) && has_access_token(query) {
            credential = Credential::Ambiguous;
        }
        Ok(Self { method: parts.method, host, path, query, credential, preflight, headers: parts.headers })
    }
}

fn is_method(method: &str) -> bool {
    (1..=32).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
}

/// Whether the query carries a second credential (RFC 6750 section 2.3): one source only.
fn has_access_token(query: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some("access_token"))
}

/// What one pass over the headers finds.
struct Seen<'a> {
    credential: Credential<'a>,
    authorizations: u8,
    hosts: u8,
    origin: bool,
    requested_method: bool,
    identities: u8,
    ambiguity: Option<Ambiguity>,
}

impl Default for Seen<'_> {
    fn default() -> Self {
        let credential = Credential::None;
        let (authorizations, hosts, identities) = (0, 0, 0);
        let (origin, requested_method, ambiguity) = (false, false, None);
        Self { credential, authorizations, hosts, origin, requested_method, identities, ambiguity }
    }
}

// === impl Seen ===

impl<'a> Seen<'a> {
    fn header(&mut self, parts: &RequestParts<'a>, name: &'a str, value: &'a [u8]) {
        // Most headers are told apart by their length alone.
        match name.len() {
            13 if is(name, "authorization") => self.authorization(value),
            4 if is(name, "host") => self.host(parts, value),
            10 if is(name, ":authority") => self.same_host(parts, value),
            7 if is(name, ":method") && value != parts.method.as_bytes() => self.refuse(Ambiguity::Method),
            5 if is(name, ":path") && value != parts.target.as_bytes() => self.refuse(Ambiguity::PathCharacter),
            10 if is(name, "connection") && nominates(value) => self.refuse(Ambiguity::Header),
            6 if is(name, "origin") => self.origin = true,
            29 if is(name, "access-control-request-method") => self.requested_method = true,
            13 | 17 | 22 if is_method_override(name) && !value.eq_ignore_ascii_case(parts.method.as_bytes()) => {
                self.refuse(Ambiguity::MethodOverride);
            }
            _ if is_identity_header(name.as_bytes()) => self.identity(name),
            _ => {}
        }
    }

    /// Each spelling goes into the answer as one to remove, so an answer is as long as the caller makes it.
    fn identity(&mut self, name: &str) {
        self.identities = self.identities.saturating_add(1);
        if self.identities > MAX_IDENTITIES || name.len() > MAX_IDENTITY {
            self.refuse(Ambiguity::Header);
        }
    }

    fn authorization(&mut self, value: &'a [u8]) {
        self.authorizations = self.authorizations.saturating_add(1);
        self.credential = if self.authorizations == 1 { read_credential(value) } else { Credential::Ambiguous };
    }

    fn host(&mut self, parts: &RequestParts<'_>, value: &[u8]) {
        self.hosts = self.hosts.saturating_add(1);
        if self.hosts > 1 {
            self.refuse(Ambiguity::HostMismatch);
        }
        self.same_host(parts, value);
    }

    fn same_host(&mut self, parts: &RequestParts<'_>, value: &[u8]) {
        let same = value == parts.host.as_bytes()
            || std::str::from_utf8(value).is_ok_and(|text| {
                Host::read(text, parts.scheme)
                    .is_ok_and(|host| Host::read(parts.host, parts.scheme).is_ok_and(|decided| decided == host))
            });
        if !same {
            self.refuse(Ambiguity::HostMismatch);
        }
    }

    fn refuse(&mut self, ambiguity: Ambiguity) {
        self.ambiguity.get_or_insert(ambiguity);
    }
}

fn is(name: &str, expected: &str) -> bool {
    name.eq_ignore_ascii_case(expected)
}

/// Whether `Connection` asks a proxy to drop a header that says who calls (RFC 9110 section 7.6.1).
fn nominates(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|option| {
        let option = option.trim_ascii();
        is_identity_header(option)
            || option.eq_ignore_ascii_case(b"authorization")
            || option.eq_ignore_ascii_case(b"host")
    })
}

/// Whether a header is one of `x-countersign-*`, in any spelling some backend takes for it.
pub fn is_identity_header(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-countersign-";
    let same = |(byte, expected): (&u8, &u8)| match expected {
        b'-' => b"-_.".contains(byte),
        expected => byte.eq_ignore_ascii_case(expected),
    };
    name.len() >= PREFIX.len() && name.iter().zip(PREFIX).all(same)
}

fn is_method_override(name: &str) -> bool {
    is(name, "x-http-method") || is(name, "x-method-override") || is(name, "x-http-method-override")
}

/// Reads `Bearer` SP token; the scheme in any case (RFC 9110 section 11.1), exactly one space, nothing after the token.
#[expect(clippy::needless_bitwise_bool, reason = "without branches, for `every`")]
fn read_credential(value: &[u8]) -> Credential<'_> {
    let Ok(text) = std::str::from_utf8(value) else { return Credential::Ambiguous };
    // A comma joins several values; a tab or any other control character is read differently by different parsers.
    if !every(text, |byte| (byte != b',') & (byte >= b' ') & (byte != 0x7f)) {
        return Credential::Ambiguous;
    }
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Credential::None;
    }
    let body = token.trim_end_matches('=');
    if body.is_empty() || !every(body, is_of_token) { Credential::Ambiguous } else { Credential::Bearer(token) }
}

/// A character a token may have before the `=` that may end it (RFC 6750 section 2.1).
#[expect(clippy::needless_bitwise_bool, reason = "without branches, for `every`")]
fn is_of_token(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_digit = byte.wrapping_sub(b'0') < 10;
    let is_mark = (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~') | (byte == b'+') | (byte == b'/');
    is_letter | is_digit | is_mark
}

/// Whether something holds of every byte. Without an early end and without branches, so that many bytes are looked at at
/// once: tokens are long, and every request has one.
fn every(text: &str, holds: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & holds(byte))
}

#[cfg(test)]
mod tests;
