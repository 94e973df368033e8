//! `countersign explain`: why a request is allowed or denied, and what to change.
//!
//! ```text
//! manifests, or a cluster ─► snapshot ─┐
//! URL, method, headers ────► request ──┼─► core::policy::decide ─► the verifier's answer ─┐
//! token, or client ────────► caller ───┘   core::policy::explain ─► what it looked at ────┴─► account ─► text or JSON
//! ```
//! Flows in: what is known, a request, a caller. Flows out: the answer, by the functions that give it in the verifier and
//! the issuer, with all that led to it.

mod account;
mod call;
mod caller;
mod culprit;
mod known;
mod next;
mod obtain;
mod print;
mod tell;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, Args};
use countersign_core::policy::Selector;
use countersign_core::token::{Jwks, KeySet};

use self::call::Call;
use self::known::Known;
use self::tell::{Asked, Who};
use super::check::{Output, existing};
use super::manifests::{Premises, stdin};
use super::options::Connection;
use super::usage::Usage;
use crate::runtime::clock::Clock;

/// The most bytes of a file with a token or with keys.
const LARGEST_FILE: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  countersign explain -f examples/quickstart --client shop.checkout https://orders.shop.svc/orders/7
  countersign token --secret shop/checkout-oauth |
    countersign explain --cluster --policy shop/orders --token - -X DELETE https://orders.shop.svc/orders/7";

/// Explain why a request is allowed or denied
///
/// Reads the policies from manifests or from a cluster, judges the request with the verifier's own code, and tells how the
/// request was read, which rule decides and why no other, what is missing, what the client sees, and what to change.
///
/// The exit code is 0 where the request is allowed, 1 where it is denied, 2 where this command was used wrongly.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES, group(ArgGroup::new("source").required(true).args(["manifests", "cluster"])))]
pub(super) struct Explain {
    /// URL of the request, as the client sends it; nothing of it is normalised
    #[arg(value_name = "URL", required_unless_present = "url_flag")]
    url: Option<String>,
    /// The same as a flag; no default
    #[arg(id = "url_flag", long = "url", env = "COUNTERSIGN_EXPLAIN_URL", value_name = "URL", conflicts_with = "url")]
    url_flag: Option<String>,
    /// Method of the request
    #[arg(short = 'X', long, env = "COUNTERSIGN_EXPLAIN_METHOD", default_value = "GET", value_name = "METHOD")]
    method: String,
    /// Header of the request, such as `X-Tier: gold`; several times for several; default: none
    #[arg(
        short = 'H',
        long = "header",
        env = "COUNTERSIGN_EXPLAIN_HEADER",
        hide_env_values = true,
        value_name = "NAME: VALUE"
    )]
    headers: Vec<String>,
    /// Folder or file with manifests, several times for several; `-` is standard input. No default: this or --cluster
    /// is needed
    #[arg(short = 'f', long, env = "COUNTERSIGN_EXPLAIN_MANIFESTS", visible_alias = "filename", value_name = "DIR|FILE", value_parser = existing)]
    manifests: Vec<PathBuf>,
    /// Read policies, clients, keys and revocations from the cluster instead; nothing is written
    #[arg(long, env = "COUNTERSIGN_EXPLAIN_CLUSTER")]
    cluster: bool,
    #[command(flatten)]
    connection: Connection,
    /// Policy as the proxy's configuration names it: `shop/orders`, `shop/*`, or by-host
    #[arg(long, env = "COUNTERSIGN_EXPLAIN_POLICY", default_value = "by-host", value_name = "POLICY")]
    policy: Selector,
    /// Access token of the request; `-` is standard input, where other users of this machine do not see it; default: none
    #[arg(long, env = "COUNTERSIGN_EXPLAIN_TOKEN", hide_env_values = true, value_name = "TOKEN", conflicts_with_all = ["token_file", "client"])]
    token: Option<String>,
    /// File with the access token of the request; default: none
    #[arg(long, env = "COUNTERSIGN_EXPLAIN_TOKEN_FILE", value_name = "FILE", conflicts_with = "client", value_parser = existing)]
    token_file: Option<PathBuf>,
    /// The issuer's public keys (its /oauth2/jwks), to check the token's signature with; default: it is not checked
    #[arg(long, env = "COUNTERSIGN_EXPLAIN_JWKS", value_name = "FILE", value_parser = existing)]
    jwks: Option<PathBuf>,
    /// Client that calls, by its client id, with the token the issuer would give it; default: none
    #[arg(long, env = "COUNTERSIGN_EXPLAIN_CLIENT", value_name = "CLIENT_ID")]
    client: Option<String>,
    /// Scope the client asks the issuer for, several times for several; default: all that is granted
    #[arg(
        long,
        env = "COUNTERSIGN_EXPLAIN_SCOPE",
        visible_alias = "scopes",
        value_name = "SCOPE",
        requires = "client",
        value_delimiter = ' '
    )]
    scope: Vec<String>,
    /// `text` for people, `json` for programs
    #[arg(short, long, env = "COUNTERSIGN_EXPLAIN_OUTPUT", value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
    #[command(flatten)]
    premises: Premises,
}

impl Explain {
    pub(super) fn run(self) -> Result<ExitCode> {
        let clock = Clock::system();
        let output = self.output;
        let url = self.url.as_ref().or(self.url_flag.as_ref()).context("give a URL")?;
        let call = Call::new(&self.method, url, &self.headers).map_err(|error| Usage::error(format!("{error:#}")))?;
        let who = self.who()?;
        let known = self.known(&clock)?;
        let account = tell::tell(&known, Asked { call, named: &self.policy, who }, clock.now())?;
        print::print(&account, output)?;
        Ok(if account.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn who(&self) -> Result<Who> {
        if let Some(client) = &self.client {
            let scope = (!self.scope.is_empty()).then(|| self.scope.join(" "));
            return Ok(Who::Client { id: client.clone(), scope });
        }
        let text = match (&self.token, &self.token_file) {
            (Some(text), _) if text == "-" => stdin()?,
            (Some(text), _) => text.clone(),
            (None, Some(file)) => String::from_utf8(read(file).context("cannot read the file with the token")?)
                .context("the file with the token is no text")?,
            (None, None) => return Ok(Who::Nobody),
        };
        Ok(Who::Token(text.trim().to_owned()))
    }

    fn known(&self, clock: &Clock) -> Result<Known> {
        let keys = self.jwks.as_ref().map(|file| {
            let text = read(file).context("cannot read the file with the keys")?;
            let jwks: Jwks = serde_json::from_slice(&text).context("the file with the keys is no JWKS document")?;
            anyhow::Ok(KeySet::of_jwks(&jwks))
        });
        let known = if self.cluster {
            Known::of_cluster(&self.connection, &self.premises, clock)?
        } else {
            Known::of_manifests(&self.manifests, &self.premises, clock.now())?
        };
        Ok(known.with_keys(keys.transpose()?))
    }
}

/// A small file; one without end is refused rather than read.
fn read(file: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
    ensure!(content.len() as u64 <= LARGEST_FILE, "it has more than {LARGEST_FILE} bytes");
    Ok(content)
}
