//! `countersign token`: asks the issuer for an access token with a client's Secret, and prints it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args, ValueEnum};
use countersign_core::names::ObjectRef;
use k8s_openapi::api::core::v1::Secret;
use rustls::RootCertStore;

use super::fetch::{Answer, Credentials, Fetch, authorities};
use super::options::{self, Connection};
use super::out;
use super::usage::{Usage, require};
use crate::runtime::clock::Clock;

/// Get an access token with a client's Secret
///
/// The Secret is read from a folder (a mounted Secret, or the data folder of `countersign
/// standalone`) or from the cluster. Over https only the authorities of its ca.crt, or of
/// --ca-file, are trusted, never the system's. Only the token goes to standard output, so that
/// it can be used in a command substitution:
///
///   curl -H "Authorization: Bearer $(countersign token --secret shop/checkout-oauth)" https://…
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, group(ArgGroup::new("from").required(true).args(["credentials", "secret"])))]
pub(crate) struct Token {
    /// Folder with the files of the Secret: `client_id`, `client_secret`, `token_endpoint` and, for https, ca.crt. One line
    /// end at the end of a file is not part of its value. No default: this or --secret is needed
    #[arg(long, env = "COUNTERSIGN_CREDENTIALS", value_name = "DIR")]
    credentials: Option<PathBuf>,
    /// Secret in the cluster, such as shop/checkout-oauth. No default: this or --credentials is needed
    #[arg(long, env = "COUNTERSIGN_SECRET", value_name = "NAMESPACE/NAME")]
    secret: Option<ObjectRef>,
    #[command(flatten)]
    connection: Connection,
    /// Token endpoint, such as `https://auth.example.com/oauth2/token`; default: the one the Secret names
    #[arg(long = "token-endpoint", env = "COUNTERSIGN_TOKEN_ENDPOINT", value_name = "URL", value_parser = options::endpoint_url)]
    endpoint: Option<String>,
    /// Authorities for https, PEM; default: the Secret's ca.crt. For an issuer with a public certificate give the system's,
    /// such as /etc/ssl/certs/ca-certificates.crt
    #[arg(long, env = "COUNTERSIGN_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Audience the token is for; default: the client's only or default one
    #[arg(long, env = "COUNTERSIGN_AUDIENCE", value_name = "URI")]
    audience: Option<String>,
    /// Scope to ask for, several times or with spaces between for several; default: all that is granted
    #[arg(long, env = "COUNTERSIGN_SCOPE", value_delimiter = ' ', value_name = "SCOPE")]
    scope: Vec<String>,
    /// `text` prints the token alone, `json` the issuer's whole answer
    #[arg(short, long, env = "COUNTERSIGN_TOKEN_OUTPUT", value_enum, default_value_t = Output::Text, value_name = "FORM")]
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
        let roots = trusted(self.ca_file.as_deref(), &mut values)?;
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => text(&mut values, "token_endpoint")
                .and_then(|url| options::endpoint_url(&url).context("token_endpoint"))
                .map_err(|error| error.context("no --token-endpoint is given"))?,
        };
        require(
            !roots.is_empty() || !endpoint.starts_with("https:"),
            format!("{endpoint} is https, and no authority is known: give --ca-file, since the Secret has no ca.crt"),
        )?;
        let fetch = Fetch::new(roots)?;
        let credentials = Credentials::new(text(&mut values, "client_id")?, text(&mut values, "client_secret")?);
        let scope = self.scope.join(" ");
        let parameters = [("scope", scope.as_str()), ("resource", self.audience.as_deref().unwrap_or_default())];
        let given: Vec<_> = parameters.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        print_answer(&fetch.token(&endpoint, &credentials, &given).await?, self.output)
    }
}

/// The authorities for https: those of the flag, else the Secret's, else none.
fn trusted(file: Option<&Path>, values: &mut Values) -> Result<RootCertStore> {
    if let Some(path) = file {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return authorities(&text).map_err(|error| Usage::of(&format!("--ca-file {}", path.display()), &error));
    }
    match values.remove("ca.crt").filter(|text| !text.is_empty()) {
        Some(text) => authorities(&text).context("the Secret's ca.crt"),
        None => Ok(RootCertStore::empty()),
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
    out::print(&line)
}

fn from_folder(folder: &Path) -> Result<Values> {
    std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut values = Values::new();
    for name in ["client_id", "client_secret", "token_endpoint", "ca.crt"] {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(value) => drop(values.insert(name.into(), without_line_end(value))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    Ok(values)
}

/// One line end at the end of a file is the editor's, not the value's.
fn without_line_end(mut value: Vec<u8>) -> Vec<u8> {
    if value.pop_if(|byte| *byte == b'\n').is_some() {
        value.pop_if(|byte| *byte == b'\r');
    }
    value
}

async fn from_cluster(secret: &ObjectRef, connection: &Connection) -> Result<Values> {
    let objects = connection.objects(&Clock::system(), ", or read a folder with --credentials DIR").await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_line_end_is_taken_off() {
        for (file, value) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), ("\n", ""), ("", "")]
        {
            assert_eq!(without_line_end(file.as_bytes().to_vec()), value.as_bytes(), "{file:?}");
        }
    }
}
