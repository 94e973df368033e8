//! Durations as people write them in manifests.
//!
//! Flows in: GEP-2257 text, `1h30m`. Flows out: a `std::time::Duration`; printed in the largest units that fit.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::schema;

/// A GEP-2257 duration: one to four numbers of at most five digits, each with its unit `h`, `m`, `s` or `ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(std::time::Duration);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("duration {0:?} must be one to four of a number of at most five digits and h, m, s or ms, such as 1h30m")]
pub struct DurationError(String);

impl Duration {
    /// The duration as the standard library has it.
    pub fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse(text).map(Self).ok_or_else(|| DurationError(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<std::time::Duration> {
    let mut rest = text;
    let mut sum = std::time::Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        if number.len() > 5 {
            return None;
        }
        let number: u64 = number.parse().ok()?;
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit)?;
        sum += match unit {
            "h" => std::time::Duration::from_secs(number * 3600),
            "m" => std::time::Duration::from_secs(number * 60),
            "s" => std::time::Duration::from_secs(number),
            "ms" => std::time::Duration::from_millis(number),
            _ => return None,
        };
        rest = tail;
        if rest.is_empty() {
            return Some(sum);
        }
    }
    None
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [
            (seconds / 3600, "h"),
            (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
            (self.0.subsec_millis().into(), "ms"),
        ];
        if parts.iter().all(|(number, _)| *number == 0) {
            return f.write_str("0s");
        }
        for (number, unit) in parts.iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Duration {
    type Error = DurationError;
    fn try_from(text: String) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema::text::<schema::DurationForm>(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, milliseconds, printed) in [
            ("15m", 900_000, "15m"),
            ("720h", 2_592_000_000, "720h"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("2s500ms", 2_500, "2s500ms"),
            ("0s", 0, "0s"),
            ("99999h99999h99999h99999h", 1_439_985_600_000_000 / 1000, ""),
        ] {
            let Ok(duration) = text.parse::<Duration>() else { panic!("{text} is a duration") };
            if printed.is_empty() {
                continue;
            }
            assert_eq!(duration.get().as_millis(), milliseconds);
            assert_eq!(duration.to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_gep_2257_duration_is_refused() {
        for text in ["", "15", "m", "1d", "1.5h", "-1h", "1h ", "100000s", "1h1h1h1h1h", "1µs", "1h30"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
    }
}
