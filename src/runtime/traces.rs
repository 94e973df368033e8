//! Traces: a span for each call, verdict and look at an object, for a collector that speaks OTLP. Builds without the feature
//! `otlp` make the same calls, and there is nothing behind them.
//!
//! ```text
//! traceparent ─► parent ─┐
//! begin ─────────────────┴─► Span ─► end: what is told of it ─► bounded queue ─► a thread of its own ─► collector
//! ```
//!
//! Flows in: names, and values that are constants or names of objects that exist. Flows out: batches over HTTP. Nobody waits
//! for a collector: what the queue cannot hold is dropped. docs/reference/traces.md lists every span and attribute.

#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod parent;
#[cfg(feature = "otlp")]
mod span;
#[cfg(test)]
#[cfg(feature = "otlp")]
pub(crate) mod tests;

#[cfg(feature = "otlp")]
pub use self::export::{Collector, Endpoint, EndpointError, Exporter, Ratio, RatioError, TracesError};
#[cfg(not(feature = "otlp"))]
pub use self::off::{Exporter, Span, Told};
#[cfg(feature = "otlp")]
pub use self::span::{Span, Told};
