//! The flags of the certificates a controller makes, and of the authorities it hands out.
//!
//! Flows in: which Services there are, how long certificates last. Flows out: names and lifetimes, refused where they leave
//! somebody without a good certificate.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use countersign_core::bounds::service_hosts;
use countersign_core::certificates::{CertificateTimings, Server};
use countersign_core::names::{Namespace, ObjectName};
use rustls::pki_types::ServerName;

use super::options;
use super::usage::{Usage, require};
use crate::controller::certificates::Settings;

/// What certificates to make, and whom clients trust.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Certificates (docs/tls.md)")]
pub(crate) struct CertificateFlags {
    /// Authorities that clients must trust to reach the issuer, PEM; handed out in each client's Secret as `ca.crt`, and read
    /// again when they change. By default those of --certificate, where the issuer serves one for the host of --issuer-url;
    /// else none, and clients trust what they trust anyway
    #[arg(long, env = "COUNTERSIGN_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Keep a certificate for a role's Service, such as `issuer=countersign-issuer`, in the Secret <ROLE>-certificate of the
    /// system namespace; roles are issuer, verifier and admission; may be given several times. By default none is made
    #[arg(long, env = "COUNTERSIGN_CERTIFICATE", value_delimiter = ',', value_name = "ROLE=SERVICE")]
    certificate: Vec<Of<ObjectName>>,
    /// A further DNS name or address the role's certificate is for, such as `issuer=auth.example.com`; may be given several
    /// times; by default the Service's own names
    #[arg(long, env = "COUNTERSIGN_CERTIFICATE_NAME", value_delimiter = ',', value_name = "ROLE=NAME")]
    certificate_name: Vec<Of<HostName>>,
    /// Name of the `ValidatingWebhookConfiguration` and the `MutatingWebhookConfiguration` whose `caBundle` is kept; by default
    /// none
    #[arg(long, env = "COUNTERSIGN_WEBHOOK_CONFIGURATION", value_name = "NAME")]
    webhook_configuration: Option<ObjectName>,
    /// Life of a certificate; renewed when a third is left
    #[arg(long, env = "COUNTERSIGN_CERTIFICATE_LIFETIME", default_value = "720h", value_name = "DURATION", value_parser = options::duration)]
    certificate_lifetime: Duration,
    /// Life of the authority that signs them; its successor is made when a third is left
    #[arg(long, env = "COUNTERSIGN_CA_LIFETIME", default_value = "8760h", value_name = "DURATION", value_parser = options::duration)]
    ca_lifetime: Duration,
    /// How long everybody has the certificate of a new authority before it signs: as long as it may take them to read theirs again
    #[arg(long, env = "COUNTERSIGN_CA_PRE_PUBLISH", default_value = "24h", value_name = "DURATION", value_parser = options::duration)]
    ca_pre_publish: Duration,
}

/// Something of a role: `issuer=<what>`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Of<T> {
    server: Server,
    what: T,
}

/// A DNS name or an address that a certificate can be for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HostName(String);

impl<T: FromStr<Err: Into<anyhow::Error>>> FromStr for Of<T> {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (role, what) = text.split_once('=').context("write it like issuer=countersign-issuer")?;
        let server = Server::ALL.into_iter().find(|server| server.name() == role);
        let server = server.ok_or_else(|| anyhow!("{role:?} is no role: write issuer, verifier or admission"))?;
        Ok(Self { server, what: what.parse().map_err(Into::into)? })
    }
}

impl FromStr for HostName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let usable = ServerName::try_from(text).is_ok() && !text.ends_with('.');
        ensure!(usable, "{text:?} is neither a DNS name nor an address");
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl CertificateFlags {
    /// What to make; `None`: nothing.
    pub(crate) fn settings(
        &self,
        (namespace, cluster_domain): (&Namespace, &str),
        issuer_url: &str,
        clock_skew: Duration,
    ) -> Result<Option<Settings>> {
        let mut servers: Vec<(Server, Vec<String>)> = Vec::new();
        for Of { server, what } in &self.certificate {
            require(!servers.iter().any(|(there, _)| there == server), "--certificate: one Service a role")?;
            servers.push((*server, service_hosts(what, namespace, cluster_domain).into()));
        }
        for Of { server, what: HostName(name) } in &self.certificate_name {
            let names = servers.iter_mut().find(|(there, _)| there == server).map(|(_, names)| names);
            let Some(names) = names else {
                let role = server.name();
                bail!(Usage::error(format!(
                    "--certificate-name={role}=…: give --certificate={role}=<its Service>, too"
                )));
            };
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let makes_admission = servers.iter().any(|(server, _)| *server == Server::Admission);
        require(
            self.webhook_configuration.is_none() || makes_admission,
            "--webhook-configuration: give --certificate=admission=<its Service>, too",
        )?;
        if servers.is_empty() {
            return Ok(None);
        }
        let for_clients = self.ca_file.is_none() && serves_issuer_url(&servers, issuer_url);
        let webhook = self.webhook_configuration.as_ref().map(ToString::to_string);
        Ok(Some(Settings { servers, timings: self.timings(clock_skew)?, for_clients, webhook }))
    }

    fn timings(&self, clock_skew: Duration) -> Result<CertificateTimings> {
        let timings = CertificateTimings {
            authority_lifetime: self.ca_lifetime,
            leaf_lifetime: self.certificate_lifetime,
            pre_publish: self.ca_pre_publish,
            clock_skew,
        };
        timings
            .check()
            .map_err(|refused| Usage::of("--ca-lifetime, --certificate-lifetime, --ca-pre-publish", &refused.into()))?;
        Ok(timings)
    }
}

/// Whether the issuer's certificate is for the host that clients call.
fn serves_issuer_url(servers: &[(Server, Vec<String>)], issuer_url: &str) -> bool {
    let url: Option<http::Uri> = issuer_url.parse().ok();
    let host = url.as_ref().and_then(http::Uri::host).map(|host| host.trim_matches(['[', ']']).to_ascii_lowercase());
    let names = servers.iter().find(|(server, _)| *server == Server::Issuer).map(|(_, names)| names);
    host.zip(names).is_some_and(|(host, names)| names.contains(&host))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: CertificateFlags,
    }

    fn settings(flags: &[&str], url: &str) -> Result<Option<Settings>> {
        let line = Line::try_parse_from([&["x"], flags].concat())?;
        let namespace = Namespace::new("cs")?;
        line.flags.settings((&namespace, "cluster.local"), url, Duration::from_mins(1))
    }

    #[test]
    fn a_certificate_is_for_every_name_of_its_service_and_what_else_is_asked_for() {
        let url = "https://auth.example.com";
        let flags = ["--certificate=issuer=i", "--certificate-name=issuer=Auth.example.com,issuer=::1"];
        let made = settings(&flags, url).unwrap().unwrap();
        let names = ["i.cs", "i.cs.svc", "i.cs.svc.cluster.local", "auth.example.com", "::1"].map(str::to_owned);
        assert_eq!(made.servers, [(Server::Issuer, names.to_vec())]);
        assert_eq!(made.timings, CertificateTimings::default());
        assert!(settings(&[], url).unwrap().is_none());
    }

    #[test]
    fn clients_get_the_bundle_where_the_certificate_is_what_they_are_shown() {
        let for_clients = |flags: &[&str], url: &str| settings(flags, url).unwrap().unwrap().for_clients;
        let of_issuer = "--certificate=issuer=i";
        assert!(for_clients(&[of_issuer], "https://i.cs.svc:8443"));
        assert!(for_clients(&[of_issuer, "--certificate-name=issuer=::1"], "https://[::1]:8443"));
        assert!(!for_clients(&[of_issuer], "https://auth.example.com"));
        assert!(!for_clients(&["--certificate=verifier=i"], "https://i.cs.svc"));
        assert!(!for_clients(&[of_issuer, "--ca-file=x"], "https://i.cs.svc"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_write() {
        let refused = |flags: &[&str]| format!("{:#}", settings(flags, "https://a").unwrap_err());
        assert!(refused(&["--certificate=gate=i"]).contains("write issuer, verifier or admission"));
        assert!(refused(&["--certificate=issuer"]).contains("write it like issuer=countersign-issuer"));
        assert!(refused(&["--certificate-name=issuer=a"]).contains("give --certificate=issuer=<its Service>"));
        assert!(refused(&["--certificate=issuer=i", "--certificate-name=issuer=a b"]).contains("neither a DNS name"));
        assert!(refused(&["--webhook-configuration=w"]).contains("--certificate=admission"));
        assert!(refused(&["--certificate=issuer=i", "--certificate=issuer=j"]).contains("one Service a role"));
        assert!(refused(&["--certificate=issuer=i", "--ca-lifetime=24h"]).contains("a third of an authority's life"));
    }
}
