//! `countersign migrate hydra`: hydra-maester's OAuth2Clients as OAuthClients with all they need.
//!
//! ```text
//! files ─► source ─► OAuth2Clients, Secrets ─► client (fields, credentials) ─► OAuthClients ─┐
//!                                                       └─► around ─► allowances, policies ──┴─► check ─► report
//! ```
//! Flows in: manifests of `hydra.ory.sh/v1alpha1`, and the Secrets that hold the clients' ids. Flows out: manifests in
//! which the clients keep their ids and secrets. The value of a secret is looked at, to say whether it is strong enough to
//! be kept, and never shown.

mod around;
mod client;
mod credentials;
mod draft;
mod fields;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use countersign_core::names::{Audience, ClientId, Namespace, ObjectName, ObjectRef};
use jiff::Timestamp;

use self::client::Mapped;
use self::source::Source;
use super::report::{Finding, Reason, Report, Severity};
use crate::cli::check::{self, Output, existing};
use crate::cli::manifests::{Premises, stdin};
use crate::objects::Key;
use crate::objects::folder::documents::Place;
use crate::runtime::clock::Clock;

/// Come from Ory Hydra with hydra-maester
///
/// Reads OAuth2Clients (hydra.ory.sh/v1alpha1) and prints OAuthClients that keep their client ids and
/// secrets: each takes over the Secret hydra-maester wrote (mode Adopt), whose old value stays good for
/// 24 hours beside the new one. With them come the allowances they need, and for each
/// audience that is a Service a ScopePolicy to go on from. The client ids lie in the Secrets, so give
/// these too; their secret values are never printed.
///
/// What is not as it was is told on standard error with file, line, field, why and what to do. The
/// exit code is 0 where there is no such problem, 1 where there is one, 2 where this command was
/// used wrongly. The printed manifests pass `countersign check`.
///
///   kubectl get oauth2clients.hydra.ory.sh,secrets -n shop -o yaml | countersign migrate hydra -
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Hydra {
    /// Folders and files with OAuth2Clients and their Secrets; `-` is standard input
    #[arg(value_name = "DIR|FILE", required = true, value_parser = existing)]
    paths: Vec<PathBuf>,
    /// `text`: YAML to standard output, the rest to standard error; `json`: all of it to standard output
    #[arg(short, long, env = "COUNTERSIGN_MIGRATE_OUTPUT", value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
    /// Namespace of objects that name none
    #[arg(short, long, env = "COUNTERSIGN_MIGRATE_NAMESPACE", default_value = "default", value_name = "NAMESPACE")]
    namespace: Namespace,
    /// Client id of an OAuth2Client whose Secret is not among the files; may be given several times; default: the Secret's
    #[arg(long, env = "COUNTERSIGN_MIGRATE_CLIENT_ID", value_delimiter = ',', value_name = "NAMESPACE/NAME=ID", value_parser = client_id)]
    client_id: Vec<(ObjectRef, ClientId)>,
    /// Audience of clients that name none; default: none, and such a client is printed without access
    #[arg(long, env = "COUNTERSIGN_MIGRATE_DEFAULT_AUDIENCE", value_name = "URI")]
    default_audience: Option<Audience>,
    /// The Service that an audience is, for its ScopePolicy; needed where the audience is not https:// and a Service's name.
    /// An audience that is no URI becomes the Service's. May be given several times; default: none
    #[arg(long, env = "COUNTERSIGN_MIGRATE_RESOURCE_SERVER", value_delimiter = ',', value_name = "AUDIENCE=NAMESPACE/SERVICE", value_parser = resource_server)]
    resource_server: Vec<(String, ResourceServer)>,
    /// Key of the client id in the Secrets: hydra-maester's `CLIENT_ID_KEY`
    #[arg(long, env = "COUNTERSIGN_MIGRATE_CLIENT_ID_KEY", default_value = "CLIENT_ID", value_name = "KEY")]
    client_id_key: String,
    /// Key of the client secret in the Secrets: hydra-maester's `CLIENT_SECRET_KEY`
    #[arg(long, env = "COUNTERSIGN_MIGRATE_CLIENT_SECRET_KEY", default_value = "CLIENT_SECRET", value_name = "KEY")]
    client_secret_key: String,
    #[command(flatten)]
    premises: Premises,
}

/// Who serves an audience.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ResourceServer {
    namespace: Namespace,
    service: ObjectName,
}

/// What was said on the command line.
#[derive(Debug)]
struct Choices {
    issuer: String,
    cluster_domain: String,
    namespace: Namespace,
    client_ids: BTreeMap<ObjectRef, ClientId>,
    default_audience: Option<Audience>,
    resource_servers: BTreeMap<String, ResourceServer>,
    client_id_key: String,
    client_secret_key: String,
}

impl Hydra {
    pub(super) fn run(self) -> Result<ExitCode> {
        let input = self.paths.iter().any(|path| path == Path::new("-"));
        let texts = if input { vec![(PathBuf::from("(standard input)"), stdin()?)] } else { Vec::new() };
        let paths: Vec<_> = self.paths.iter().filter(|path| *path != Path::new("-")).cloned().collect();
        let report = self.report(&paths, &texts, Clock::system().now())?;
        report.print(self.output)?;
        Ok(if report.count(Severity::Problem) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn report(&self, paths: &[PathBuf], texts: &[(PathBuf, String)], now: Timestamp) -> Result<Report> {
        let choices = self.choices();
        let Source { clients, secrets, mut findings, files } = source::read(paths, texts, &choices);
        let mut mapped: Vec<Mapped> = Vec::new();
        for client in &clients {
            let (client, told) = client::map(client, &secrets, &choices);
            findings.extend(told);
            mapped.extend(client);
        }
        mapped.sort_by(|a, b| a.object.cmp(&b.object));
        findings.extend(client::drop_rivals(&mut mapped));
        let (mut manifests, told) = around::manifests(&mapped, &choices);
        findings.extend(told);
        manifests.extend(mapped.iter().map(Mapped::manifest));
        let mut report = Report { manifests, findings, files, clients: clients.len() };
        report.findings.extend(self.checked(&report, &mapped, now)?);
        report.findings.sort_by(|a, b| (&a.place, a.severity, &a.field).cmp(&(&b.place, b.severity, &b.field)));
        report.findings.dedup();
        Ok(report)
    }

    fn choices(&self) -> Choices {
        Choices {
            issuer: self.premises.issuer_name.to_string(),
            cluster_domain: self.premises.cluster_domain.clone(),
            namespace: self.namespace.clone(),
            client_ids: self.client_id.iter().cloned().collect(),
            default_audience: self.default_audience.clone(),
            resource_servers: self.resource_server.iter().cloned().collect(),
            client_id_key: self.client_id_key.clone(),
            client_secret_key: self.client_secret_key.clone(),
        }
    }

    /// What `countersign check` says against the manifests: claims that no allowance can grant, such as the issuer's own URL.
    fn checked(&self, report: &Report, clients: &[Mapped], now: Timestamp) -> Result<Vec<Finding>> {
        let wrong = check::problems(&report.yaml()?, &self.premises, now)?;
        let say = |problem: check::Wrong| {
            let check::Wrong { kind, key, field, message } = problem;
            let client = clients.iter().find(|client| kind == "OAuthClient" && Key::from(&client.object) == key);
            let place =
                client.map_or_else(|| Place { file: "(printed)".into(), line: 0 }, |client| client.place.clone());
            Finding {
                severity: Severity::Problem,
                place,
                object: client.map(|client| (source::KIND, Key::from(&client.object))),
                field: String::new(),
                reason: Reason::Invalid,
                message: format!("the printed {kind} {key} is refused at {field}: {message}"),
                next: "change the printed manifest, then run `countersign check` on it".to_owned(),
            }
        };
        Ok(wrong.into_iter().map(say).collect())
    }
}

fn client_id(text: &str) -> Result<(ObjectRef, ClientId), String> {
    let (object, id) = text.split_once('=').ok_or("must be NAMESPACE/NAME=ID, such as shop/checkout=9f2b")?;
    let object = object.parse().map_err(|error: countersign_core::names::NameError| error.to_string())?;
    Ok((object, ClientId::new(id).map_err(|error| error.to_string())?))
}

fn resource_server(text: &str) -> Result<(String, ResourceServer), String> {
    let form = "must be AUDIENCE=NAMESPACE/SERVICE, such as orders-api=shop/orders";
    let (audience, service) = text.rsplit_once('=').ok_or(form)?;
    let (namespace, service) = service.split_once('/').ok_or(form)?;
    let namespace = Namespace::new(namespace).map_err(|error| error.to_string())?;
    // A Service's name is a label, as a namespace's is.
    Namespace::new(service).map_err(|_| format!("Service {service:?} must be a lower case RFC 1123 label"))?;
    let service = ObjectName::new(service).map_err(|error| error.to_string())?;
    Ok((audience.to_owned(), ResourceServer { namespace, service }))
}
