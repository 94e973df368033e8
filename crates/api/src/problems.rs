//! What is found wrong while an object is read.
//!
//! Flows in: names, words and fields. Flows out: values where they can be read, and a [`Problem`] with its element where not.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use countersign_core::directory::reason;
use countersign_core::policy::Problem;
use serde_json::Value;

/// The problems of one object, in the order they were found.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value, or none and a problem.
    pub(crate) fn keep<T>(&mut self, read: Result<T, Problem>) -> Option<T> {
        read.map_err(|problem| self.push(problem)).ok()
    }

    /// Reads an optional text.
    pub(crate) fn optional<T>(&mut self, element: &str, text: Option<&String>) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        text.and_then(|text| self.keep(read(element, text)))
    }

    /// Notes fields this version does not know.
    pub(crate) fn unknown(&mut self, element: &str, fields: &BTreeMap<String, Value>) {
        if let Some(problem) = unknown_field(element, fields) {
            self.push(problem);
        }
    }
}

/// Reads a text, or says what is wrong with the element that holds it.
pub(crate) fn read<T>(element: &str, text: &str) -> Result<T, Problem>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(|error: T::Err| invalid(element, error))
}

pub(crate) fn invalid(element: &str, message: impl Display) -> Problem {
    Problem::new(element, reason::INVALID, message.to_string())
}

/// A word this version does not know.
pub(crate) fn unknown_word(element: &str, word: &str) -> Problem {
    let message = format!("this version does not know {word:?}: correct it, or upgrade every replica first");
    Problem::new(element, reason::NOT_IMPLEMENTED, message)
}

/// The first field this version does not know.
pub(crate) fn unknown_field(element: &str, fields: &BTreeMap<String, Value>) -> Option<Problem> {
    let (name, _) = fields.first_key_value()?;
    let message = "this version does not know this field: correct or remove it, or upgrade every replica first";
    Some(Problem::new(format!("{element}.{name}"), reason::NOT_IMPLEMENTED, message))
}
