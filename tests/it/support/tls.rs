//! Certificates for one test, made with the openssl command.

use super::scratch::Scratch;
use std::path::PathBuf;
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
            let done =
                Command::new("openssl").args(step.split(' ')).current_dir(&*folder).output().expect("run openssl");
            assert!(done.status.success(), "openssl {step}: {}", String::from_utf8_lossy(&done.stderr));
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
