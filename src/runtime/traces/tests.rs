//! A collector in the process, and what may be expected of any span. It reads the wire by the field numbers of
//! `opentelemetry/proto/trace/v1/trace.proto`, not with the types that wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use prost::Message;
use tokio::runtime::{Builder, Handle};

use super::export::{Collector, provider};
use super::*;

const PAGE: &str = include_str!("../../../docs/reference/traces.md");
/// `SPAN_KIND_SERVER`
pub(crate) const SERVER: i32 = 2;
/// `SPAN_KIND_INTERNAL`
pub(crate) const INTERNAL: i32 = 1;
pub(crate) const PARENT: &str = "b7ad6b7169203331";

/// `ExportTraceServiceRequest`
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Exported>,
}

/// `Span`
#[derive(Clone, PartialEq, Message)]
struct Exported {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
    #[prost(message, optional, tag = "15")]
    status: Option<SpanStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanStatus {
    #[prost(int32, tag = "3")]
    code: i32,
}

/// `KeyValue`
#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

/// A span as the collector got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) kind: i32,
    trace: String,
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Whether it is marked as our failure.
    pub(crate) failed: bool,
}

/// The collector of this test process: spans of every test arrive here, each of them in its own trace.
pub(crate) struct Received {
    address: String,
    exporter: Exporter,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

// === impl Received ===

impl Received {
    /// All that arrived, once what has ended by now is here.
    async fn exports(&self) -> Vec<Export> {
        let provider = self.exporter.provider().expect("a provider");
        tokio::task::spawn_blocking(move || provider.force_flush()).await.expect("joined").expect("flushed");
        self.bodies.lock().unwrap().iter().map(|body| Export::decode(body.clone()).expect("an export")).collect()
    }

    pub(crate) async fn all(&self) -> Vec<Seen> {
        let scopes = self.exports().await.into_iter().flat_map(|export| export.resources).flat_map(|one| one.scopes);
        scopes.flat_map(|scope| scope.spans).map(seen).collect()
    }

    /// The spans of one trace.
    pub(crate) async fn trace(&self, trace: &str) -> Vec<Seen> {
        self.all().await.into_iter().filter(|span| span.trace == trace).collect()
    }

    /// Whether this text came to the collector, in whatever field.
    pub(crate) async fn holds(&self, text: &str) -> bool {
        self.exports().await;
        let bodies = self.bodies.lock().unwrap();
        bodies.iter().any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}

/// Starts it with the first test that asks.
pub(crate) fn received() -> &'static Received {
    static RECEIVED: OnceLock<Received> = OnceLock::new();
    RECEIVED.get_or_init(|| {
        let (started, ready) = mpsc::channel();
        // A runtime that outlives the tests', each of which has one of its own.
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(collect(&started));
        });
        ready.recv().expect("a collector")
    })
}

async fn collect(started: &mpsc::Sender<Received>) {
    type Bodies = Arc<Mutex<Vec<Bytes>>>;
    async fn keep(State(bodies): State<Bodies>, headers: HeaderMap, body: Bytes) -> StatusCode {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        bodies.lock().unwrap().push(body);
        StatusCode::OK
    }
    let bodies = Bodies::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let exporter = Exporter::start(&collector(&address, "1")).expect("an exporter");
    started.send(Received { address, exporter, bodies: Arc::clone(&bodies) }).expect("a test that waits");
    axum::serve(listener, Router::new().route("/v1/traces", post(keep)).with_state(bodies)).await.expect("served");
}

fn collector(endpoint: &str, ratio: &str) -> Collector {
    Collector { endpoint: endpoint.parse().expect("an endpoint"), ratio: ratio.parse().expect("a ratio") }
}

fn seen(span: Exported) -> Seen {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let Exported { trace, parent, name, kind, attributes, status } = span;
    let failed = status.is_some_and(|status| status.code == 2);
    let count = attributes.len();
    let attributes: BTreeMap<_, _> = attributes.into_iter().map(|one| (one.key, text(one.value))).collect();
    assert_eq!(attributes.len(), count, "each once: {attributes:?}");
    Seen { name, kind, trace: hex(&trace), parent: hex(&parent), attributes, failed }
}

fn text(value: Option<AnyValue>) -> String {
    let AnyValue { text, number } = value.unwrap_or_default();
    text.or_else(|| number.map(|number| number.to_string())).expect("text or a number")
}

/// Attributes as a test writes them, without the prefix they all have.
pub(crate) fn attributes(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(name, value)| (format!("countersign.{name}"), (*value).to_owned())).collect()
}

/// The value of `traceparent` that makes a span part of a trace.
pub(crate) fn traceparent(trace: &str) -> String {
    format!("00-{trace}-{PARENT}-01")
}

/// Asserts that these spans together have exactly the attributes that the reference lists for a name.
pub(crate) fn assert_told(name: &str, spans: &[Seen]) {
    let spans: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let found: BTreeSet<_> = spans.iter().flat_map(|span| span.attributes.keys().map(String::as_str)).collect();
    let (kind, told) = rows().remove(name).expect("a row of the reference");
    assert_eq!(found, told, "attributes of {name}");
    let kinds: BTreeSet<_> = spans.iter().map(|span| span.kind).collect();
    assert_eq!(kinds, BTreeSet::from([if kind == "server" { SERVER } else { INTERNAL }]), "kind of {name}");
}

/// The table of spans in the reference: name, kind, attributes.
fn rows() -> BTreeMap<&'static str, (&'static str, BTreeSet<&'static str>)> {
    let (_, part) = PAGE.split_once("\n## Spans\n").expect("a part about spans");
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map_while(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [name, _, kind, attributes, ..] = cells[..] else { return None };
        Some((name.trim_matches('`'), (kind, attributes.split('`').skip(1).step_by(2).collect())))
    })
    .collect()
}

#[test]
fn the_reference_names_exactly_the_spans_there_are() {
    let names: Vec<_> = rows().into_keys().collect();
    assert_eq!(names, ["introspect", "reconcile", "revoke", "token", "verdict"]);
}

#[test]
fn the_reference_says_what_every_attribute_means() {
    let (_, part) = PAGE.split_once("\n## Attributes\n").expect("a part about attributes");
    let meanings: BTreeSet<_> = part.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let told: BTreeSet<_> = rows().into_values().flat_map(|(_, attributes)| attributes).collect();
    assert_eq!(meanings, told);
}

#[tokio::test]
async fn the_process_says_who_it_is() {
    let received = received();
    Span::internal("itself").end(|_| ());
    let exports = received.exports().await;
    let resource = exports[0].resources[0].resource.clone().expect("a resource");
    let of = |key: &str| resource.attributes.iter().find(|one| one.key == key).map(|one| text(one.value.clone()));
    assert_eq!(of("service.name").as_deref(), Some("countersign"));
    assert_eq!(of("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn what_is_not_sampled_costs_nothing_and_is_not_sent() {
    const TRACE: &str = "0000000000000000000000000000c0de";
    let received = received();
    let line = traceparent(TRACE).replace("-01", "-00");
    let span = Span::server("verdict", |header| header("traceparent", line.as_bytes()));
    assert!(!span.is_recorded());
    span.end(|_| panic!("asked for what nobody gets"));
    assert_eq!(received.trace(TRACE).await, []);
}

#[tokio::test]
async fn the_ratio_is_for_roots_and_a_parent_decides_for_its_own() {
    let provider = provider(&collector(&received().address, "0"), Handle::current()).expect("a provider");
    let tracer = provider.tracer("test");
    let begin = |parent| span::begin(&tracer, "verdict", SpanKind::Server, parent).is_some();
    let parent = |line: &str| parent::find(|header| header("traceparent", line.as_bytes())).expect("a parent");
    assert!(!begin(None));
    assert!(begin(Some(parent("00-0000000000000000000000000000abba-b7ad6b7169203331-01"))));
    assert!(!begin(Some(parent("00-0000000000000000000000000000abba-b7ad6b7169203331-00"))));
    let ended = tokio::task::spawn_blocking(move || provider.shutdown()).await.expect("joined");
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test]
async fn a_collector_that_is_away_keeps_nobody_waiting() {
    // Bound and never accepted from: what is sent there hangs.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", mute.local_addr().expect("an address"));
    let provider = provider(&collector(&address, "1"), Handle::current()).expect("a provider");
    let tracer = provider.tracer("test");
    // More than the queue and a batch under way hold: the rest is dropped, and the loop ends.
    for _ in 0..5000 {
        span::begin(&tracer, "verdict", SpanKind::Server, None).expect("recorded");
    }
    let end = move || provider.shutdown_with_timeout(Duration::from_millis(100));
    let ended = tokio::task::spawn_blocking(end).await.expect("joined");
    assert!(ended.is_err(), "the end has a bound");
}
