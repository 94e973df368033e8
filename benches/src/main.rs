//! Countersign beside floors, in one run: `make bench`.
//!
//! ```text
//! scenarios ─► floors (this program, started again) ─┐
//!           ─► target/release/countersign            ├─► load: wrk, h2load, own ─► figures ─► terminal, docs/performance.md, JSON
//!           ─► Envoy, a real kube-apiserver          ┘
//! ```
//! Flows in: which scenarios, how many rounds. Flows out: ratios beside their targets. docs/performance.md says how to repeat it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a step that fails ends the run and says where; figures are rounded anyway"
)]

mod api;
mod asker;
mod bare;
mod figures;
mod floor;
mod load;
mod scenarios;
mod stream;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod usage;
mod world;

use clap::{Parser, ValueEnum};
use figures::Report;
use scenarios::Effort;

/// Measure Countersign beside floors
#[derive(Parser, Debug)]
struct Line {
    #[command(subcommand)]
    floor: Option<Command>,
    /// Only this scenario; may be given several times [default: all but `many`]
    #[arg(long, value_enum)]
    only: Vec<Scenario>,
    /// Pairs of runs of what is compared; their median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one run
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How the figures are printed at the end
    #[arg(long, value_enum)]
    output: Option<Output>,
    /// Write them to docs/performance.md
    #[arg(long)]
    write: bool,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    /// Serve a floor: what this program starts beside itself
    #[command(subcommand)]
    Floor(floor::Floor),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// The core alone, by divan
    Core,
    /// The token endpoint
    Token,
    /// `ext_authz` over gRPC
    Check,
    /// Through a real Envoy
    Proxy,
    /// Bad tokens beside good ones
    Abuse,
    /// Roles before a real API server: memory, start, changes, many rules
    Cluster,
    /// An agent before a real issuer: memory
    Agent,
    /// 20,000 clients before a real API server
    Many,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Json,
}

const USUAL: [Scenario; 7] = [
    Scenario::Core,
    Scenario::Token,
    Scenario::Check,
    Scenario::Proxy,
    Scenario::Abuse,
    Scenario::Cluster,
    Scenario::Agent,
];

#[tokio::main]
async fn main() {
    let line = Line::parse();
    if let Some(Command::Floor(floor)) = line.floor {
        return floor.serve().await;
    }
    let effort = Effort { rounds: line.rounds, seconds: line.seconds };
    let mut report = Report::default();
    for scenario in if line.only.is_empty() { USUAL.to_vec() } else { line.only } {
        let begun = std::time::Instant::now();
        match scenario {
            Scenario::Core => scenarios::core::measure(&mut report),
            Scenario::Token => scenarios::token::measure(effort, &mut report).await,
            Scenario::Check => scenarios::check::measure(effort, &mut report).await,
            Scenario::Proxy => scenarios::proxy::measure(effort, &mut report).await,
            Scenario::Cluster => scenarios::cluster::measure(effort, &mut report).await,
            Scenario::Agent => scenarios::agent::measure(&mut report).await,
            Scenario::Many => scenarios::cluster::many::clients(&mut report).await,
            Scenario::Abuse => scenarios::abuse::measure(effort.rounds, &mut report).await,
        }
        println!("{scenario:?} took {:.0} s", begun.elapsed().as_secs_f64());
    }
    if line.output.is_some() {
        println!("{:#}", report.json());
    }
    if line.write {
        report.write();
    }
}
