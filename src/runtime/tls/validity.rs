//! From when until when a certificate is good (RFC 5280 section 4.1.2.5).
//!
//! Flows in: a certificate, DER. Flows out: its two times. Nothing else of it is read, and nothing is verified.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The two times of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    /// Reads them; `None` where this is no certificate.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = take(certificate, Some(SEQUENCE))?;
        let (to_be_signed, _) = take(certificate, Some(SEQUENCE))?;
        // version, where it is not the first; serial number; algorithm; issuer
        let rest = take(to_be_signed, Some(VERSION)).map_or(to_be_signed, |(_, rest)| rest);
        let rest = (0..3).try_fold(rest, |rest, _| take(rest, None).map(|(_, rest)| rest))?;
        let (validity, _) = take(rest, Some(SEQUENCE))?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Self { not_before, not_after })
    }
}

/// The content of the element that begins here, and what comes after it.
fn take(bytes: &[u8], wanted: Option<u8>) -> Option<(&[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    if wanted.is_some_and(|wanted| wanted != *tag) {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let tag = *bytes.first()?;
    let (content, rest) = take(bytes, None)?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // Two digits mean 1950 to 2049.
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let local = DateTime::strptime("%Y%m%d%H%M%S", &text).ok()?;
    Some((Offset::UTC.to_timestamp(local).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn one() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(include_bytes!("../../../tests/certificates/one.crt.pem")).unwrap()
    }

    #[test]
    fn the_two_times_of_a_certificate_are_read() {
        let Validity { not_before, not_after } = Validity::of(&one()).unwrap();
        let expected = ("2026-11-22T04:27:57Z".to_owned(), "2126-10-29T04:27:57Z".to_owned());
        assert_eq!((not_before.to_string(), not_after.to_string()), expected);
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        let read = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            time(&[&[tag, length], text.as_bytes()].concat()).map(|(at, _)| at.to_string())
        };
        assert_eq!(read(UTC_TIME, "491231235959Z").as_deref(), Some("2049-12-31T23:59:59Z"));
        assert_eq!(read(UTC_TIME, "500101000000Z").as_deref(), Some("1950-01-01T00:00:00Z"));
        assert_eq!(read(GENERALIZED_TIME, "21260101000000Z").as_deref(), Some("2126-01-01T00:00:00Z"));
        for (tag, text) in [(UTC_TIME, "4912312359Z"), (GENERALIZED_TIME, "x"), (0x04, "491231235959Z")] {
            assert_eq!(read(tag, text), None, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_certificate_has_no_times() {
        let whole = one();
        for end in 0..whole.len() {
            let read = Validity::of(&whole[..end]);
            assert_eq!(read, None, "cut at {end}");
        }
        assert_eq!(Validity::of(&[SEQUENCE, 0x85, 1, 1, 1, 1, 1]), None);
    }
}
