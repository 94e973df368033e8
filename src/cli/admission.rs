//! `countersign admission`: the webhooks; any number may run.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use k8s_openapi::api::core::v1::ResourceRequirements;

use super::cluster::Cluster;
use super::options::{ServedTls, Tls};
use crate::admission::AgentSettings;
use crate::runtime::tls::Without;
use crate::snapshot::Role;

/// Answer the API server: may this object be written? What is added to this pod?
///
/// Any number may run; the API server asks over HTTPS, as its configurations (deploy/webhook.yaml, deploy/injection.yaml) say:
///
///     countersign admission --issuer-url https://auth.example.com --tls-cert tls.crt --tls-key tls.key \
///       --agent-image ghcr.io/countersign/countersign:0.1.0
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Admission {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    tls: ServedTls,
    /// Where the API server asks, at /validate and /inject
    #[arg(long, env = "COUNTERSIGN_LISTEN", default_value = "0.0.0.0:8444", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Authorities of client certificates, PEM: only who shows one by them is answered; read again when it changes. No default:
    /// without it whoever reaches the port is answered. What the API server shows its `--admission-control-config-file` says
    #[arg(long, env = "COUNTERSIGN_CLIENT_CA", value_name = "FILE")]
    client_ca: Option<PathBuf>,
    #[command(flatten)]
    agents: Agents,
}

/// Agents for pods that ask for one by annotation.
#[derive(Args, Debug)]
#[command(next_help_heading = "Injected agents (docs/agent.md)")]
struct Agents {
    /// Image of the agent that pods get who ask for one by annotation, as a rule this one. No default: without it such pods are
    /// refused
    #[arg(long = "agent-image", env = "COUNTERSIGN_AGENT_IMAGE", value_name = "IMAGE", value_parser = image)]
    image: Option<String>,
    /// Where such an agent serves /livez, /readyz and /metrics in its pod; a pod may choose another port by annotation
    #[arg(
        long = "agent-admin-listen",
        env = "COUNTERSIGN_AGENT_ADMIN_LISTEN",
        default_value = "0.0.0.0:9191",
        value_name = "ADDRESS"
    )]
    admin: SocketAddr,
    /// What such an agent asks for and may take, as in a container, in JSON
    #[arg(
        long = "agent-resources",
        env = "COUNTERSIGN_AGENT_RESOURCES",
        default_value = r#"{"requests":{"cpu":"5m","memory":"16Mi"},"limits":{"memory":"32Mi"}}"#,
        value_name = "JSON",
        value_parser = resources
    )]
    resources: ResourceRequirements,
}

impl From<Agents> for Option<AgentSettings> {
    fn from(agents: Agents) -> Self {
        let Agents { image, admin, resources } = agents;
        image.map(|image| AgentSettings { image, resources, admin })
    }
}

fn image(text: &str) -> Result<String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(plain, "write it like ghcr.io/countersign/countersign:0.1.0");
    Ok(text.to_owned())
}

fn resources(text: &str) -> Result<ResourceRequirements> {
    serde_json::from_str(text).context(r#"write it like {"requests":{"memory":"16Mi"},"limits":{"memory":"32Mi"}}"#)
}

impl Admission {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        let mut process = self.cluster.process()?;
        let mut tls = Tls::from(self.tls);
        if let Some(file) = self.client_ca {
            tls.clients = Some(process.client_judge(file, Without::Refused).await?);
        }
        let mut roles = self.cluster.roles(&mut process, Role::Admission).await?;
        roles.admission(self.listen, &tls, self.agents.into()).await?;
        process.run().await
    }
}
