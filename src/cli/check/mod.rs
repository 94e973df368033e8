//! `countersign check`: says what an installation would say to manifests, without one.
//!
//! ```text
//! folders, files, standard input ─► survey ─► schema, per object ─┐
//!                                     └─► the Directory ──────────┴─► findings ─► text or JSON, exit code
//! ```
//! Flows in: manifests. Flows out: problems, each with file, line, field and what to do next; and notes on what is in
//! force and unlikely to be meant.

mod findings;
mod print;
#[cfg(test)]
mod tests;
mod wiring;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use self::findings::{Report, Severity};
use self::wiring::Whom;
use super::manifests::{Flawed, Premises, World};
use super::wiring::VerifierService;
use crate::objects::Key;
use crate::runtime::clock::Clock;

/// Check manifests without a cluster
///
/// Says what the API server and Countersign would say to them: fields and words that do not
/// exist, claims the namespace may not make, conflicts, scopes nobody defines, rules no request
/// reaches. Each problem comes with its file, line and field, and what to do next. Objects of
/// other kinds are passed over.
///
/// The exit code is 0 where nothing is wrong, 1 where something is, 2 where this command was
/// used wrongly. Notes (what is in force and unlikely to be meant) do not count as wrong.
///
/// With --wiring it prints what connects the traffic of the policies instead, where nothing is
/// wrong with them.
///
///   countersign check deploy/policies
///   kustomize build . | countersign check -
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    /// Folders and files to check; `-` is standard input
    #[arg(value_name = "DIR|FILE", required_unless_present = "filename", value_parser = existing)]
    paths: Vec<PathBuf>,
    /// The same, as kubectl has it; no default
    #[arg(short, long, env = "COUNTERSIGN_CHECK_FILENAME", value_name = "DIR|FILE", value_parser = existing)]
    filename: Vec<PathBuf>,
    /// `text` for people, `json` for programs
    #[arg(short, long, env = "COUNTERSIGN_CHECK_OUTPUT", value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
    /// How many problems, and how many notes, are printed; the summary counts all; default: 100 as text, all as JSON
    #[arg(long, env = "COUNTERSIGN_CHECK_LIMIT", value_name = "COUNT")]
    limit: Option<usize>,
    /// Print what brings the traffic of the policies to the verifier, for this gateway or mesh; default: nothing
    #[arg(long, env = "COUNTERSIGN_CHECK_WIRING", value_enum, value_name = "WHOM")]
    wiring: Option<Whom>,
    #[command(flatten)]
    verifier: VerifierService,
    #[command(flatten)]
    premises: Premises,
}

/// Who reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode> {
        let limit = self.limit();
        let paths = [self.paths, self.filename].concat();
        let world = World::read(&paths, &self.premises, Clock::system().now(), Flawed::Judged)?;
        let report = Report::of(&world, &self.premises);
        if let Some(whom) = self.wiring.filter(|_| report.count(Severity::Problem) == 0) {
            let verifier = self.verifier.value(&self.premises.system_namespace, self.premises.cluster_domain());
            crate::cli::out::print(&wiring::text(&world, whom, (&verifier, &self.premises.system_namespace))?)?;
            return Ok(ExitCode::SUCCESS);
        }
        print::print(&report, self.output, limit)?;
        Ok(if report.count(Severity::Problem) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// A program wants all; a person stops reading.
    fn limit(&self) -> usize {
        self.limit.unwrap_or(match self.output {
            Output::Text => 100,
            Output::Json => usize::MAX,
        })
    }
}

/// What is wrong with an object of a text.
pub(super) struct Wrong {
    pub(super) kind: String,
    pub(super) key: Key,
    pub(super) field: String,
    pub(super) message: String,
}

/// The problems of a text's manifests.
pub(super) fn problems(text: &str, premises: &Premises, now: Timestamp) -> Result<Vec<Wrong>> {
    let texts = [(PathBuf::from("(text)"), text.to_owned())];
    let world = World::of(&[], &texts, premises, now, Flawed::Judged)?;
    let problems = Report::of(&world, premises).findings.into_iter();
    let wrong = problems.filter(|finding| finding.severity == Severity::Problem).map(|finding| {
        let (kind, key) = finding.object.unwrap_or_else(|| ("manifest".to_owned(), Key::cluster("")));
        Wrong { kind, key, field: finding.field, message: finding.message }
    });
    Ok(wrong.collect())
}

/// A path that is not there is a word mistyped on the command line.
pub(super) fn existing(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if text == "-" || path.exists() { Ok(path) } else { Err("there is no such file or folder".to_owned()) }
}
