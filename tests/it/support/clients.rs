//! OAuth clients other people wrote: each gets a token the way its users do.

use super::tls::Identity;
use super::{root, tool};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideClient {
    /// npm `openid-client`
    OpenidClient,
    /// PyPI `authlib`
    Authlib,
    /// Go `golang.org/x/oauth2/clientcredentials`
    GoOauth2,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub client_secret: &'a str,
    pub resource: Option<&'a str>,
    pub scope: Option<&'a str>,
    /// `client_secret_basic` (each client's default, the Go one probes), `client_secret_post`, `client_assertion`, or, but for the
    /// Go one, `private_key_jwt`.
    pub auth_method: Option<&'a str>,
    /// The token to exchange (RFC 8693); none: a token in the client's own name.
    pub subject_token: Option<&'a str>,
    /// What `client_assertion` sends.
    pub client_assertion: &'a str,
    /// The certificate to show (RFC 8705); then there is no secret. Not for `openid-client`, which leaves it to the transport.
    pub identity: Option<&'a Identity>,
    /// What `private_key_jwt` signs with: PKCS#8 of a P-256 key, in base64.
    pub client_key: &'a str,
    /// The certificate authority to trust, for an https issuer.
    pub authority: Option<&'a Path>,
    /// A file in the place of this machine's `/etc/hosts`, for an issuer whose name is a cluster's; takes root.
    pub hosts: Option<&'a Path>,
}

impl OutsideClient {
    pub const ALL: [Self; 3] = [Self::OpenidClient, Self::Authlib, Self::GoOauth2];

    fn command(self, request: &TokenRequest<'_>) -> Command {
        let issuer = format!("--issuer={}", request.issuer);
        match self {
            Self::OpenidClient => {
                let mut command = request.program("node");
                command.arg(tool("node-client").join("client.mjs")).arg(issuer);
                // Node reads its authorities once, at start.
                command.envs(request.authority.map(|authority| ("NODE_EXTRA_CA_CERTS", authority)));
                command
            }
            Self::Authlib => {
                let mut command = request.program("python3");
                command
                    .env("PYTHONPATH", tool("python"))
                    .arg(root().join("tests/clients/python/client.py"))
                    .arg(issuer);
                command.args(request.authority.map(|authority| format!("--ca={}", authority.display())));
                command
            }
            Self::GoOauth2 => {
                let mut command = request.program(tool("go-client"));
                command.arg(format!("--token-endpoint={}/oauth2/token", request.issuer));
                command.args(request.authority.map(|authority| format!("--ca={}", authority.display())));
                command
            }
        }
    }

    /// Asks for a token. The answer is the token response, or `{"error": code}` when the issuer refused.
    pub fn ask(self, request: &TokenRequest<'_>) -> Value {
        let mut command = self.command(request);
        command.arg(format!("--client-id={}", request.client_id)).env("CLIENT_SECRET", request.client_secret);
        command.env("CLIENT_ASSERTION", request.client_assertion).env("CLIENT_KEY", request.client_key);
        for (flag, value) in
            [("resource", request.resource), ("scope", request.scope), ("auth-method", request.auth_method)]
        {
            command.args(value.map(|value| format!("--{flag}={value}")));
        }
        if let Some(Identity { certificate, key }) = request.identity {
            command.arg(format!("--cert={}", certificate.display())).arg(format!("--key={}", key.display()));
        }
        command.envs(request.subject_token.map(|token| ("SUBJECT_TOKEN", token)));
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("run {self:?}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?}: {said}");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{self:?} printed no JSON ({error}): {said}"))
    }

    /// Asks for a token and requires to get one.
    pub fn token(self, request: &TokenRequest<'_>) -> String {
        let answer = self.ask(request);
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{self:?} got no token: {answer}")).to_owned()
    }
}

impl TokenRequest<'_> {
    fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(hosts) = self.hosts else { return Command::new(program) };
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#]).arg(hosts).arg(program);
        command
    }
}
