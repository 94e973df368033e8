//! The way of spans to the collector: OTLP over HTTP, in batches, from a thread of their own.
//!
//! Flows in: spans that ended, through a queue that drops what it cannot hold. Flows out: requests to the collector, each
//! bounded in time; one that fails is a warning now and then, and its spans are lost.

use crate::runtime::telemetry::chain;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use super::span::TRACER;

/// Spans that wait for the collector; what ends while so many wait is dropped.
const QUEUE: usize = 2048;
/// Spans in a request at most.
const BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(5);
/// For one batch, with all its attempts.
const EXPORT: Duration = Duration::from_secs(5);
/// For what is still in the queue when the process ends.
const FLUSH: Duration = Duration::from_secs(5);
/// From one warning to the next.
const QUIET: Duration = Duration::from_mins(1);

/// Who gets the traces, and how many of them.
#[derive(Clone, Debug)]
pub struct Collector {
    pub endpoint: Endpoint,
    pub ratio: Ratio,
}

/// The collector's address: `http://` or `https://` with a host, to which `/v1/traces` is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// A share of all traces, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

#[derive(Debug, thiserror::Error)]
#[error("must be http:// or https:// with a host, such as http://collector:4318, without user, query or /v1/traces")]
pub struct EndpointError;

#[derive(Debug, thiserror::Error)]
#[error("must be a number from 0 to 1")]
pub struct RatioError;

/// Why no traces can be exported.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("find the system's certificate authorities")]
    Authorities(#[source] std::io::Error),
    #[error("set up TLS to the collector")]
    Tls(#[from] rustls::Error),
    #[error("set up the export of traces")]
    Build(#[from] ExporterBuildError),
    #[error("find the runtime that sends traces")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    #[error("start the export of traces a second time")]
    Started,
}

/// The way to the collector; empty where none was named.
#[derive(Debug)]
pub struct Exporter(Option<SdkTracerProvider>);

// === impl Endpoint ===

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let given: Uri = text.parse().map_err(|_| EndpointError)?;
        let spoken = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&given.scheme());
        let named = given.authority().is_some_and(|one| !one.host().is_empty() && !one.as_str().contains('@'));
        let base = text.strip_suffix('/').unwrap_or(text);
        let plain = given.query().is_none() && !text.contains('#') && !base.ends_with("/v1/traces");
        let uri = format!("{base}/v1/traces").parse().map_err(|_| EndpointError)?;
        if spoken && named && plain { Ok(Self(uri)) } else { Err(EndpointError) }
    }
}

// === impl Ratio ===

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, RatioError> {
        let ratio: f64 = text.parse().map_err(|_| RatioError)?;
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err(RatioError) }
    }
}

// === impl Exporter ===

impl Exporter {
    pub const fn none() -> Self {
        Self(None)
    }

    /// From here on every span of the process is for this collector. Requests are sent on the runtime this is called on.
    pub fn start(collector: &Collector) -> Result<Self, TracesError> {
        let provider = provider(collector, Handle::try_current()?)?;
        TRACER.set(provider.tracer("countersign")).map_err(|_| TracesError::Started)?;
        Ok(Self(Some(provider)))
    }

    /// Sends what is still in the queue, for as long as that may take; what ends later is not recorded.
    pub async fn flush(self) {
        let Some(provider) = self.0 else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(error = chain(&error), "the last traces may be lost");
        }
    }

    #[cfg(test)]
    pub(super) fn provider(&self) -> Option<SdkTracerProvider> {
        self.0.clone()
    }
}

/// Makes spans and sends them, on that runtime.
pub(super) fn provider(collector: &Collector, runtime: Handle) -> Result<SdkTracerProvider, TracesError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new(&collector.endpoint, runtime)?)
        .with_endpoint(collector.endpoint.0.to_string())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT)
        .build()?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(config).build())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(collector.ratio.0))))
        .with_resource(resource())
        .build())
}

/// Who sends: what `OTEL_RESOURCE_ATTRIBUTES` adds is the installation's to say.
fn resource() -> Resource {
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Resource::builder().with_service_name("countersign").with_attribute(version).build()
}

/// Sends on the process's runtime, since the thread that has the batches has none; and says when that fails.
#[derive(Clone)]
struct Client {
    hyper: Arc<HyperClient<HttpsConnector<HttpConnector>>>,
    runtime: Handle,
    warned: Arc<Mutex<Option<Instant>>>,
}

// === impl Client ===

impl Client {
    fn new(endpoint: &Endpoint, runtime: Handle) -> Result<Self, TracesError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = if endpoint.0.scheme() == Some(&Scheme::HTTPS) {
            tls.with_native_roots().map_err(TracesError::Authorities)?
        } else {
            tls.with_root_certificates(RootCertStore::empty())
        };
        let tls = tls.with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let hyper = Arc::new(HyperClient::new(connector, EXPORT, None));
        Ok(Self { hyper, runtime, warned: Arc::default() })
    }

    fn warn(&self, error: &(dyn std::error::Error + 'static)) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= QUIET) {
            *warned = Some(Instant::now());
            tracing::warn!(error, "the collector takes no traces; nothing else is affected");
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// What a collector answered that is no yes.
#[derive(Debug, thiserror::Error)]
#[error("the collector answered {0}")]
struct Refused(http::StatusCode);

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(&'life0 self, request: Request<Bytes>) -> Sent<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let hyper = Arc::clone(&self.hyper);
            let sent = self.runtime.spawn(async move { hyper.send_bytes(request).await }).await;
            let sent = sent.unwrap_or_else(|error| Err(error.into()));
            match &sent {
                Ok(response) if response.status().is_success() => {}
                Ok(response) => self.warn(&Refused(response.status())),
                Err(error) => self.warn(&**error),
            }
            sent
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_base_to_which_the_path_is_added() {
        for (text, sent_to) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://otlp.example.com/tenant", "https://otlp.example.com/tenant/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().0.to_string(), sent_to);
        }
        for text in [
            "",
            "collector:4318",
            "grpc://collector:4317",
            "http://",
            "http://user:secret@collector:4318",
            "http://collector:4318?a=b",
            "http://collector:4318#a",
            "http://collector:4318/v1/traces",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_ratio_is_from_0_to_1() {
        for (text, ratio) in [("0", 0.0), ("0.01", 0.01), ("1", 1.0)] {
            assert_eq!(text.parse::<Ratio>().unwrap(), Ratio(ratio));
        }
        for text in ["", "-0.1", "1.1", "NaN", "inf", "1%"] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
    }

    /// What is logged, shared with the subscriber.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(line)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_collector_that_is_away_is_one_warning_now_and_then() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", port.local_addr().unwrap());
        drop(port);
        let client = Client::new(&endpoint.parse().unwrap(), Handle::current()).unwrap();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        for _ in 0..3 {
            assert!(client.send_bytes(Request::post(&endpoint).body(Bytes::new()).unwrap()).await.is_err());
        }
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.matches("the collector takes no traces").count(), 1, "{log}");
        assert!(log.contains(" WARN "), "{log}");
    }
}
