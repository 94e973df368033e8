//! What a story found, for docs/soak.md.
//!
//! Flows in: from each story, what it tried and its figures. Flows out: one file a case under `.cache/soak`, and from all of
//! them the document. A story that begins leaves "failed"; only its end overwrites that.

use crate::support::root;
use crate::support::standalone::now;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

const INTRODUCTION: &str = "# What was survived

Faults tried with real processes on a real kube-apiserver and etcd, some through a proxy of ours that loses, delays, falsifies
and cuts (`tests/soak/proxy.rs`). Written by the run itself.

To repeat: `make soak` (all in about an hour, then every parser under attack for ten minutes), or `make soak T=<filter>` for some; `COUNTERSIGN_SOAK_MINUTES` shortens the
long absence of the API server, `COUNTERSIGN_SOAK_CHECKS` the long count of checks.
";

/// One case of a story, while it runs.
pub struct Case {
    record: Record,
    begun: Instant,
}

#[derive(Serialize, Deserialize)]
struct Record {
    fault: String,
    tried: String,
    case: String,
    outcome: String,
    seconds: u64,
    figures: Vec<(String, String)>,
}

// === impl Case ===

impl Case {
    /// `fault` is the heading, such as `F04 crash points`; `tried` says what was done, the same for all its cases.
    pub fn begin(fault: &str, tried: &str, case: &str) -> Self {
        let record = Record {
            fault: fault.to_owned(),
            tried: tried.split_whitespace().collect::<Vec<_>>().join(" "),
            case: case.to_owned(),
            outcome: "failed".to_owned(),
            seconds: 0,
            figures: Vec::new(),
        };
        let case = Self { record, begun: Instant::now() };
        case.write();
        case
    }

    pub fn figure(&mut self, name: &str, value: impl Display) {
        self.record.figures.push((name.to_owned(), value.to_string()));
    }

    /// It ended as it should.
    pub fn held(mut self) {
        self.record.seconds = self.begun.elapsed().as_secs();
        "held".clone_into(&mut self.record.outcome);
        let figures: Vec<_> = self.record.figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
        println!("{} / {}: {}", self.record.fault, self.record.case, figures.join(", "));
        self.write();
    }

    fn write(&self) {
        let Record { fault, case, .. } = &self.record;
        let name: String =
            format!("{fault}-{case}").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let text = serde_json::to_string_pretty(&self.record).expect("a record is JSON");
        fs::write(folder().join(format!("{name}.json")), text).expect("write the figures");
    }
}

fn folder() -> PathBuf {
    let folder = root().join(".cache/soak");
    fs::create_dir_all(&folder).expect("make the folder of figures");
    folder
}

/// A number a person may set; `make soak` runs without.
pub fn asked<T: std::str::FromStr>(name: &str, default: T) -> T {
    #[expect(clippy::disallowed_methods, reason = "a test has no flags")]
    let asked = std::env::var(name);
    asked.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

// === the document ===

#[test]
#[ignore = "no story: `make soak` runs it last"]
fn write_the_document() {
    let mut faults: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let mut files: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let record: Record = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        faults.entry(record.fault.clone()).or_default().push(record);
    }
    let mut text = format!("{INTRODUCTION}\nLast run: {}.\n", circumstances());
    for (fault, records) in &faults {
        write!(text, "\n## {fault}\n\n{}\n\n{}", records[0].tried, table(records)).unwrap();
    }
    fs::write(root().join("docs/soak.md"), text).unwrap();
}

fn table(records: &[Record]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in records.iter().flat_map(|record| &record.figures) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let mut text = format!("| case | {} | seconds | outcome |\n", columns.join(" | ")).replace("|  |", "|");
    text.push_str(&"|---".repeat(columns.len() + 3));
    text.push_str("|\n");
    for record in records {
        let value = |column: &&str| {
            record.figures.iter().find(|(name, _)| name == column).map_or("", |(_, value)| value).to_owned()
        };
        let mut cells = vec![record.case.clone()];
        cells.extend(columns.iter().map(value));
        cells.extend([record.seconds.to_string(), record.outcome.clone()]);
        writeln!(text, "| {} |", cells.join(" | ")).unwrap();
    }
    text
}

fn circumstances() -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(root()).output().expect("run a tool");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let day = now().to_string();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown")
        .trim_matches([' ', '\t', ':']);
    format!(
        "{}, commit {}, {} × {model}, Linux {}, a debug build",
        day.split('T').next().unwrap_or_default(),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("nproc", &[]),
        said("uname", &["-r"]),
    )
}
