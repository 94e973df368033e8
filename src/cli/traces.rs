//! The flags that send traces to a collector; builds without the feature `otlp` have none.
//!
//! Flows in: the command line. Flows out: the exporter, to be flushed when the process ends.

use anyhow::Result;
use clap::Args;

use crate::runtime::traces::Exporter;
#[cfg(feature = "otlp")]
use crate::runtime::traces::{Collector, Endpoint, Ratio};

/// Where traces go.
#[cfg(feature = "otlp")]
#[derive(Args, Clone, Debug)]
pub(crate) struct TraceFlags {
    /// Collector that is sent traces over OTLP/HTTP, such as `http://collector:4318`; without it there are none
    #[arg(long, env = "COUNTERSIGN_OTLP_ENDPOINT", value_name = "URL", help_heading = "Traces")]
    otlp_endpoint: Option<Endpoint>,
    /// Share of the traces that begin here to record, from 0 to 1; where a request names its trace, that trace decides
    #[arg(
        long,
        env = "COUNTERSIGN_OTLP_SAMPLE_RATIO",
        default_value = "0.01",
        value_name = "RATIO",
        help_heading = "Traces"
    )]
    otlp_sample_ratio: Ratio,
}

/// Where traces go: nowhere.
#[cfg(not(feature = "otlp"))]
#[derive(Args, Clone, Debug)]
pub(crate) struct TraceFlags {}

#[cfg(feature = "otlp")]
impl TraceFlags {
    /// Starts the export if a collector is named.
    pub(crate) fn start(&self) -> Result<Exporter> {
        let Some(endpoint) = self.otlp_endpoint.clone() else { return Ok(Exporter::none()) };
        Ok(Exporter::start(&Collector { endpoint, ratio: self.otlp_sample_ratio })?)
    }
}

#[cfg(not(feature = "otlp"))]
impl TraceFlags {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "builds with traces take them from the flags")]
    pub(crate) fn start(&self) -> Result<Exporter> {
        Ok(Exporter::none())
    }
}

#[cfg(test)]
#[cfg(feature = "otlp")]
mod tests {
    use clap::Command;

    use super::*;

    #[test]
    fn the_reference_lists_exactly_these_flags() {
        let page = include_str!("../../docs/reference/traces.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `--"));
        let cells = |row: &str| row.split('|').take(3).map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        let told: Vec<Vec<_>> = rows.map(cells).collect();
        let command = TraceFlags::augment_args(Command::new("flags"));
        let text = |value: Option<&std::ffi::OsStr>| value.unwrap_or_default().to_string_lossy().into_owned();
        let flags: Vec<_> = command
            .get_arguments()
            .map(|flag| {
                let long = flag.get_long().unwrap_or_default().to_owned();
                let default = flag.get_default_values().first().map(std::ops::Deref::deref);
                vec![long, text(flag.get_env()), text(default)]
            })
            .collect();
        assert_eq!(told, flags);
    }
}
