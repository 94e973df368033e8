//! `countersign token`: asks the issuer for an access token with a client's Secret, and prints it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use countersign_core::names::ObjectRef;
use k8s_openapi::api::core::v1::Secret;

use super::fetch::{Answer, Credentials, Fetch};
use super::options::Connection;
use crate::runtime::clock::Clock;

/// Get an access token with a client's Secret
///
/// The Secret is read from a folder (a mounted Secret, or the data folder of `countersign standalone`) or from the cluster.
/// Only the token goes to standard output, so that it can be used in a command substitution:
///
///   curl -H "Authorization: Bearer $(countersign token --secret shop/checkout-oauth)" https://…
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Token {
    /// Folder with the files of the Secret: `client_id`, `client_secret`, `token_endpoint` and, for https, ca.crt
    #[arg(long, value_name = "DIR", required_unless_present = "secret", conflicts_with = "secret")]
    credentials: Option<PathBuf>,
    /// Secret in the cluster
    #[arg(long, value_name = "NAMESPACE/NAME")]
    secret: Option<ObjectRef>,
    #[command(flatten)]
    connection: Connection,
    /// Token endpoint, where it is not the one the Secret names
    #[arg(long = "token-endpoint", value_name = "URL")]
    endpoint: Option<String>,
    /// Authorities for https, PEM; default: the Secret's ca.crt
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Audience the token is for; default: the client's only or default one
    #[arg(long, value_name = "URI")]
    audience: Option<String>,
    /// Scope to ask for, several times for several; default: all that is granted
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// `text` prints the token alone, `json` the issuer's whole answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// The values of a Secret under its default keys.
type Values = BTreeMap<String, Vec<u8>>;

impl Token {
    /// Asks for the token and prints it; an `Err` says what to do next.
    pub(crate) async fn run(self) -> Result<()> {
        let mut values = match (&self.credentials, &self.secret) {
            (Some(folder), _) => from_folder(folder)?,
            (None, Some(secret)) => from_cluster(secret, &self.connection).await?,
            (None, None) => bail!("give --credentials DIR or --secret NAMESPACE/NAME"),
        };
        if let Some(path) = &self.ca_file {
            values.insert(
                "ca.crt".into(),
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
            );
        }
        let fetch = Fetch::new(values.get("ca.crt").map_or(&[][..], Vec::as_slice))?;
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => {
                text(&mut values, "token_endpoint").map_err(|error| error.context("no --token-endpoint is given"))?
            }
        };
        let credentials = Credentials::new(text(&mut values, "client_id")?, text(&mut values, "client_secret")?);
        let scope = self.scope.join(" ");
        let parameters = [("scope", scope.as_str()), ("resource", self.audience.as_deref().unwrap_or_default())];
        let given: Vec<_> = parameters.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        print_answer(&fetch.token(&endpoint, &credentials, &given).await?, self.output)
    }
}

fn print_answer(answer: &Answer, output: Output) -> Result<()> {
    let body = answer.json()?;
    let field = |name: &str| body.get(name).and_then(serde_json::Value::as_str);
    let Some(token) = field("access_token") else {
        let code = field("error").unwrap_or("no error code");
        bail!(
            "the issuer answers {}: {code}: {}",
            answer.status,
            field("error_description").unwrap_or("no description")
        );
    };
    let line = match output {
        Output::Text => token.to_owned(),
        Output::Json => serde_json::to_string_pretty(&body)?,
    };
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}

fn from_folder(folder: &Path) -> Result<Values> {
    std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut values = Values::new();
    for name in ["client_id", "client_secret", "token_endpoint", "ca.crt"] {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(value) => drop(values.insert(name.into(), value)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    Ok(values)
}

async fn from_cluster(secret: &ObjectRef, connection: &Connection) -> Result<Values> {
    let objects = connection.objects(&Clock::system()).await?;
    let found = objects.get::<Secret>(&secret.into()).await.with_context(|| format!("cannot read Secret {secret}"))?;
    let found = found.with_context(|| format!("there is no Secret {secret}"))?;
    Ok(found.data.unwrap_or_default().into_iter().map(|(name, value)| (name, value.0)).collect())
}

/// Takes one value out, as text.
fn text(values: &mut Values, name: &str) -> Result<String> {
    let value = values.remove(name).with_context(|| format!("the Secret has no {name}"))?;
    String::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty())
        .with_context(|| format!("{name} is empty or not text"))
}
