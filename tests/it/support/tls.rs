//! Certificates for one test, made with the openssl command.

use super::scratch::Scratch;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate authority and one server certificate by it.
pub struct Certificates {
    folder: Scratch,
}

impl Certificates {
    /// For these names, as openssl writes them: `DNS:localhost`, `IP:127.0.0.1`.
    pub fn new(names: &[&str]) -> Self {
        let folder = Scratch::new("tls");
        std::fs::write(folder.join("extensions"), format!("subjectAltName={}", names.join(","))).unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for step in [
            format!("req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=test-ca"),
            format!("req {key} -keyout tls.key -out tls.csr -subj /CN=server"),
            "x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out tls.crt -days 30 -extfile extensions"
                .to_owned(),
        ] {
            run(&folder, &step);
        }
        Self { folder }
    }

    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.join("tls.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.join("tls.key")
    }
}

/// A client's certificate and key.
#[derive(Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// A certificate for a client, with this subject and subject alternative name, as openssl writes them.
    pub fn client(&self, file: &str, subject: &str, alternative: Option<&str>) -> Identity {
        let names = alternative.map(|name| format!("\nsubjectAltName={name}")).unwrap_or_default();
        self.issue(file, subject, &format!("extendedKeyUsage=clientAuth{names}"))
    }

    /// The same for another usage.
    pub fn with_usage(&self, file: &str, alternative: &str, usage: &str) -> Identity {
        self.issue(file, "/CN=checkout", &format!("extendedKeyUsage={usage}\nsubjectAltName={alternative}"))
    }

    fn issue(&self, file: &str, subject: &str, extensions: &str) -> Identity {
        std::fs::write(self.folder.join(format!("{file}.ext")), extensions).unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        run(&self.folder, &format!("req {key} -keyout {file}.key -out {file}.csr -subj {subject}"));
        let sign = format!("x509 -req -in {file}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30");
        run(&self.folder, &format!("{sign} -out {file}.crt -extfile {file}.ext"));
        let path = |end| self.folder.join(format!("{file}.{end}"));
        Identity { certificate: path("crt"), key: path("key") }
    }
}

impl Identity {
    /// The certificate, DER.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(&self.certificate).expect("a certificate").to_vec()
    }
}

/// Runs openssl in a folder.
fn run(folder: &Path, step: &str) {
    let done = Command::new("openssl").args(step.split(' ')).current_dir(folder).output().expect("run openssl");
    assert!(done.status.success(), "openssl {step}: {}", String::from_utf8_lossy(&done.stderr));
}
