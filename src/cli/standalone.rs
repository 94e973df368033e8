//! `countersign standalone`: all roles in one process over a folder of the same YAML, on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use clap::Parser as _;
use countersign_core::directory::Conflicts;
use countersign_core::timings::Timings;

use super::check::existing;
use super::client_keys::ClientKeysFlags;
use super::options::{self, Installation, Tls};
use super::process::{Process, ProcessFlags};
use super::roles::{Roles, Site};
use super::store::Kind;
use super::usage::require;
use super::verifier::Wires;
use crate::controller::oauth_client::SecretAccess;
use crate::objects::lease::LeaseTimings;
use crate::objects::{FolderStore, Objects, folder};
use crate::runtime::clock::Clock;
use crate::snapshot::Role;
use crate::store::Embedded;

/// Where issuer and verifier answer over HTTP unless the flags say something else.
pub(crate) const DEFAULTS: [&str; 2] = ["127.0.0.1:8080", "127.0.0.1:9002"];

/// Run everything on this machine, without a cluster, over a folder of manifests
///
/// The folder holds the same YAML as a cluster would, Namespaces too. Clients' Secrets appear
/// as files below DATA/secrets/NAMESPACE/NAME. Edits are taken over as they are saved. Ports
/// are opened on loopback only:
///
///   countersign standalone --manifests examples/quickstart --data ./data
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Standalone {
    /// Folder with the manifests, only read
    #[arg(long, env = "COUNTERSIGN_MANIFESTS", value_name = "DIR", value_parser = existing)]
    manifests: PathBuf,
    /// Folder for keys, Secrets and state, made if it is not there
    #[arg(long, env = "COUNTERSIGN_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The issuer's URL as clients see it [default: http://<the address it listens on>]
    #[arg(long, env = "COUNTERSIGN_ISSUER_URL", value_name = "URL", value_parser = options::issuer_url)]
    issuer_url: Option<String>,
    /// Where /oauth2/* is served; a loopback address
    #[arg(long, env = "COUNTERSIGN_LISTEN", default_value = DEFAULTS[0], value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where Envoy's gRPC `ext_authz` is served; a loopback address
    #[arg(long, env = "COUNTERSIGN_GRPC_LISTEN", default_value = "127.0.0.1:9001", value_name = "ADDRESS")]
    grpc_listen: SocketAddr,
    /// Where the HTTP wires are served; a loopback address
    #[arg(long, env = "COUNTERSIGN_HTTP_LISTEN", default_value = DEFAULTS[1], value_name = "ADDRESS")]
    http_listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are served; a loopback address
    #[arg(long, env = "COUNTERSIGN_ADMIN_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    client_keys: ClientKeysFlags,
    #[command(flatten)]
    wires: Wires,
    #[command(flatten)]
    process: ProcessFlags,
}

impl Standalone {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        let process = Process::start(&self.process)?;
        let timings = self.installation.timings.values()?;
        let running = self.start(process, timings).await?;
        let Running { issuer, http, .. } = &running;
        tracing::info!(%issuer, %http, "standalone is up");
        running.process.run().await
    }

    /// Without TLS, tokens and secrets stay on this machine.
    fn refuse_to_be_seen(&self) -> Result<()> {
        let Self { listen, grpc_listen, http_listen, admin_listen, .. } = self;
        let ports = [
            ("--listen", listen),
            ("--grpc-listen", grpc_listen),
            ("--http-listen", http_listen),
            ("--admin-listen", admin_listen),
        ];
        ports.into_iter().try_for_each(|(flag, address)| {
            let message = format!(
                "{flag}: {address} is no loopback address, and standalone has no TLS to be seen with; write 127.0.0.1:{}",
                address.port()
            );
            require(address.ip().is_loopback(), message)
        })
    }

    async fn start(self, mut process: Process, timings: Timings) -> Result<Running> {
        self.refuse_to_be_seen()?;
        // Its port must be known before the URL that tokens carry; nobody else can take a loopback port in between but
        // then binding it below fails, loudly.
        let listen = if self.listen.port() == 0 { free_port(self.listen).await? } else { self.listen };
        let issuer_url = self.issuer_url.unwrap_or_else(|| format!("http://{listen}"));
        let installation = Installation { store: Kind::Embedded, ..self.installation };
        let site = Site::new(&installation, &issuer_url, timings, Conflicts::Error)?;
        let uses = self.data.join("store.redb");
        let settings = folder::Settings {
            manifests: Some(self.manifests),
            data: Some(self.data),
            ..folder::Settings::new(site.layout.namespaces())
        };
        let store = FolderStore::open(settings, process.clock.clone()).context("cannot open the folders")?;
        process.serve_admin(self.admin_listen).await?;
        follow(&mut process, store.clone());
        let mut roles =
            Roles::start(&mut process, Objects::Folder(store), site, "standalone".to_owned(), Role::Standalone);
        roles.controller((LeaseTimings::default(), SecretAccess::WATCHED), None, None, None);
        let uses = Embedded::open(Some(&uses)).with_context(|| format!("cannot use the store {}", uses.display()))?;
        roles.note_uses(Some(Arc::new(uses)));
        roles.fetch_client_keys(self.client_keys.roots()?)?;
        let plain = Tls::plain();
        let issuer = roles.issuer(listen, &plain).await?;
        let (_, http) = roles.verifier((self.grpc_listen, self.http_listen), &plain, self.wires.settings()).await?;
        Ok(Running { process, issuer, issuer_url, http })
    }
}

/// Takes over what people do to the folders, and counts what is not in force.
fn follow(process: &mut Process, store: FolderStore) {
    let help = "Places where the manifests cannot be read or are not in force as they are written";
    let (unreadable, shutdown) = (process.metrics.gauge("manifests_unreadable", help), process.supervisor.shutdown());
    let mut problem = store.problem();
    let count = async move {
        loop {
            let places = problem.borrow_and_update().as_ref().map_or(0, |unreadable| unreadable.problems.len());
            unreadable.set(i64::try_from(places).unwrap_or(i64::MAX));
            if problem.changed().await.is_err() {
                return;
            }
        }
    };
    process.supervisor.spawn("folders", async move {
        tokio::select! {
            () = store.follow() => {}
            () = count => {}
            () = shutdown.requested() => {}
        }
        anyhow::Ok(())
    });
}

/// A standalone that is up.
pub(crate) struct Running {
    process: Process,
    issuer: SocketAddr,
    issuer_url: String,
    http: SocketAddr,
}

impl Running {
    pub(crate) fn issuer_url(&self) -> String {
        self.issuer_url.clone()
    }

    pub(crate) fn verifier_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Ends it, or waits for Ctrl-C first.
    pub(crate) async fn end(self, wait: bool) -> Result<()> {
        if !wait {
            self.process.supervisor.shutdown().request();
        }
        self.process.run().await
    }
}

/// The standalone of the demo: any free ports, no logs.
pub(crate) async fn start_for_demo(manifests: &Path, data: &Path, clock: Clock, timings: Timings) -> Result<Running> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        standalone: Standalone,
    }
    let mut line: Vec<std::ffi::OsString> =
        vec!["demo".into(), "--manifests".into(), manifests.into(), "--data".into(), data.into()];
    for port in ["--listen", "--grpc-listen", "--http-listen", "--admin-listen"] {
        line.extend([port.into(), "127.0.0.1:0".into()]);
    }
    let standalone = Line::try_parse_from(line).context("the demo's own flags")?.standalone;
    standalone.start(Process::quiet(clock), timings).await
}

async fn free_port(near: SocketAddr) -> Result<SocketAddr> {
    Ok(tokio::net::TcpListener::bind(near).await.context("no free port on loopback")?.local_addr()?)
}
