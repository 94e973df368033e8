//! What was measured, held against what was promised.
//!
//! Flows in: figures, as scenarios find them. Flows out: lines on the terminal at once; at the end a table, JSON, or the generated part of
//! docs/performance.md.

use crate::support::root;
use serde_json::{Value, json};
use std::fmt;
use std::process::Command;

/// A promise.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Measured for comparison.
    None,
}

#[derive(Clone, Debug)]
pub struct Figure {
    pub scenario: &'static str,
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    pub target: Target,
    /// The figures behind it.
    pub detail: String,
}

/// The figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    figures: Vec<Figure>,
    /// What another program printed, by scenario.
    texts: Vec<(&'static str, String)>,
}

const BEGIN: &str = "<!-- figures: written by `make bench` -->";
const END: &str = "<!-- end of figures -->";

impl Target {
    fn holds(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bound) => Some(value >= bound),
            Self::AtMost(bound) => Some(value <= bound),
            Self::None => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::None => Ok(()),
        }
    }
}

impl Figure {
    fn holds(&self) -> &'static str {
        match self.target.holds(self.value) {
            Some(true) => "holds",
            Some(false) => "**missed**",
            None => "",
        }
    }

    fn amount(&self) -> String {
        let value = match self.value.abs() {
            v if v >= 100.0 => format!("{:.0}", self.value),
            v if v >= 10.0 => format!("{:.1}", self.value),
            _ => format!("{:.2}", self.value),
        };
        format!("{value} {}", self.unit)
    }
}

impl Report {
    pub fn add(
        &mut self,
        scenario: &'static str,
        what: impl Into<String>,
        (value, unit): (f64, &'static str),
        target: Target,
        detail: impl Into<String>,
    ) {
        let figure = Figure { scenario, what: what.into(), value, unit, target, detail: detail.into() };
        println!("{scenario:11} {}: {} {target} {} | {}", figure.what, figure.amount(), figure.holds(), figure.detail);
        self.figures.push(figure);
    }

    pub fn text(&mut self, scenario: &'static str, text: &str) {
        println!("{text}");
        self.texts.push((scenario, text.to_owned()));
    }

    pub fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            json!({
                "scenario": figure.scenario, "what": figure.what, "value": figure.value, "unit": figure.unit,
                "target": figure.target.to_string(), "holds": figure.target.holds(figure.value), "detail": figure.detail,
            })
        };
        json!({"setting": setting(), "figures": self.figures.iter().map(figure).collect::<Vec<_>>()})
    }

    fn table(&self) -> String {
        let mut lines: Vec<String> = setting().iter().map(|(name, value)| format!("- {name}: {value}")).collect();
        // A scenario comes back to a subject: what belongs together stands together, in the order it was begun.
        let mut subjects: Vec<&str> = Vec::new();
        for figure in &self.figures {
            if !subjects.contains(&figure.scenario) {
                subjects.push(figure.scenario);
            }
        }
        for subject in subjects {
            lines.push(format!("\n### {subject}\n\n| what | measured | target | | figures behind it |"));
            lines.push("|---|---|---|---|---|".to_owned());
            for figure in self.figures.iter().filter(|figure| figure.scenario == subject) {
                let Figure { what, target, detail, .. } = figure;
                lines.push(format!("| {what} | {} | {target} | {} | {detail} |", figure.amount(), figure.holds()));
            }
        }
        for (scenario, printed) in &self.texts {
            lines.push(format!("\n### {scenario}\n\n```text\n{printed}\n```"));
        }
        lines.join("\n")
    }

    /// Replaces the generated part of docs/performance.md.
    pub fn write(&self) {
        let file = root().join("docs/performance.md");
        let text = std::fs::read_to_string(&file).expect("read docs/performance.md");
        let (before, rest) = text.split_once(BEGIN).expect("docs/performance.md has a place for the figures");
        let (_, after) = rest.split_once(END).expect("and an end of it");
        std::fs::write(&file, format!("{before}{BEGIN}\n{}\n{END}{after}", self.table()))
            .expect("write docs/performance.md");
    }
}

/// Where and when this was measured.
fn setting() -> Vec<(&'static str, String)> {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(root()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown").to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        (
            "machine",
            format!(
                "{cores} cores of {cpu}, Linux {}; load generator, servers and API server share them",
                said("uname", &["-r"])
            ),
        ),
        ("commit", said("git", &["describe", "--always", "--dirty"])),
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("compiler", said("rustc", &["--version"])),
    ]
}
