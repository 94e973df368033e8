//! What a migration comes to: manifests, and what is to say about them; as text for people or JSON for programs.
//!
//! The JSON is an interface (docs/migrate.md): members are added, never renamed.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cli::check::Output;
use crate::cli::colour::{Colour, plain};
use crate::cli::out;
pub(super) use crate::cli::told::Severity;
use crate::cli::told::Told;
use crate::objects::Key;
use crate::objects::folder::documents::Place;

/// Why something is not as it was. The words are an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Countersign has a place for it and does not implement it yet.
    NotImplemented,
    /// Countersign has no place for it.
    NoCounterpart,
    /// It is there, and means something else.
    Changed,
    /// It cannot be found out from what was given.
    Missing,
    /// It cannot be read, or cannot be written down.
    Invalid,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) place: Place,
    /// Kind and name, where the object could be read so far.
    pub(super) object: Option<(&'static str, Key)>,
    /// Empty where it is the whole.
    pub(super) field: String,
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) next: String,
}

/// A manifest of ours.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manifest {
    pub(super) object: Value,
    /// Lines for people above it.
    pub(super) comment: Vec<String>,
    /// What to run before it is applied.
    pub(super) command: Option<String>,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) manifests: Vec<Manifest>,
    pub(super) findings: Vec<Finding>,
    pub(super) files: usize,
    /// How many clients there were.
    pub(super) clients: usize,
}

// === impl Reason ===

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotImplemented => "NotImplemented",
            Self::NoCounterpart => "NoCounterpart",
            Self::Changed => "Changed",
            Self::Missing => "Missing",
            Self::Invalid => "Invalid",
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Manifests to standard output and the rest to standard error; as JSON all of it to standard output.
    pub(super) fn print(&self, output: Output) -> Result<()> {
        match output {
            Output::Json => out::print(&serde_json::to_string_pretty(&self.json())?),
            Output::Text => {
                let yaml = self.yaml()?;
                if !yaml.is_empty() {
                    out::print(&yaml)?;
                }
                // Who does not want to hear it closed standard error.
                drop(writeln!(std::io::stderr(), "{}", self.text(Colour::of_stderr())));
                Ok(())
            }
        }
    }

    /// The manifests, each with its comment.
    pub(super) fn yaml(&self) -> Result<String> {
        let mut text = String::new();
        for Manifest { object, comment, command } in &self.manifests {
            text.push_str("---\n");
            for line in comment.iter().chain(command) {
                text.extend(["# ", &plain(line), "\n"]);
            }
            text.push_str(serde_saphyr::to_string(object).context("cannot print a manifest")?.trim_end());
            text.push('\n');
        }
        Ok(text)
    }

    pub(super) fn text(&self, colour: Colour) -> String {
        let mut lines: Vec<_> = self.findings.iter().map(|finding| finding.told().text(colour)).collect();
        let printed = self.of_kind("OAuthClient");
        let (problems, notes) = (self.count(Severity::Problem), self.count(Severity::Note));
        let verdict = format!("{} of {} clients printed, {problems} problems, {notes} notes", printed, self.clients);
        let verdict = colour.paint(if problems == 0 { "1;32" } else { "1;31" }, verdict);
        let next = if self.manifests.iter().any(|manifest| manifest.command.is_some()) {
            "; run the commands in the comments, then apply what was printed"
        } else {
            ""
        };
        lines.push(format!("{verdict}{next}"));
        lines.join("\n")
    }

    pub(super) fn json(&self) -> Value {
        let of = |severity| {
            let findings = self.findings.iter().filter(|finding| finding.severity == severity);
            findings.map(|finding| finding.told().json()).collect::<Vec<_>>()
        };
        json!({
            "summary": {
                "files": self.files,
                "clients": self.clients,
                "printed": self.of_kind("OAuthClient"),
                "problems": self.count(Severity::Problem),
                "notes": self.count(Severity::Note),
            },
            "objects": self.manifests.iter().map(|manifest| &manifest.object).collect::<Vec<_>>(),
            "commands": self.manifests.iter().filter_map(|manifest| manifest.command.as_ref()).collect::<Vec<_>>(),
            "problems": of(Severity::Problem),
            "notes": of(Severity::Note),
        })
    }

    fn of_kind(&self, kind: &str) -> usize {
        self.manifests.iter().filter(|manifest| manifest.object.get("kind").is_some_and(|of| of == kind)).count()
    }
}

// === impl Finding ===

impl Finding {
    fn told(&self) -> Told<'_> {
        let Self { severity, place, object, field, reason, message, next } = self;
        let object = object.as_ref().map(|(kind, key)| (*kind, key));
        Told { severity: *severity, place, object, field, reason: reason.as_str(), message, next }
    }
}
