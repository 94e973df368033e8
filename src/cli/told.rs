//! One thing to say about a file, as text for people or JSON for programs: the same from every command that reads manifests.
//!
//! The JSON is an interface (docs/reference/check.md, docs/migrate.md): members are added, never renamed.

use serde_json::{Value, json};

use super::colour::{Colour, plain};
use crate::objects::Key;
use crate::objects::folder::documents::Place;

/// Whether something is wrong, or somebody has to decide something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// It is not in force or not as it was, or not as it is written.
    Problem,
    /// It is worth knowing.
    Note,
}

/// What is said.
pub(super) struct Told<'a> {
    pub(super) severity: Severity,
    pub(super) place: &'a Place,
    /// Kind and name, where the object could be read so far.
    pub(super) object: Option<(&'a str, &'a Key)>,
    /// Empty where it is the whole.
    pub(super) field: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    /// Empty where there is nothing to do.
    pub(super) next: &'a str,
}

// === impl Told ===

impl Told<'_> {
    /// `file:line: field` first, so that editors find it.
    pub(super) fn text(&self, colour: Colour) -> String {
        let Self { severity, place, object, field, reason, message, next } = self;
        let severity = match severity {
            Severity::Problem => colour.paint("1;31", format_args!("problem {reason}")),
            Severity::Note => colour.paint("1;33", format_args!("note {reason}")),
        };
        let object = object.map(|(kind, key)| plain(&format!(" in {kind} {key}"))).unwrap_or_default();
        let field = if field.is_empty() { String::new() } else { format!(" {}", colour.paint("1", plain(field))) };
        let next = if next.is_empty() { String::new() } else { format!("  next: {}\n", plain(next)) };
        let (place, message) = (plain(&place.to_string()), plain(message));
        format!("{place}:{field}\n  {severity}{object}: {message}\n{}", colour.paint("2", next))
    }

    pub(super) fn json(&self) -> Value {
        let Self { severity: _, place, object, field, reason, message, next } = self;
        let (kind, key) = object.unzip();
        json!({
            "file": place.file,
            "line": place.line,
            "kind": kind,
            "namespace": key.and_then(|key| key.namespace.as_deref()),
            "name": key.map(|key| &*key.name),
            "field": field,
            "reason": reason,
            "message": message,
            "next": next,
        })
    }
}
