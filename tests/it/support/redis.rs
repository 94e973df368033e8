//! A real Redis of a test's own, on loopback, over TLS and with a user for issuers. It keeps nothing on disk.

use super::await_condition;
use super::ports::free_address;
use super::processes::Process;
use super::scratch::Scratch;
use super::tls::Certificates;
use super::tool;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpStream;

/// The user may do what issuers do, and no more.
pub const USERS: &str = "user default off
user tokens on >drowssap ~countersign:* -@all +set +select
";
/// With the line break an editor leaves.
pub const PASSWORD: &str = "drowssap\n";

pub struct Redis {
    address: SocketAddr,
    certificates: Certificates,
    folder: Scratch,
    process: Option<Process>,
}

impl Redis {
    pub async fn start() -> Self {
        let folder = Scratch::new("redis");
        for (file, text) in [("users", USERS), ("password", PASSWORD)] {
            fs::write(folder.join(file), text).expect("write a file for the Redis");
        }
        let certificates = Certificates::new(&["IP:127.0.0.1"]);
        let mut redis = Self { address: free_address(), certificates, folder, process: None };
        redis.resume().await;
        redis
    }

    /// With which an issuer reaches it.
    pub fn flags(&self) -> [String; 4] {
        [
            format!("--store-url=rediss://{}/1", self.address),
            "--store-username=tokens".to_owned(),
            format!("--store-password-file={}", self.folder.join("password").display()),
            format!("--store-ca-file={}", self.certificates.authority().display()),
        ]
    }

    /// Ends it at once; what it knew is lost.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Begins again at the same address.
    pub async fn resume(&mut self) {
        let (port, certificates) = (self.address.port().to_string(), &self.certificates);
        let mut command = Command::new(tool("redis-server"));
        command.args(["--bind", "127.0.0.1", "--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
        command.arg("--tls-cert-file").arg(certificates.certificate()).arg("--tls-key-file").arg(certificates.key());
        command.arg("--tls-ca-cert-file").arg(certificates.authority());
        command.arg("--aclfile").arg(self.folder.join("users")).args(["--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(self.folder.join("."));
        self.process = Some(Process::spawn("redis", &mut command));
        let look = async || TcpStream::connect(self.address).await.is_ok();
        await_condition("the Redis to listen", Duration::from_secs(10), look, |listens| *listens).await;
    }
}
