//! The parent a request names: `traceparent` of W3C Trace Context, section 3.2.
//!
//! Flows in: the header lines of a request. Flows out: the parent, where there is one line and it is well-formed. Anything
//! else is as if it were absent: a trace is no reason to refuse a request. `tracestate` is not read, since no request is
//! made in whose name it would be passed on.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const NAME: &str = "traceparent";

/// Finds the parent; `visit` calls what it is given with each header line.
pub(super) fn find(visit: impl FnOnce(&mut dyn FnMut(&str, &[u8]))) -> Option<SpanContext> {
    let (mut lines, mut found) = (0_usize, None);
    visit(&mut |name, value| {
        if name.eq_ignore_ascii_case(NAME) {
            lines += 1;
            found = read(value);
        }
    });
    found.filter(|_| lines == 1)
}

fn read(value: &[u8]) -> Option<SpanContext> {
    let mut fields = std::str::from_utf8(value).ok()?.splitn(5, '-');
    let (version, trace) = (hex(fields.next()?, 2)?, hex(fields.next()?, 32)?);
    let (span, flags) = (hex(fields.next()?, 16)?, hex(fields.next()?, 2)?);
    // A later version may have more fields, and means the same by the first four; 255 is none.
    let more = fields.next().is_some();
    if version == 0xff || (version == 0 && more) {
        return None;
    }
    let (span, flags) = (u64::try_from(span).ok()?, u8::try_from(flags).ok()?);
    // Other flags are not ours to pass on.
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let context = SpanContext::new(TraceId::from(trace), SpanId::from(span), flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// A number of exactly so many digits; upper case is not well-formed.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parent(lines: &[(&str, &str)]) -> Option<(String, String, bool)> {
        let found = find(|header| lines.iter().for_each(|(name, value)| header(name, value.as_bytes())));
        found.map(|parent| (parent.trace_id().to_string(), parent.span_id().to_string(), parent.is_sampled()))
    }

    #[test]
    fn a_well_formed_traceparent_is_the_parent() {
        let expected =
            |sampled| Some(("0af7651916cd43dd8448eb211c80319c".to_owned(), "b7ad6b7169203331".to_owned(), sampled));
        assert_eq!(parent(&[("host", "a"), ("traceparent", GOOD)]), expected(true));
        assert_eq!(parent(&[("TraceParent", GOOD)]), expected(true), "names have no case");
        for (end, sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let line = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{end}");
            assert_eq!(parent(&[("traceparent", &line)]), expected(sampled), "{end}");
        }
        let later = GOOD.replacen("00-", "cc-", 1);
        assert_eq!(parent(&[("traceparent", &later)]), expected(true), "a later version");
        assert_eq!(parent(&[("traceparent", &format!("{later}-more"))]), expected(true), "with more fields");
    }

    #[test]
    fn what_is_malformed_or_comes_twice_is_no_parent() {
        for line in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parent(&[("traceparent", line)]), None, "{line:?}");
        }
        assert_eq!(parent(&[]), None);
        assert_eq!(parent(&[("traceparent", GOOD), ("Traceparent", GOOD)]), None);
        assert!(find(|header| header(NAME, b"00-\xff")).is_none(), "no text");
    }
}
