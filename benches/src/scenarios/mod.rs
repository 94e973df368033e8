//! What is measured, a file a subject.
//!
//! Flows in: how often and how long. Flows out: figures. Whatever is compared runs in turn, floor and ours next to each other, and the
//! median of the rounds counts: the machine is never quiet.

pub mod abuse;
pub mod agent;
pub mod check;
pub mod cluster;
pub mod core;
pub mod proxy;
pub mod token;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Pairs of runs, floor and ours.
    pub rounds: usize,
    /// Seconds of one run.
    pub seconds: u64,
}

/// `a`, `b`, `c` for figures behind a ratio.
pub fn list(values: impl IntoIterator<Item = f64>) -> String {
    values.into_iter().map(|value| format!("{value:.0}")).collect::<Vec<_>>().join(" ")
}
