//! Which piece of a request makes it readable in two ways, for whoever wrote it.
//!
//! Flows in: a call and why it was refused. Flows out: the piece, where it stands, and what to write instead. The reader of
//! requests is asked about one piece after another: the first it refuses for the same reason is the one.

use countersign_core::request::{Ambiguity, Headers, Request, RequestParts};
use serde::Serialize;

use super::call::Call;

/// The piece of a request for which it is refused.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Culprit {
    /// As it was written; of a header the name.
    pub(super) text: String,
    /// How many bytes of path and query stand before it; absent where it stands elsewhere.
    pub(super) at: Option<usize>,
    pub(super) meaning: String,
    /// What to write instead, where more can be said than of the reason.
    #[serde(skip)]
    pub(super) next: Option<String>,
}

// === impl Culprit ===

impl Culprit {
    pub(super) fn of(call: &Call, why: Ambiguity) -> Option<Self> {
        let (path, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
        match why {
            Ambiguity::PathEscape => escape(path),
            Ambiguity::PathCharacter => character("/", path, why),
            Ambiguity::PathSegment => segment(path),
            Ambiguity::Query => character("/?", query, why).map(|found| found.behind(path.len() + 1)),
            Ambiguity::Method => Some(Self::whole(&call.method, "the method")),
            Ambiguity::Host => Some(Self::whole(&call.host, "the host")),
            Ambiguity::MethodOverride | Ambiguity::HostMismatch | Ambiguity::Header => header(call, why),
            Ambiguity::TargetTooLong | Ambiguity::PathNotAbsolute => None,
        }
    }

    fn whole(text: &str, meaning: &str) -> Self {
        Self { text: text.to_owned(), at: None, meaning: meaning.to_owned(), next: None }
    }

    fn behind(self, bytes: usize) -> Self {
        Self { at: self.at.map(|at| at + bytes), ..self }
    }
}

/// The first escape that is refused by itself. Those of bytes beyond ASCII make a character together.
fn escape(path: &str) -> Option<Culprit> {
    let mut at = 0;
    loop {
        at += path.get(at..)?.find('%')?;
        let rest = path.get(at..)?;
        let end = rest.char_indices().nth(3).map_or(rest.len(), |(end, _)| end);
        let whole = rest.get(..end).unwrap_or(rest);
        let digits = whole.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let text = if code.is_some_and(|code| !code.is_ascii()) { beyond_ascii(rest) } else { whole };
        if refused(&format!("/{text}"), Ambiguity::PathEscape) {
            let (meaning, next) = about_escape(text, code);
            return Some(Culprit { text: text.to_owned(), at: Some(at), meaning, next: Some(next) });
        }
        at += text.len();
    }
}

/// The escapes `%80` to `%ff` a text begins with.
fn beyond_ascii(text: &str) -> &str {
    let is_one = |escape: &[u8]| matches!(escape, [b'%', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', last] if last.is_ascii_hexdigit());
    let escapes = text.as_bytes().chunks(3).take_while(|escape| is_one(escape)).count();
    text.get(..escapes * 3).unwrap_or(text)
}

fn about_escape(text: &str, code: Option<u8>) -> (String, String) {
    let without = format!("Send the path without {text}");
    match code.map(char::from) {
        None => ("% without two hexadecimal digits".to_owned(), format!("{without}; an escaped % is refused too")),
        Some('.') => ("an escaped .".to_owned(), "Write . as it is, not as %2e".to_owned()),
        Some(character) if character.is_ascii_control() => ("an escaped control character".to_owned(), without),
        Some(character) if character.is_ascii() => (
            format!("an escaped {character}, which some readers decode before they take the path apart"),
            format!("{without}: put such a value into the query or the body, or encode it another way"),
        ),
        Some(_) => ("escaped bytes that are no UTF-8".to_owned(), format!("{without}, or escape UTF-8 text")),
    }
}

/// The first character that is refused by itself behind `before`.
fn character(before: &str, text: &str, why: Ambiguity) -> Option<Culprit> {
    let (at, found) = text.char_indices().find(|(_, character)| refused(&format!("{before}{character}"), why))?;
    let bytes = found.to_string().into_bytes();
    let escaped = bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let next = match reading(&format!("{before}{escaped}")) {
        Ok(()) => format!("Write {found:?} as {escaped}"),
        Err(_) => format!("Leave {found:?} out: escaped it is refused too"),
    };
    let meaning = "a character that must not stand there as it is".to_owned();
    Some(Culprit { text: found.to_string(), at: Some(at), meaning, next: Some(next) })
}

/// The first segment that is refused by itself, with the slash before it; of an empty one also the slash behind it.
fn segment(path: &str) -> Option<Culprit> {
    let mut at = 0;
    loop {
        let rest = path.get(at + 1..)?;
        let (segment, slash) = rest.split_once('/').map_or((rest, ""), |(segment, _)| (segment, "/"));
        if refused(&format!("/{segment}{slash}"), Ambiguity::PathSegment) {
            let end = if segment.is_empty() { slash } else { "" };
            let meaning = if segment.is_empty() { "an empty segment" } else { "a dot segment" };
            return Some(Culprit { at: Some(at), ..Culprit::whole(&format!("/{segment}{end}"), meaning) });
        }
        at += segment.len() + 1;
    }
}

/// The first header with which the request is refused.
fn header(call: &Call, why: Ambiguity) -> Option<Culprit> {
    let until = |count: usize| call.headers.get(..count).unwrap_or_default();
    let with = |count| Request::read(&RequestParts { headers: &Lines(until(count)), ..call.parts() }).err();
    let (name, _) = (1..=call.headers.len()).find(|&count| with(count) == Some(why)).map(until)?.last()?;
    Some(Culprit::whole(name, "this header"))
}

/// Some of the header lines of a call.
struct Lines<'a>(&'a [(String, String)]);

impl Headers for Lines<'_> {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.0.iter().for_each(|(name, value)| each(name, value.as_bytes()));
    }
}

fn refused(target: &str, why: Ambiguity) -> bool {
    reading(target) == Err(why)
}

/// How a target is read by itself.
fn reading(target: &str) -> Result<(), Ambiguity> {
    let parts = RequestParts { method: "GET", scheme: "https", host: "a", target, headers: &Lines(&[]) };
    Request::read(&parts).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn culprit(call: &Call) -> Option<(String, Option<usize>, String)> {
        let why = Request::read(&call.parts()).err()?;
        Culprit::of(call, why).map(|found| (found.text, found.at, found.next.unwrap_or_default()))
    }

    #[test]
    fn what_makes_a_target_ambiguous_is_named_with_its_place() {
        for (target, text, at, next) in [
            ("/a%20b/c%2fd?e", "%2f", 8, "Send the path without %2f: put such"),
            ("/%c3%a9%2F", "%2F", 7, "Send the path without %2F: put such"),
            ("/%c3%a9/%c0%af%41", "%c0%af", 8, "Send the path without %c0%af, or escape UTF-8"),
            ("/a/%2e%2e/b", "%2e", 3, "Write . as it is"),
            ("/a%25", "%25", 2, "Send the path without %25: put such"),
            ("/a%0a", "%0a", 2, "Send the path without %0a"),
            ("/a%20%", "%", 5, "Send the path without %; an escaped % is refused too"),
            ("/a%zz", "%zz", 2, "Send the path without %zz; an escaped % is refused too"),
            ("/a;b=c", ";", 2, "Leave ';' out: escaped it is refused too"),
            ("/a b", " ", 2, "Write ' ' as %20"),
            ("/café", "é", 4, "Write 'é' as %C3%A9"),
            ("/a\u{7}", "\u{7}", 2, "Leave '\\u{7}' out"),
            ("/orders//7", "//", 7, ""),
            ("//", "//", 0, ""),
            ("/a/./b", "/.", 2, ""),
            ("/a/..", "/..", 2, ""),
            ("/a?b=c d", " ", 6, "Write ' ' as %20"),
        ] {
            let call = Call { target: target.to_owned(), ..Call::new("GET", "https://a/", &[]).unwrap() };
            let (found, place, instead) = culprit(&call).unwrap_or_else(|| panic!("{target:?}: nothing is named"));
            assert_eq!((found.as_str(), place), (text, Some(at)), "{target:?}");
            assert!(instead.starts_with(next), "{target:?}: {instead}");
        }
    }

    #[test]
    fn what_else_makes_a_request_ambiguous_is_named() {
        let headers = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        for (method, url, lines, text) in [
            ("get", "https://a/", headers(&[]), "get"),
            ("GET", "https://a,b/", headers(&[]), "a,b"),
            ("GET", "https://a/", headers(&["X-Tier: gold", "X-HTTP-Method: PUT"]), "X-HTTP-Method"),
            ("GET", "https://a/", headers(&["Host: a", "Host: a"]), "Host"),
            ("GET", "https://a/", headers(&["Connection: close, Authorization"]), "Connection"),
        ] {
            let call = Call::new(method, url, &lines).unwrap();
            assert_eq!(culprit(&call), Some((text.to_owned(), None, String::new())), "{method} {url} {lines:?}");
        }
        let long = Call::new("GET", &format!("https://a/{}", "b".repeat(9000)), &[]).unwrap();
        assert_eq!(Request::read(&long.parts()).err(), Some(Ambiguity::TargetTooLong));
        assert_eq!(culprit(&long), None);
    }
}
