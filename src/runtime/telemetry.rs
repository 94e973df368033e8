//! Logs: coloured lines on a terminal, JSON otherwise, to standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt, registry};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("read the log filter {filter:?}")]
    Filter { filter: String, source: ParseError },
    #[error("install the log subscriber")]
    Install(#[from] TryInitError),
}

/// Starts logging; `filter` is a list such as `info,countersign::issuer=debug`.
pub fn init(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let env = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let terminal = stderr().is_terminal();
    let text = format == LogFormat::Text || (format == LogFormat::Auto && terminal);
    let lines = if text {
        fmt::layer().with_writer(stderr).with_ansi(terminal).with_target(false).boxed()
    } else {
        fmt::layer().with_writer(stderr).json().flatten_event(true).with_current_span(false).boxed()
    };
    registry().with(lines.with_filter(env)).try_init()?;
    Ok(())
}
