//! Flags that several subcommands share, and how they become values.
//!
//! Flows in: the command line and its `COUNTERSIGN_*` twins. Flows out: plain values for the roles; nothing else of the
//! binary reads a flag or the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use countersign_core::client::KeysUri;
use countersign_core::names::{IssuerName, Namespace};
use countersign_core::timings::Timings;

use super::store::Kind;
use super::usage::{Usage, require};
use crate::objects::{Error, KubeStore, Objects, Options};
use crate::runtime::clock::Clock;
use crate::runtime::tls::ClientJudge;

/// What an installation is called and where it lives: the same for all its roles.
#[derive(Args, Clone, Debug)]
pub(crate) struct Installation {
    /// Name of this installation; it touches only objects whose `spec.issuer` is this name
    #[arg(long, env = "COUNTERSIGN_ISSUER_NAME", default_value = countersign_api::DEFAULT_ISSUER, value_name = "NAME")]
    pub(crate) issuer_name: IssuerName,
    /// Namespace of the controller; internal state lies here, in <NAMESPACE>-keys and in <NAMESPACE>-replicas
    #[arg(long, env = "COUNTERSIGN_SYSTEM_NAMESPACE", default_value = "countersign-system", value_name = "NAMESPACE")]
    pub(crate) system_namespace: Namespace,
    /// Domain under which the cluster's Services are found
    #[arg(long, env = "COUNTERSIGN_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) cluster_domain: String,
    /// Audience that no policy may claim, such as one the API server accepts (`https://kubernetes.default.svc`); may be given
    /// several times; by default only the issuer's own URLs and the API server's names
    #[arg(long, env = "COUNTERSIGN_RESERVED_AUDIENCE", value_delimiter = ',', value_name = "URI")]
    pub(crate) reserved_audience: Vec<countersign_core::names::Audience>,
    /// Where issuers note which assertions were used (PrivateKeyJwt): say the same to every role
    #[arg(long, env = "COUNTERSIGN_STORE", value_enum, default_value_t = Kind::None, value_name = "KIND")]
    pub(crate) store: Kind,
    /// Host inside the network that clients may publish their keys at (`jwksUri`), a DNS name or an IP address; may be given several
    /// times: say the same to every role. By default public hosts alone
    #[arg(long, env = "COUNTERSIGN_CLIENT_KEYS_HOST", value_delimiter = ',', value_name = "HOST", value_parser = key_host)]
    pub(crate) client_keys_host: Vec<String>,
    #[command(flatten)]
    pub(crate) timings: TimingFlags,
}

/// The issuer's own URL, wherever it must be known.
#[derive(Args, Clone, Debug)]
pub(crate) struct IssuerUrl {
    /// The issuer's URL as clients see it, such as `https://auth.example.com`: the `iss` of every token. It never comes from a
    /// request
    #[arg(long, env = "COUNTERSIGN_ISSUER_URL", value_name = "URL", value_parser = issuer_url)]
    pub(crate) issuer_url: String,
}

/// How to reach the API server.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connection {
    /// Kubeconfig file; by default the pod's service account, else what kubectl would use
    #[arg(long, env = "COUNTERSIGN_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Test builds: whether the API server's time corrects the clock, as it does in releases
    #[cfg(feature = "test-clock")]
    #[arg(long, env = "COUNTERSIGN_TEST_CLOCK_CORRECTED")]
    test_clock_corrected: bool,
}

impl Connection {
    /// The store these flags name. `without` is what else may be done where there is no cluster.
    pub(crate) async fn objects(&self, clock: &Clock, without: &str) -> Result<Objects> {
        let options = Options { corrects_clock: self.corrects_clock(), ..Options::default() };
        match KubeStore::connect(self.kubeconfig.as_deref(), clock.clone(), options).await {
            Ok(store) => Ok(Objects::Kube(store)),
            Err(error @ Error::NoCluster(_)) => bail!("{error}; give --kubeconfig FILE or set KUBECONFIG{without}"),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(feature = "test-clock"))]
    #[expect(clippy::unused_self, reason = "test builds take it from the flags")]
    fn corrects_clock(&self) -> bool {
        true
    }

    /// A clock that a test shifts stays where the test put it, unless that is what is tested.
    #[cfg(feature = "test-clock")]
    fn corrects_clock(&self) -> bool {
        self.test_clock_corrected
    }
}

/// Who this replica is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Replica {
    /// Name of this replica, different for each; by default this host's name, which in a pod is the pod's
    #[arg(long, env = "COUNTERSIGN_REPLICA_NAME", value_name = "NAME")]
    pub(crate) replica_name: Option<String>,
}

impl Replica {
    /// The given name, else the host's, which in a pod is the pod's.
    pub(crate) fn name(&self) -> Result<String> {
        if let Some(name) = &self.replica_name {
            return Ok(name.clone());
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .context("cannot read this host's name; give --replica-name")?;
        Ok(host.trim().to_lowercase())
    }
}

/// The certificate a server shows.
#[derive(Args, Clone, Debug)]
pub(crate) struct Tls {
    /// Certificate chain, PEM; read again when it changes. No default: without it --plaintext must be given
    #[arg(long = "tls-cert", env = "COUNTERSIGN_TLS_CERT", value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM; no default
    #[arg(long = "tls-key", env = "COUNTERSIGN_TLS_KEY", value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Serve without TLS; only behind something that adds it
    #[arg(long, env = "COUNTERSIGN_PLAINTEXT", conflicts_with = "certificate")]
    plaintext: bool,
    /// Judges the certificates of clients, where they are asked for one.
    #[arg(skip)]
    pub(crate) clients: Option<ClientJudge>,
}

impl Tls {
    /// No TLS.
    pub(crate) fn plain() -> Self {
        Self { certificate: None, key: None, plaintext: true, clients: None }
    }

    /// The pair of files, or none where the caller asked for plain text. Neither is an error, so that nobody serves in the
    /// clear by forgetting a flag.
    pub(crate) fn files(&self) -> Result<Option<(PathBuf, PathBuf)>> {
        match (&self.certificate, &self.key, self.plaintext) {
            (Some(cert), Some(key), false) => Ok(Some((cert.clone(), key.clone()))),
            (None, None, true) => Ok(None),
            _ => Err(Usage::error(
                "no certificate: give --tls-cert and --tls-key, or --plaintext where something in front adds TLS",
            )),
        }
    }
}

/// The certificate of a server that nobody asks in the clear.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServedTls {
    /// Certificate chain, PEM; read again when it changes
    #[arg(long = "tls-cert", env = "COUNTERSIGN_TLS_CERT", value_name = "FILE", required = true)]
    certificate: PathBuf,
    /// Private key of the certificate, PEM
    #[arg(long = "tls-key", env = "COUNTERSIGN_TLS_KEY", value_name = "FILE", required = true)]
    key: PathBuf,
}

impl From<ServedTls> for Tls {
    fn from(ServedTls { certificate, key }: ServedTls) -> Self {
        Self { certificate: Some(certificate), key: Some(key), plaintext: false, clients: None }
    }
}

/// The port for whoever is on call.
#[derive(Args, Clone, Debug)]
pub(crate) struct Admin {
    /// Where /livez, /readyz and /metrics are served, plain and read-only
    #[arg(long, env = "COUNTERSIGN_ADMIN_LISTEN", default_value = "0.0.0.0:9090", value_name = "ADDRESS")]
    pub(crate) admin_listen: SocketAddr,
}

/// The constants of the protocols. Durations are written like `90s`, `15m` or `1h30m`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Timings (durations such as 90s, 15m, 1h30m)")]
pub(crate) struct TimingFlags {
    /// Longest life of an access token
    #[arg(long, env = "COUNTERSIGN_MAX_ACCESS_TOKEN_LIFETIME", default_value = "1h", value_name = "DURATION", value_parser = duration)]
    max_access_token_lifetime: Duration,
    /// Life of an access token whose client names none
    #[arg(long, env = "COUNTERSIGN_DEFAULT_ACCESS_TOKEN_LIFETIME", default_value = "15m", value_name = "DURATION", value_parser = duration)]
    default_access_token_lifetime: Duration,
    /// Leeway when the times of a token are checked
    #[arg(long, env = "COUNTERSIGN_LEEWAY", default_value = "60s", value_name = "DURATION", value_parser = duration)]
    leeway: Duration,
    /// Bound on the difference between two clocks; at most the leeway
    #[arg(long, env = "COUNTERSIGN_CLOCK_SKEW", default_value = "60s", value_name = "DURATION", value_parser = duration)]
    clock_skew: Duration,
    /// `max-age` of the JWKS answer
    #[arg(long, env = "COUNTERSIGN_JWKS_MAX_AGE", default_value = "5m", value_name = "DURATION", value_parser = duration)]
    jwks_max_age: Duration,
    /// Bound on the time from a write to every ready replica serving it
    #[arg(long, env = "COUNTERSIGN_PROPAGATION", default_value = "30s", value_name = "DURATION", value_parser = duration)]
    propagation: Duration,
    /// Longest time an issuer signs without contact to the API server
    #[arg(long, env = "COUNTERSIGN_OFFLINE_GRACE", default_value = "12h", value_name = "DURATION", value_parser = duration)]
    offline_grace: Duration,
    /// How often a replica renews its heartbeat
    #[arg(long, env = "COUNTERSIGN_HEARTBEAT_PERIOD", default_value = "30s", value_name = "DURATION", value_parser = duration)]
    heartbeat_period: Duration,
    /// How long after its last change a heartbeat counts as live
    #[arg(long, env = "COUNTERSIGN_HEARTBEAT_EXPIRY", default_value = "5m", value_name = "DURATION", value_parser = duration)]
    heartbeat_expiry: Duration,
    /// How long a heartbeat must be stale before it is deleted
    #[arg(long, env = "COUNTERSIGN_HEARTBEAT_REMOVAL", default_value = "1h", value_name = "DURATION", value_parser = duration)]
    heartbeat_removal: Duration,
    /// How long nobody may have used an older secret before it ends (`WhenUnused`)
    #[arg(long, env = "COUNTERSIGN_UNUSED_FOR", default_value = "1h", value_name = "DURATION", value_parser = duration)]
    unused_for: Duration,
    /// How often issuers report the use of older secrets, at most
    #[arg(long, env = "COUNTERSIGN_USAGE_REPORT_PERIOD", default_value = "5m", value_name = "DURATION", value_parser = duration)]
    usage_report_period: Duration,
    /// How far ahead `rejectIssuedBefore` may lie
    #[arg(long, env = "COUNTERSIGN_REJECT_AHEAD", default_value = "1h", value_name = "DURATION", value_parser = duration)]
    reject_ahead: Duration,
}

impl TimingFlags {
    /// The constants, refused where they contradict each other.
    pub(crate) fn values(&self) -> Result<Timings> {
        let Self {
            max_access_token_lifetime,
            default_access_token_lifetime,
            leeway,
            clock_skew,
            jwks_max_age,
            propagation,
            offline_grace,
            heartbeat_period,
            heartbeat_expiry,
            heartbeat_removal,
            unused_for,
            usage_report_period,
            reject_ahead,
        } = self.clone();
        require(clock_skew <= leeway, "--clock-skew must not be larger than --leeway")?;
        require(heartbeat_period < heartbeat_expiry, "--heartbeat-period must be shorter than --heartbeat-expiry")?;
        require(
            default_access_token_lifetime <= max_access_token_lifetime,
            "--default-access-token-lifetime must not be longer than --max-access-token-lifetime",
        )?;
        Ok(Timings {
            max_access_token_lifetime,
            default_access_token_lifetime,
            leeway,
            clock_skew,
            jwks_max_age,
            propagation,
            offline_grace,
            heartbeat_expiry,
            heartbeat_period,
            heartbeat_removal,
            unused_for,
            usage_report_period,
            reject_ahead,
        })
    }
}

/// Reads a duration such as `1h30m`, the form manifests use too.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let span: jiff::SignedDuration = text.parse().context("write it like 90s, 15m or 1h30m")?;
    Duration::try_from(span).context("a duration must not be negative")
}

/// Reads an issuer URL: https (http for what never leaves the machine or the mesh), no query, no fragment, no trailing slash
/// (RFC 8414 section 2).
pub(crate) fn issuer_url(text: &str) -> Result<String> {
    let uri = http_url(text)?;
    ensure!(uri.query().is_none() && !text.contains('#'), "must have neither query nor fragment");
    ensure!(!text.ends_with('/'), "must not end with a slash: clients compare it byte by byte");
    Ok(text.to_owned())
}

/// Reads where a token endpoint is.
pub(crate) fn endpoint_url(text: &str) -> Result<String> {
    http_url(text)?;
    ensure!(!text.contains('#'), "must have no fragment");
    Ok(text.to_owned())
}

/// Reads a host as a `jwksUri` names it: in lower case, without port and brackets.
pub(crate) fn key_host(text: &str) -> Result<String> {
    let host = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
    let uri: Result<KeysUri, _> = format!("https://{host}/").parse();
    ensure!(uri.is_ok_and(|uri| uri.host() == text), "write a DNS name in lower case or an IP address, without a port");
    Ok(text.to_owned())
}

fn http_url(text: &str) -> Result<http::Uri> {
    let uri: http::Uri = text.parse().context("not a URL")?;
    ensure!(matches!(uri.scheme_str(), Some("https" | "http")), "must begin with https:// (or http://)");
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_manifests() {
        assert_eq!(duration("1h30m").expect("a duration"), Duration::from_mins(90));
        assert!(duration("15").is_err());
        assert!(duration("-5m").is_err());
    }

    #[test]
    fn an_issuer_url_is_exact() {
        assert!(issuer_url("https://auth.example.com").is_ok());
        for bad in ["https://auth.example.com/", "https://a?b=c", "ftp://a", "auth.example.com", "https://a#b"] {
            assert!(issuer_url(bad).is_err(), "{bad}");
        }
    }
}
