//! `countersign agent`: keeps a workload's access tokens fresh in files and on a unix socket.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use countersign_core::wanted::Wanted;

use super::check::existing;
use super::options::{self, Admin};
use super::process::{Process, ProcessFlags};
use super::usage::{Usage, require};
use crate::agent::{Access, Host, Settings, Sources, may_be_asked, start};

/// Keep a workload's access tokens fresh, in files and on a socket
///
/// Runs beside an application that knows nothing of OAuth, most often as a sidecar. Tokens are
/// renewed after two thirds of their life and taken away before they end. Credentials are read
/// again for each request. Over https only the authorities of the Secret's ca.crt, or of
/// --ca-file, are trusted, never the system's:
///
///     countersign agent --credentials /etc/oauth --token-dir /run/tokens
///     countersign agent --credentials /etc/oauth --socket /run/tokens/agent.sock \
///       --token 'orders=https://orders.shop.svc orders:read' --token stock=https://stock.shop.svc
///     countersign agent --issuer-url https://auth.example.com --ca-file ca.crt \
///       --client-id shop.checkout --assertion-file /var/run/secrets/tokens/issuer --envoy-dir /run/tokens
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Agent {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    outputs: Outputs,
    /// Token to keep: its name, its audience and its scopes, written 'NAME=AUDIENCE SCOPE SCOPE', all but the name optional;
    /// several times, or with commas between. By default one token called `default`, for the client's only or default audience
    /// with every granted scope
    #[arg(long, env = "COUNTERSIGN_TOKENS", value_delimiter = ',', default_value = "default", value_name = "TOKEN")]
    token: Vec<Wanted>,
    /// Longest back-off between two requests, however often they failed. An issuer's Retry-After comes on top
    #[arg(long, env = "COUNTERSIGN_LONGEST_WAIT", default_value = "30s", value_name = "DURATION", value_parser = options::duration)]
    longest_wait: Duration,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    process: ProcessFlags,
}

/// Who asks whom, and with what.
#[derive(Args, Debug)]
struct Who {
    /// Folder with the files of the client's Secret or ConfigMap: `client_id`, `client_secret`, `token_endpoint`, ca.crt. The
    /// flags below come before its files. No default
    #[arg(long, env = "COUNTERSIGN_CREDENTIALS", value_name = "DIR")]
    credentials: Option<PathBuf>,
    /// The client's id; by default what the folder's `client_id` says. With an assertion it may be left out where only one
    /// client takes that assertion
    #[arg(long, env = "COUNTERSIGN_CLIENT_ID", value_name = "ID")]
    client_id: Option<String>,
    /// File with the client's secret; default: the folder's `client_secret`
    #[arg(long, env = "COUNTERSIGN_CLIENT_SECRET_FILE", value_name = "FILE", conflicts_with = "assertion_file")]
    client_secret_file: Option<PathBuf>,
    /// File with a client assertion (RFC 7523), such as a projected service account token; used instead of a secret. No default
    #[arg(long, env = "COUNTERSIGN_ASSERTION_FILE", value_name = "FILE")]
    assertion_file: Option<PathBuf>,
    /// The issuer, whose metadata name the token endpoint; default: the folder's `token_endpoint`, without asking
    #[arg(long, env = "COUNTERSIGN_ISSUER_URL", value_name = "URL", value_parser = options::issuer_url, conflicts_with = "token_endpoint")]
    issuer_url: Option<String>,
    /// Token endpoint, such as `https://auth.example.com/oauth2/token`; default: the folder's `token_endpoint`
    #[arg(long, env = "COUNTERSIGN_TOKEN_ENDPOINT", value_name = "URL", value_parser = options::endpoint_url)]
    token_endpoint: Option<String>,
    /// Authorities for https, PEM; default: the folder's ca.crt. For an issuer with a public certificate give the system's,
    /// such as /etc/ssl/certs/ca-certificates.crt
    #[arg(long, env = "COUNTERSIGN_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Ask an issuer on another machine over http too; only where something in between adds TLS, such as a mesh
    #[arg(long, env = "COUNTERSIGN_PLAINTEXT")]
    plaintext: bool,
}

/// Where tokens go.
#[derive(Args, Debug)]
struct Outputs {
    /// Folder for token files: NAME holds the token alone, and is removed while there is none. No default
    #[arg(long, env = "COUNTERSIGN_TOKEN_DIR", value_name = "DIR", value_parser = existing)]
    token_dir: Option<PathBuf>,
    /// Folder for Envoy: NAME.json is an SDS file with the generic secret NAME, empty while there is no token. No default
    #[arg(long, env = "COUNTERSIGN_ENVOY_DIR", value_name = "DIR", value_parser = existing)]
    envoy_dir: Option<PathBuf>,
    /// Unix socket that answers `GET /token?name=NAME` and `POST /token/refresh?name=NAME`. No default
    #[arg(long, env = "COUNTERSIGN_SOCKET", value_name = "FILE")]
    socket: Option<PathBuf>,
    /// Let the group read files (0640) and use the socket (0660), not their owner alone (0600)
    #[arg(long, env = "COUNTERSIGN_GROUP_ACCESS")]
    group_access: bool,
    /// Let everyone who sees the folder read files (0644) and use the socket (0666); only where a mount decides who sees it
    #[arg(long, env = "COUNTERSIGN_EVERYONE_ACCESS", conflicts_with = "group_access")]
    everyone_access: bool,
}

impl Outputs {
    fn access(&self) -> Access {
        match (self.everyone_access, self.group_access) {
            (true, _) => Access::Everyone,
            (false, true) => Access::Group,
            (false, false) => Access::Owner,
        }
    }
}

impl Agent {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        self.refuse()?;
        let mut process = Process::start(&self.process)?;
        let admin = self.admin.admin_listen;
        let settings = self.settings();
        let mut host = Host {
            supervisor: &mut process.supervisor,
            readiness: &process.readiness,
            metrics: &process.metrics,
            clock: &process.clock,
        };
        // Before anything that may fail for a while: Envoy waits for its files.
        start(&settings, &mut host)?;
        process.serve_admin(admin).await?;
        process.run().await
    }

    /// What could never work.
    fn refuse(&self) -> Result<()> {
        let Who { credentials, client_id, client_secret_file, assertion_file, .. } = &self.who;
        let knows_itself = assertion_file.is_some() || (client_id.is_some() && client_secret_file.is_some());
        let url = self.who.token_endpoint.as_ref().or(self.who.issuer_url.as_ref());
        require(
            credentials.is_some() || (knows_itself && url.is_some()),
            "no credentials: give --credentials DIR, or --issuer-url and either --assertion-file or --client-id with --client-secret-file",
        )?;
        let outputs = &self.outputs;
        require(
            outputs.token_dir.is_some() || outputs.envoy_dir.is_some() || outputs.socket.is_some(),
            "nobody gets the tokens: give --token-dir, --envoy-dir or --socket",
        )?;
        require(Wanted::are_distinct(&self.token), "--token: two tokens have the same name")?;
        let flag = if self.who.token_endpoint.is_some() { "--token-endpoint" } else { "--issuer-url" };
        url.map_or(Ok(()), |url| may_be_asked(url, self.who.plaintext))
            .map_err(|error| Usage::error(format!("{flag}: {error}")))
    }

    fn settings(self) -> Settings {
        let Who { credentials, client_id, client_secret_file, assertion_file, issuer_url, token_endpoint, .. } =
            self.who;
        let access = self.outputs.access();
        Settings {
            sources: Sources {
                folder: credentials,
                client_id,
                secret_file: client_secret_file,
                assertion_file,
                issuer_url,
                token_endpoint,
                ca_file: self.who.ca_file,
            },
            plaintext: self.who.plaintext,
            wanted: self.token,
            token_dir: self.outputs.token_dir,
            envoy_dir: self.outputs.envoy_dir,
            socket: self.outputs.socket,
            access,
            longest_wait: self.longest_wait,
        }
    }
}

/// One thread is enough, and small: an agent runs beside every workload. Two more come and go to look up names.
pub(super) fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(512 * 1024)
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(future)
}
