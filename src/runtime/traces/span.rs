//! A span from its beginning to its end.
//!
//! Flows in: a name and where the parent may stand, then what is told at the end. Flows out: to the queue, if the trace is
//! sampled. Without a collector a span is one look at a pointer; one that is not sampled keeps nothing.

use std::borrow::Cow;
use std::sync::OnceLock;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as Recording};

use super::parent;

/// Where spans go: one place a process, like the logs; empty where no collector was named.
pub(super) static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Something under way; empty where it is not recorded.
#[derive(Debug)]
pub struct Span(Option<Box<Recording>>);

/// What is told of a span as it ends.
#[derive(Debug)]
pub struct Told<'s>(&'s mut Recording);

// === impl Span ===

impl Span {
    /// An answer to a request. `headers` calls what it is given with each of its header lines; it is not called where
    /// nothing is recorded.
    #[inline]
    pub fn server(name: &'static str, headers: impl FnOnce(&mut dyn FnMut(&str, &[u8]))) -> Self {
        Self(TRACER.get().and_then(|tracer| begin(tracer, name, SpanKind::Server, parent::find(headers))))
    }

    /// Work that nobody outside asked for.
    #[inline]
    pub fn internal(name: &'static str) -> Self {
        Self(TRACER.get().and_then(|tracer| begin(tracer, name, SpanKind::Internal, None)))
    }

    /// Whether `end` will ask what there is to tell.
    #[inline]
    pub const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Ends it; what is there to tell is asked for only where it is recorded.
    #[inline]
    pub fn end(self, tell: impl FnOnce(&mut Told<'_>)) {
        if let Some(mut span) = self.0 {
            tell(&mut Told(&mut span));
            span.end();
        }
    }
}

/// Nothing where the trace is not sampled.
pub(super) fn begin(
    tracer: &SdkTracer,
    name: &'static str,
    kind: SpanKind,
    parent: Option<SpanContext>,
) -> Option<Box<Recording>> {
    // Not the context of this thread: spans lie beside each other, never in one another.
    let root = Context::new();
    let context = parent.map_or_else(|| root.clone(), |parent| root.with_remote_span_context(parent));
    let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &context);
    span.is_recording().then(|| Box::new(span))
}

// === impl Told ===

impl Told<'_> {
    /// A constant or a name of something that exists; never a secret, a token or text nobody checked.
    pub fn text(&mut self, attribute: &'static str, value: impl Into<Cow<'static, str>>) {
        self.0.set_attribute(KeyValue::new(attribute, Value::String(value.into().into())));
    }

    pub fn number(&mut self, attribute: &'static str, value: u16) {
        self.0.set_attribute(KeyValue::new(attribute, i64::from(value)));
    }

    /// It is our failure, not the caller's.
    pub fn failed(&mut self) {
        self.0.set_status(Status::error(""));
    }
}
