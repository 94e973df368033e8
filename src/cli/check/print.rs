//! The report as text for people or JSON for programs.
//!
//! The JSON is an interface (docs/reference/check.md): members are added, never renamed.

use anyhow::Result;
use serde_json::{Value, json};

use super::Output;
use super::findings::{Report, Severity};
use crate::cli::colour::Colour;
use crate::cli::out;

pub(super) fn print(report: &Report, output: Output, limit: usize) -> Result<()> {
    let text = match output {
        Output::Text => text(report, limit, Colour::of_stdout()),
        Output::Json => serde_json::to_string_pretty(&json(report, limit))?,
    };
    out::print(&text)
}

pub(super) fn text(report: &Report, limit: usize, colour: Colour) -> String {
    let (mut problems, mut notes) = (0, 0);
    let shown = report.findings.iter().filter(|finding| {
        let count = if finding.severity == Severity::Problem { &mut problems } else { &mut notes };
        *count += 1;
        *count <= limit
    });
    let mut lines: Vec<_> = shown.map(|finding| finding.told().text(colour)).collect();
    let more = [(problems, "more problem"), (notes, "more note")].map(|(count, what)| (more(count, limit), what));
    let more = more.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(count, what));
    let more = more.collect::<Vec<_>>().join(", ");
    if !more.is_empty() {
        lines.push(format!("… and {more}: --limit COUNT prints as many\n"));
    }
    lines.push(summary(report, colour));
    lines.join("\n")
}

/// How many of so many are beyond the limit.
fn more(count: usize, limit: usize) -> usize {
    count.saturating_sub(limit)
}

fn summary(report: &Report, colour: Colour) -> String {
    let mut objects: Vec<_> = report.objects.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if report.rules > 0 {
        objects.push(counted(report.rules, "rule"));
    }
    let objects = if objects.is_empty() { "no object of Countersign's".to_owned() } else { objects.join(", ") };
    let mut passed = Vec::new();
    for (count, what) in [(report.others, "of other kinds"), (report.foreign, "of other installations")] {
        if count > 0 {
            passed.push(format!("{} {what} passed over", counted(count, "object")));
        }
    }
    let passed = if passed.is_empty() { String::new() } else { format!("; {}", passed.join(", ")) };
    let (problems, notes) = (report.count(Severity::Problem), report.count(Severity::Note));
    let verdict = format!("{}, {}", counted(problems, "problem"), counted(notes, "note"));
    let verdict = colour.paint(if problems == 0 { "1;32" } else { "1;31" }, verdict);
    format!("{verdict} in {} ({objects}{passed})", counted(report.files, "file"))
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

pub(super) fn json(report: &Report, limit: usize) -> Value {
    let of = |severity| {
        let all = report.findings.iter().filter(move |finding| finding.severity == severity);
        all.take(limit).map(|finding| finding.told().json()).collect::<Vec<_>>()
    };
    let (problems, notes) = (report.count(Severity::Problem), report.count(Severity::Note));
    json!({
        "summary": {
            "problems": problems,
            "notes": notes,
            "moreProblems": more(problems, limit),
            "moreNotes": more(notes, limit),
            "files": report.files,
            "objects": report.objects,
            "rules": report.rules,
            "otherKinds": report.others,
            "otherInstallations": report.foreign,
        },
        "problems": of(Severity::Problem),
        "notes": of(Severity::Note),
    })
}
