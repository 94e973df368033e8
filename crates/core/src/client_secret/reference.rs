//! Someone else's value as a client secret: whether it is strong enough, and the record it is checked against.
//!
//! Flows in: the value in the referenced Secret. Flows out: a refusal, or an HMAC that says nothing about the value to
//! whoever does not hold the key.

use std::collections::BTreeSet;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::ClientId;

const LEAST_CHARACTERS: usize = 32;
const LEAST_BITS: u32 = 128;
/// Longer ones are refused before any work; no token endpoint takes them.
const MOST_BYTES: usize = 1024;

/// The value can be guessed, or is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret must have 32 to 1024 visible characters and look random (128 bits or more)")]
pub struct TooWeak;

/// Refuses values under 32 characters or 128 estimated bits. The estimate is generous to random text and stingy to
/// words, runs and repetitions; it cannot know whether somebody else knows the value.
pub fn check_strength(value: &str) -> Result<(), TooWeak> {
    let strong = value.len() >= LEAST_CHARACTERS && is_hard_to_guess(value);
    strong.then_some(()).ok_or(TooWeak)
}

/// Whether a value that is taken over stays good for the overlap: 128 estimated bits, in however few characters another
/// server put them. Ory Hydra makes random values of 26, and a move must not end them all at once.
pub fn is_hard_to_guess(value: &str) -> bool {
    let visible = value.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    value.len() <= MOST_BYTES && visible && estimated_bits(value.as_bytes()) >= f64::from(LEAST_BITS)
}

fn estimated_bits(value: &[u8]) -> f64 {
    let counted = u32::try_from(surprising(value)).unwrap_or(u32::MAX);
    f64::from(counted) * bits_per_character(value)
}

/// How much one character can say, judged by the smallest alphabet that explains the text.
fn bits_per_character(value: &[u8]) -> f64 {
    let all = |of: fn(&u8) -> bool| value.iter().all(of);
    if all(u8::is_ascii_digit) {
        return f64::from(10).log2();
    }
    let hexadecimal = all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
        || all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b));
    if hexadecimal {
        return 4.0;
    }
    let digits = value.iter().any(u8::is_ascii_digit);
    let lower = value.iter().any(u8::is_ascii_lowercase);
    let upper = value.iter().any(u8::is_ascii_uppercase);
    let mixed = digits || (lower && upper);
    if !mixed {
        // Letters of one case and separators: words, at the two bits or so a letter of a text has.
        return 2.3;
    }
    let alphabet = u32::from(digits) * 10 + u32::from(lower) * 26 + u32::from(upper) * 26;
    f64::from(alphabet).log2()
}

/// How many characters are not explained by those before: runs such as `aaaaa` or `56789`, and what repeats five.
fn surprising(value: &[u8]) -> usize {
    let mut seen = BTreeSet::new();
    let fives = value.windows(5);
    let new = fives.filter(|five| {
        let steps: BTreeSet<i16> =
            five.windows(2).filter_map(|pair| Some(step(*pair.first()?, *pair.last()?))).collect();
        let run = steps.len() == 1 && steps.first().is_some_and(|step| step.abs() <= 1);
        seen.insert(*five) && !run
    });
    new.count() + 4
}

fn step(from: u8, to: u8) -> i16 {
    i16::from(to) - i16::from(from)
}

/// The random key of the records, made once. `Debug` leaves it out.
#[derive(Clone)]
pub struct RecordKey(Key);

impl RecordKey {
    /// From 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Key::new(HMAC_SHA256, bytes))
    }
}

impl std::fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordKey(…)")
    }
}

const TAG: usize = 32;

/// What is kept of a referenced value: an HMAC-SHA-256 over the client id and the value, written as base64url. Any record
/// costs as much to match as any other.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Record([u8; TAG]);

/// A text that is no record; it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record must be 32 bytes in base64url")]
pub struct NoRecord;

impl Record {
    /// The record of no value: for as much work where there is none as where there is one.
    pub const OF_NOTHING: Self = Self([0; TAG]);

    /// The record of a value for a client.
    pub fn of(key: &RecordKey, client: &ClientId, value: &str) -> Self {
        let mut tag = [0; TAG];
        tag.copy_from_slice(sign(&key.0, &material(client, value)).as_ref());
        Self(tag)
    }

    /// Whether a presented value is the recorded one: one HMAC, in time that does not depend on the record.
    pub fn matches(&self, key: &RecordKey, client: &ClientId, presented: &str) -> bool {
        presented.len() <= MOST_BYTES && verify(&key.0, &material(client, presented), &self.0).is_ok()
    }
}

impl TryFrom<String> for Record {
    type Error = NoRecord;
    fn try_from(text: String) -> Result<Self, NoRecord> {
        let bytes = BASE64URL.decode(text).map_err(|_| NoRecord)?;
        bytes.try_into().map(Self).map_err(|_| NoRecord)
    }
}

impl From<Record> for String {
    fn from(record: Record) -> Self {
        BASE64URL.encode(record.0)
    }
}

/// A record as issuers hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// The record.
    pub record: Record,
    /// When the value ends that was taken over; none: it is good as long as the record is there.
    pub until: Option<Timestamp>,
}

impl KeptRecord {
    /// Whether the value is no longer good.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Record(…)")
    }
}

/// A client id holds no NUL, so that the two parts cannot be told differently.
fn material(client: &ClientId, value: &str) -> Vec<u8> {
    [client.as_str().as_bytes(), &[0], value.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_is_strong_and_words_runs_and_short_texts_are_not() {
        for strong in [
            "9f86d081884c7d659a2feaa0c55ad015",
            "tq3VbN0xk2-LwZ8yRj5uHc7Df1GmEoPi",
            "xk29vq7m4tz8bn3wl5yr6cs0dj1hfgpa",
            "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MDEyMzQ1Njc4OQ==",
        ] {
            assert_eq!(check_strength(strong), Ok(()), "{strong}");
        }
        for weak in [
            "",
            "password",
            "9f86d081884c7d659a2feaa0c55ad01",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "correct-horse-battery-staple-and-more",
            "12345678901234567890123456789012",
            "Password1!Password1!Password1!Password1!",
            "9f86d081884c7d659a2feaa0c55ad015 with a space",
        ] {
            assert_eq!(check_strength(weak), Err(TooWeak), "{weak}");
        }
    }

    #[test]
    fn what_is_taken_over_may_be_short_but_not_guessable() {
        for (value, kept) in [
            ("tq3VbN0xk2LwZ8yRj5uHc7Df1G", true),
            ("~q3VbN0x.2-wZ8yRj5_Hc7Df1G", true),
            ("tq3VbN0xk2LwZ8yRj5uHc", false),
            ("s3cR37p4ssVV0rD1234", false),
            ("passwordpasswordpasswordpassword", false),
            ("", false),
        ] {
            assert_eq!(is_hard_to_guess(value), kept, "{value}");
            assert!(check_strength(value).is_err(), "{value} is short: {}", value.len());
        }
    }

    #[test]
    fn a_record_matches_its_value_for_its_client_only() {
        let (key, other) = (RecordKey::new(&[7; 32]), RecordKey::new(&[8; 32]));
        let checkout = ClientId::new("shop.checkout").expect("a client id");
        let billing = ClientId::new("shop.billing").expect("a client id");
        let record = Record::of(&key, &checkout, "value");
        assert!(record.matches(&key, &checkout, "value"));
        assert!(!record.matches(&key, &checkout, "valuf"));
        assert!(!record.matches(&key, &billing, "value"));
        assert!(!record.matches(&other, &checkout, "value"));
        assert!(!Record::OF_NOTHING.matches(&key, &checkout, "value"));
        assert_eq!(format!("{record:?} {key:?}"), "Record(…) RecordKey(…)");
    }

    #[test]
    fn a_record_reads_back_as_it_was_written_and_nothing_shorter_is_one() {
        let client = ClientId::new("shop.checkout").expect("a client id");
        let record = Record::of(&RecordKey::new(&[7; 32]), &client, "value");
        let text = serde_json::to_string(&record).expect("it can be written");
        assert_eq!(text.len(), 43 + 2, "base64url of 32 bytes");
        assert_eq!(serde_json::from_str::<Record>(&text).expect("it can be read"), record);
        for bad in ["\"\"", "\"!\"", "\"AAAA\"", "null"] {
            let error = serde_json::from_str::<Record>(bad).expect_err(bad);
            assert!(!error.to_string().contains("AAAA"), "{error}");
        }
    }

    #[test]
    fn a_kept_record_ends_at_its_end() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let kept = |until| KeptRecord { record: Record::OF_NOTHING, until };
        assert!(!kept(None).has_ended(Timestamp::MAX));
        assert!(!kept(Some(at(10))).has_ended(at(9)));
        assert!(kept(Some(at(10))).has_ended(at(10)));
    }
}
