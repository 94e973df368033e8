//! The report as text for people or JSON for programs.
//!
//! The JSON is an interface (docs/reference/check.md): members are added, never renamed.

use anyhow::Result;
use serde_json::{Value, json};

use super::Output;
use super::findings::{Finding, Report, Severity};
use crate::cli::colour::{Colour, plain};
use crate::cli::out;

pub(super) fn print(report: &Report, output: Output) -> Result<()> {
    let text = match output {
        Output::Text => text(report, Colour::of_stdout()),
        Output::Json => serde_json::to_string_pretty(&json(report))?,
    };
    out::print(&text)
}

pub(super) fn text(report: &Report, colour: Colour) -> String {
    let findings = report.findings.iter().map(|finding| one(finding, colour));
    findings.chain([summary(report, colour)]).collect::<Vec<_>>().join("\n")
}

/// `file:line: field` first, so that editors find it.
fn one(finding: &Finding, colour: Colour) -> String {
    let Finding { severity, place, object, field, reason, message, next } = finding;
    let (place, field, message) = (plain(&place.to_string()), plain(field), plain(message));
    let severity = match severity {
        Severity::Problem => colour.paint("1;31", format_args!("problem {reason}")),
        Severity::Note => colour.paint("1;33", format_args!("note {reason}")),
    };
    let object = object.as_ref().map(|(kind, key)| plain(&format!(" in {kind} {key}"))).unwrap_or_default();
    let field = if field.is_empty() { String::new() } else { format!(" {}", colour.paint("1", field)) };
    let next = if next.is_empty() { String::new() } else { format!("  next: {next}\n") };
    format!("{place}:{field}\n  {severity}{object}: {message}\n{}", colour.paint("2", next))
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

pub(super) fn json(report: &Report) -> Value {
    let of = |severity| {
        report.findings.iter().filter(|finding| finding.severity == severity).map(member).collect::<Vec<_>>()
    };
    let (problems, notes) = (of(Severity::Problem), of(Severity::Note));
    json!({
        "summary": {
            "problems": problems.len(),
            "notes": notes.len(),
            "files": report.files,
            "objects": report.objects,
            "rules": report.rules,
            "otherKinds": report.others,
            "otherInstallations": report.foreign,
        },
        "problems": problems,
        "notes": notes,
    })
}

fn member(finding: &Finding) -> Value {
    let Finding { severity: _, place, object, field, reason, message, next } = finding;
    let (kind, key) = object.as_ref().map(|(kind, key)| (kind, key)).unzip();
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
