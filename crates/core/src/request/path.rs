//! The canonical reading of a request target: path and query.
//!
//! Flows in: the target as the proxy received it. Flows out: the path with its escapes decoded, borrowed where it has
//! none, or why two readers could disagree about it. Nothing is normalised: what would have to be is refused, since a
//! proxy configured as told never forwards it. Rule patterns are read by the same function.

use std::borrow::Cow;

use super::Ambiguity;

/// The longest target that is read.
pub const MAX_TARGET: usize = 8 * 1024;

/// Splits a target at its first `?` and reads the path; the query is returned as it was received.
pub(super) fn read_target(target: &str) -> Result<(Cow<'_, str>, &str), Ambiguity> {
    if target.len() > MAX_TARGET {
        return Err(Ambiguity::TargetTooLong);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if query.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || byte == b'#') {
        return Err(Ambiguity::Query);
    }
    Ok((read_path(path)?, query))
}

/// Reads a path: absolute, of visible ASCII, without empty, dot or parameterised segments, and without escapes that
/// readers are known to disagree on. The result is the decoded path; its segments are those of the received one.
pub fn read_path(path: &str) -> Result<Cow<'_, str>, Ambiguity> {
    let Some(relative) = path.strip_prefix('/') else { return Err(Ambiguity::PathNotAbsolute) };
    let mut escaped = false;
    for byte in path.bytes() {
        match byte {
            b'%' => escaped = true,
            b'#' | b'\\' | b';' | 0..=b' ' | 0x7f..=0xff => return Err(Ambiguity::PathCharacter),
            _ => {}
        }
    }
    let path = if escaped { Cow::Owned(decode(path)?) } else { Cow::Borrowed(path) };
    let segments = path.strip_prefix('/').unwrap_or(relative);
    let last = segments.len();
    let mut end = 0;
    for segment in segments.split('/') {
        end += segment.len() + 1;
        let empty_inside = segment.is_empty() && end <= last;
        if empty_inside || segment == "." || segment == ".." {
            return Err(Ambiguity::PathSegment);
        }
    }
    Ok(path)
}

/// Decodes the escapes of a path, once. Delimiters, dots, `%` and control characters have no business being escaped.
fn decode(path: &str) -> Result<String, Ambiguity> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) else {
            return Err(Ambiguity::PathEscape);
        };
        match high * 16 + low {
            b'/' | b'\\' | b'.' | b'%' | b';' | b'?' | b'#' | 0..=0x1f | 0x7f => return Err(Ambiguity::PathEscape),
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| Ambiguity::PathEscape)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_path_is_borrowed_and_its_query_kept_as_received() {
        let (path, query) = read_target("/orders/7?a=%2f..&b=?").expect("a usual target");
        assert!(matches!(path, Cow::Borrowed("/orders/7")));
        assert_eq!(query, "a=%2f..&b=?");
        assert_eq!(read_target("/").expect("the root"), (Cow::Borrowed("/"), ""));
    }

    #[test]
    fn escapes_are_decoded_so_that_a_rule_sees_what_the_backend_sees() {
        assert_eq!(read_path("/%61dmin/caf%C3%A9%20x/").expect("harmless escapes"), "/admin/café x/");
    }

    #[test]
    fn what_two_readers_could_take_for_different_paths_is_refused() {
        for (path, why) in [
            ("", Ambiguity::PathNotAbsolute),
            ("*", Ambiguity::PathNotAbsolute),
            ("orders", Ambiguity::PathNotAbsolute),
            ("http://orders.shop/orders", Ambiguity::PathNotAbsolute),
            ("//admin", Ambiguity::PathSegment),
            ("/a//b", Ambiguity::PathSegment),
            ("/a//", Ambiguity::PathSegment),
            ("/./a", Ambiguity::PathSegment),
            ("/a/..", Ambiguity::PathSegment),
            ("/a/../admin", Ambiguity::PathSegment),
            ("/a/..;/admin", Ambiguity::PathCharacter),
            ("/a;x=1/b", Ambiguity::PathCharacter),
            ("/a\\..\\admin", Ambiguity::PathCharacter),
            ("/a#b", Ambiguity::PathCharacter),
            ("/a b", Ambiguity::PathCharacter),
            ("/a\0b", Ambiguity::PathCharacter),
            ("/a\u{7f}b", Ambiguity::PathCharacter),
            ("/café", Ambiguity::PathCharacter),
            ("/a%2fb", Ambiguity::PathEscape),
            ("/a%2Fb", Ambiguity::PathEscape),
            ("/a%5cb", Ambiguity::PathEscape),
            ("/%2e%2e/admin", Ambiguity::PathEscape),
            ("/a%00", Ambiguity::PathEscape),
            ("/a%0d%0a", Ambiguity::PathEscape),
            ("/a%252fb", Ambiguity::PathEscape),
            ("/a%3bx", Ambiguity::PathEscape),
            ("/a%3fx", Ambiguity::PathEscape),
            ("/a%23x", Ambiguity::PathEscape),
            ("/a%", Ambiguity::PathEscape),
            ("/a%4", Ambiguity::PathEscape),
            ("/a%+1", Ambiguity::PathEscape),
            ("/a%zz", Ambiguity::PathEscape),
            ("/a%ff", Ambiguity::PathEscape),
            ("/a%c0%af", Ambiguity::PathEscape),
        ] {
            assert_eq!(read_path(path), Err(why), "{path:?}");
        }
    }

    #[test]
    fn a_query_may_hold_escapes_but_no_fragment_and_no_control_bytes() {
        assert!(read_target("/a?b=%zz&c=//../").is_ok());
        assert_eq!(read_target("/a?b#c"), Err(Ambiguity::Query));
        assert_eq!(read_target("/a?b\r\nc"), Err(Ambiguity::Query));
        assert_eq!(read_target(&format!("/{}", "a".repeat(MAX_TARGET))), Err(Ambiguity::TargetTooLong));
    }
}
