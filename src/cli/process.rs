//! What every long-running subcommand begins with: logs, clock, metrics, readiness, the supervisor and its ports.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::options::Tls;
use super::traces::TraceFlags;
use super::usage::Usage;
use crate::runtime::admin::{self, Admin};
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::{Condition, Readiness};
use crate::runtime::serve::{Limits, Port, Serves};
use crate::runtime::supervisor::{Grace, Supervisor};
use crate::runtime::telemetry::{self, LogFormat, TelemetryError};
use crate::runtime::tls::{
    ClientAuthorities, ClientJudge, PairFiles, RELOAD_PERIOD, ServerCertificate, TlsMetrics, Without,
};
use crate::runtime::traces::Exporter;

/// How this process logs and tells the time.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProcessFlags {
    /// What is logged, such as `info` or `info,countersign::controller=debug`
    #[arg(long, env = "COUNTERSIGN_LOG", default_value = "info", value_name = "FILTER", help_heading = "Logs")]
    log: String,
    /// `auto` is text on a terminal and JSON elsewhere
    #[arg(long, env = "COUNTERSIGN_LOG_FORMAT", value_enum, default_value_t = Format::Auto, value_name = "FORMAT", help_heading = "Logs")]
    log_format: Format,
    /// Time between readiness going off and connections being closed, for load balancers to notice
    #[arg(long, env = "COUNTERSIGN_SHUTDOWN_DELAY", default_value = "3s", value_name = "DURATION", value_parser = super::options::duration)]
    shutdown_delay: std::time::Duration,
    #[command(flatten)]
    traces: TraceFlags,
    /// Test builds: how far the clock is off, such as -5m
    #[cfg(feature = "test-clock")]
    #[arg(long, env = "COUNTERSIGN_TEST_CLOCK_OFFSET", default_value = "0s", allow_hyphen_values = true)]
    test_clock_offset: jiff::SignedDuration,
    /// Test builds: how many times as fast the clock runs
    #[cfg(feature = "test-clock")]
    #[arg(long, env = "COUNTERSIGN_TEST_CLOCK_RATE", default_value_t = 1)]
    test_clock_rate: u32,
    /// Test builds: since when it runs so fast, that several processes agree; its own start where absent
    #[cfg(feature = "test-clock")]
    #[arg(long, env = "COUNTERSIGN_TEST_CLOCK_START")]
    test_clock_start: Option<jiff::Timestamp>,
    /// Test builds: a file that says how far the clock is off, whenever it is looked at
    #[cfg(feature = "test-clock")]
    #[arg(long, env = "COUNTERSIGN_TEST_CLOCK_FILE", conflicts_with_all = ["test_clock_offset", "test_clock_rate"])]
    test_clock_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Auto,
    Text,
    Json,
}

impl ProcessFlags {
    #[cfg(not(feature = "test-clock"))]
    #[expect(clippy::unused_self, reason = "test builds take the clock from the flags")]
    fn clock(&self) -> Clock {
        Clock::system()
    }

    #[cfg(feature = "test-clock")]
    fn clock(&self) -> Clock {
        if let Some(file) = &self.test_clock_file {
            return Clock::set_by(file.clone());
        }
        if self.test_clock_offset.is_zero() && self.test_clock_rate == 1 {
            return Clock::system();
        }
        let (offset, rate) = (self.test_clock_offset, self.test_clock_rate);
        match self.test_clock_start {
            Some(start) => Clock::shifted_from(start, offset, rate),
            None => Clock::shifted(offset, rate),
        }
    }
}

/// A process that serves until it is told to stop.
pub(crate) struct Process {
    pub(crate) supervisor: Supervisor,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    /// The same for every port.
    tls: TlsMetrics,
    grace: Grace,
    traces: Exporter,
    /// Holds once every role was started: until then the list of conditions is not whole.
    started: Condition,
}

impl Process {
    /// Starts logging, traces and the clock.
    pub(crate) fn start(flags: &ProcessFlags) -> Result<Self> {
        let format = match flags.log_format {
            Format::Auto => LogFormat::Auto,
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        telemetry::init(&flags.log, format).map_err(|error| match error {
            TelemetryError::Filter { .. } => Usage::of("--log", &error.into()),
            TelemetryError::Install(_) => error.into(),
        })?;
        let grace = Grace { endpoint_removal: flags.shutdown_delay, ..Grace::default() };
        Ok(Self { grace, traces: flags.traces.start()?, ..Self::quiet(flags.clock()) })
    }

    /// A process without logs and traces, for `demo`, which speaks for itself.
    pub(crate) fn quiet(clock: Clock) -> Self {
        let (supervisor, readiness, metrics) = (Supervisor::new(), Readiness::new(), Metrics::new());
        let started = readiness.condition("start");
        let tls = TlsMetrics::register(&metrics);
        let (grace, traces) = (Grace::default(), Exporter::none());
        Self { supervisor, readiness, metrics, clock, tls, grace, traces, started }
    }

    /// Serves `/livez`, `/readyz` and `/metrics`.
    pub(crate) async fn serve_admin(&mut self, address: SocketAddr) -> Result<()> {
        let routes = admin::router(Admin { readiness: self.readiness.clone(), metrics: self.metrics.clone() });
        self.serve(("admin port", "--admin-listen"), (address, &Tls::plain()), Limits::default(), routes)
            .await
            .map(drop)
    }

    /// Reads authorities of client certificates, again whenever the file changes.
    pub(crate) async fn client_judge(&mut self, file: PathBuf, without: Without) -> Result<ClientJudge> {
        let authorities = ClientAuthorities::load(file, without, self.tls.clone()).await?;
        let judge = authorities.judge();
        self.supervisor.spawn("client authorities reload", authorities.keep_fresh(self.supervisor.shutdown()));
        Ok(judge)
    }

    /// Serves on an address, which a flag sets; returns the one bound, with the port the kernel chose where 0 was asked for.
    pub(crate) async fn serve(
        &mut self,
        (name, flag): (&'static str, &str),
        (address, tls): (SocketAddr, &Tls),
        limits: Limits,
        service: impl Serves,
    ) -> Result<SocketAddr> {
        let config = match tls.files()? {
            None => None,
            Some((certificate, key)) => {
                let certificate = ServerCertificate::load(PairFiles { certificate, key }, self.tls.clone()).await?;
                let config = certificate.server_config(limits.http2, tls.clients.as_ref())?;
                self.supervisor
                    .spawn("certificate reload", certificate.keep_fresh(RELOAD_PERIOD, self.supervisor.shutdown()));
                Some(config)
            }
        };
        let port = Port::bind(address, config, limits)
            .await
            .with_context(|| format!("cannot open the {name}, which {flag} sets"))?;
        let bound = port.local_address()?;
        let shutdown = self.supervisor.shutdown();
        self.supervisor.spawn(name, port.serve(service, shutdown));
        Ok(bound)
    }

    /// Runs until a signal or a task's failure.
    pub(crate) async fn run(self) -> Result<()> {
        self.started.ready();
        let outcome = self.supervisor.run(&self.readiness, self.grace).await;
        self.traces.flush().await;
        Ok(outcome?)
    }
}
