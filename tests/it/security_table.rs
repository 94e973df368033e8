//! The table of docs/security.md held against the tests: an attack that is said to be tried is tried.
//!
//! Flows in: the document and the sources of the integration tests and of the stories on real pods. Flows out: rows without a test, tests without a row.

use crate::support::root;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The attacks that concern what is built, and how many of each.
const KINDS: [(&str, u32); 8] =
    [("TOK", 17), ("EXC", 10), ("REV", 3), ("INT", 2), ("JWT", 20), ("GWY", 10), ("CLA", 9), ("K8S", 9)];
/// Of the others, those that something exists for.
const SINGLE: [&str; 4] = ["AUT-03", "K8S-10", "K8S-12", "K8S-13"];

/// A row: the id, the tests it names, what is said of the outcome.
struct Row {
    id: String,
    tests: Vec<String>,
    outcome: String,
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/security.md")).expect("read docs/security.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = text.lines().map(cells).filter(|cells| cells.len() == 5 && is_id(&cells[1]));
    rows.map(|cells| Row {
        id: cells[1].clone(),
        tests: cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect(),
        outcome: cells[3].clone(),
    })
    .collect()
}

fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(kind, number)| kind.len() == 3 && number.parse::<u32>().is_ok())
}

/// The tests of the sources below a folder whose names begin with an id.
fn tests(folder: &Path, into: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).expect("list the tests").map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            tests(&path, into);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
        into.extend(names.filter(|name| is_id(&id_of(name))).map(str::to_owned));
    }
}

/// `TOK-01` of `tok_01_only_post_asks_for_tokens`.
fn id_of(test: &str) -> String {
    test.splitn(3, '_').take(2).collect::<Vec<_>>().join("-").to_uppercase()
}

#[test]
fn security_table_names_every_attack_and_its_tests() {
    let rows = rows();
    let expected: BTreeSet<String> = KINDS
        .iter()
        .flat_map(|(kind, most)| (1..=*most).map(move |number| format!("{kind}-{number:02}")))
        .chain(SINGLE.map(str::to_owned))
        .collect();
    let listed: BTreeSet<String> = rows.iter().map(|row| row.id.clone()).collect();
    assert!(expected.is_subset(&listed), "not in the table: {:?}", expected.difference(&listed));
    let mut there = BTreeSet::new();
    for folder in ["tests/it", "tests/e2e"] {
        tests(&root().join(folder), &mut there);
    }
    let mut named = BTreeSet::new();
    for Row { id, tests, outcome } in rows {
        assert!(!outcome.is_empty(), "{id} has no outcome");
        assert!(!tests.is_empty() || outcome.starts_with("not built"), "{id} names no test");
        for test in tests {
            assert!(there.contains(&test), "{id} names {test}, which is no test");
            assert_eq!(id_of(&test), id, "{test} stands in the row of another attack");
            named.insert(test);
        }
    }
    assert_eq!(there.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "tests that no row names");
}
