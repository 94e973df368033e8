//! Logs: coloured lines on a terminal, JSON otherwise, to standard error.

use std::error::Error;
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

/// An error with what led to it, in one line: a field of its own in JSON, whose writer would tell the error alone.
pub fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_everything_that_led_to_it() {
        let filter = "info,=".to_owned();
        let error = match EnvFilter::builder().parse(&filter) {
            Err(source) => TelemetryError::Filter { filter, source },
            Ok(filter) => panic!("{filter} is no filter"),
        };
        let source = error.source().unwrap().to_string();
        assert_eq!(chain(&error), format!("read the log filter \"info,=\": {source}"));
    }
}
