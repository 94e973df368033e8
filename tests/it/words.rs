//! The manual says what the code says: reasons, what they mean, what to do; and no reason is given that is not listed.

use crate::support::root;
use countersign_api::reasons::{Place, Reason};
use countersign_core::policy::Advice;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs/reference").join(name)).unwrap()
}

/// The rows of a page's tables, without their heads.
fn rows(page: &str) -> Vec<&str> {
    page.lines().filter(|line| line.starts_with("| `")).collect()
}

#[test]
fn every_reason_of_a_condition_is_in_the_manual_in_the_same_words() {
    let row = |reason: &Reason| {
        let Reason { place, name, meaning, next } = reason;
        match place {
            Place::Condition { condition, status, .. } => {
                format!("| `{condition}` | {status} | `{name}` | {meaning} | {next} |")
            }
            Place::Element | Place::Scope | Place::Note => format!("| `{name}` | {meaning} | {next} |"),
        }
    };
    assert_eq!(rows(&page("conditions.md")), Reason::ALL.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn every_reason_of_a_verdict_is_in_the_manual_in_the_same_words() {
    let page = page("verifier-metrics.md");
    let reasons = page.split("## Reasons").nth(1).unwrap();
    let row = |advice: &Advice| format!("| `{}` | {} | {} |", advice.reason, advice.meaning, advice.next);
    assert_eq!(rows(reasons), Advice::ALL.iter().map(row).collect::<Vec<_>>());
}

/// Words that stand between quotes in the controller and are no reasons: types of conditions, reasons of Events, and values.
const OTHER_WORDS: &[&str] = &[
    "Accepted",
    "CredentialsReady",
    "FullyGranted",
    "KeyringLost",
    "NoStandby",
    "NotEnforcing",
    "PartiallyInvalid",
    "Ready",
    "Reconciling",
    "ResolvedRefs",
    "RollbackDetected",
    "RotationBlocked",
    "Stalled",
    "ConfigMapRestored",
    "CredentialsNotReady",
    "KeyRevoked",
    "NotFullyGranted",
    "Rotated",
    "SecretCreated",
    "SecretRestored",
    "SecretRotated",
    "TokensRevoked",
    "UnresolvedRefs",
    "WiringRestored",
    "False",
    "Opaque",
    "Retain",
    "True",
    "Unknown",
    "Update",
];

#[test]
fn the_source_gives_no_reason_that_is_not_listed() {
    let listed: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name).collect();
    let mut found = BTreeSet::new();
    for text in sources(&root().join("src/controller")) {
        found.extend(words(&text).into_iter().filter(|word| !OTHER_WORDS.contains(&word.as_str())));
    }
    // Core and api name theirs in one place.
    found.extend(words(&fs::read_to_string(root().join("crates/core/src/directory/reason.rs")).unwrap()));
    for text in ["crates/core/src", "crates/api/src"].into_iter().flat_map(|place| sources(&root().join(place))) {
        let literal = text.split("Problem::new(").skip(1).filter_map(|call| {
            let call = call.split(';').next()?;
            words(call).into_iter().next()
        });
        found.extend(literal);
    }
    let strange: Vec<_> = found.iter().filter(|word| !listed.contains(word.as_str())).collect();
    assert!(strange.is_empty(), "add to crates/api/src/reasons/table.rs and to the manual: {strange:?}");
    assert!(found.len() > 30, "the source is read: {found:?}");
}

/// CamelCase words that are whole string literals.
fn words(source: &str) -> Vec<String> {
    let pieces: Vec<_> = source.split('"').collect();
    let literals = pieces.iter().skip(1).step_by(2);
    let camel = |text: &str| {
        text.len() > 2
            && text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(|letter| letter.is_ascii_alphabetic())
            && text.chars().any(|letter| letter.is_ascii_lowercase())
    };
    literals.filter(|text| camel(text)).map(ToString::to_string).collect()
}

/// The text of every source file below, without its tests.
fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains("tests") {
            continue;
        }
        if path.is_dir() {
            texts.extend(sources(&path));
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<_> = text.split("#[cfg(test)]").next().unwrap().lines().collect();
            texts.push(
                code.into_iter().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n"),
            );
        }
    }
    texts
}
