//! An installation of the real roles on a testbed, each with the permissions of `deploy/` and no more.
//!
//! Every installation has namespaces and permissions of its own, so that many share one API server.

use super::kubectl::Kubectl;
use super::ports::free_address;
use super::processes::{self, Process};
use super::root;
use super::scratch::Scratch;
use super::testbed::Testbed;
use super::tls::Certificates;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// For every role, besides the lifetime of tokens: keys go through their whole life within a minute.
pub const QUICK: [&str; 6] = [
    "--jwks-max-age=200ms",
    "--propagation=200ms",
    "--clock-skew=200ms",
    "--leeway=200ms",
    "--heartbeat-period=1s",
    "--heartbeat-expiry=5s",
];
/// For controllers: the next one soon leads.
pub const LEASE: [&str; 3] = ["--lease-duration=5s", "--lease-deadline=3s", "--lease-retry=500ms"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Controller,
    Issuer,
    Verifier,
    Admission,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Issuer => "issuer",
            Self::Verifier => "verifier",
            Self::Admission => "admission",
        }
    }
}

/// How the controller gets at Secrets, and the permissions for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretAccess {
    ClusterWide,
    Named,
    ByRoleBinding,
}

/// The rule of `deploy/rbac.yaml`, which is for `Named`.
const SECRETS: &str = r#"- {apiGroups: [""], resources: [secrets], verbs: [get, create, update, delete]}"#;

pub struct Installation {
    pub kubectl: Kubectl,
    /// The value of `spec.issuer` that makes an object this installation's.
    pub issuer_name: String,
    /// Where the first issuer listens: what the issuer URL names.
    pub issuer: SocketAddr,
    /// Begins the names of its namespaces and service accounts, where deploy/ says `countersign`.
    prefix: String,
    flags: Vec<String>,
    access: SecretAccess,
    issuers: AtomicU32,
    certificates: Option<Certificates>,
    verifier_certificates: Option<Certificates>,
    /// Whether the controller makes certificates; the roles' files lie in `folder`, by role.
    generated: bool,
    folder: Scratch,
}

/// A running role.
pub struct Replica {
    pub process: Process,
    pub admin: SocketAddr,
    /// An issuer's endpoints, and where an admission webhook is asked.
    pub issuer: SocketAddr,
    /// A verifier's gRPC port.
    pub grpc: SocketAddr,
    /// A verifier's HTTP port.
    pub http: SocketAddr,
}

impl Installation {
    /// One whose issuer name no other test uses. `flags` go to every role.
    pub fn new(testbed: &Testbed, flags: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cs-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self::named(testbed, &name, flags)
    }

    /// One with this issuer name; `default` only on a testbed of the test's own.
    pub fn named(testbed: &Testbed, issuer_name: &str, flags: &[&str]) -> Self {
        testbed.apply_crds();
        let prefix = if issuer_name == "default" { "countersign" } else { issuer_name };
        let kubectl = Kubectl::new(testbed);
        let it = Self {
            kubectl,
            issuer_name: issuer_name.to_owned(),
            issuer: free_address(),
            prefix: prefix.to_owned(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            access: SecretAccess::ClusterWide,
            issuers: AtomicU32::new(0),
            certificates: None,
            verifier_certificates: None,
            generated: false,
            folder: Scratch::new("installation"),
        };
        it.grant();
        it
    }

    /// Has the controller get at Secrets this way, with the permissions for it and no more. A watch, unless this is called.
    pub fn with_secret_access(mut self, access: SecretAccess) -> Self {
        self.access = access;
        self.grant();
        self
    }

    fn grant(&self) {
        let read = |file: &str| fs::read_to_string(root().join(file)).expect("read deploy/");
        let permissions = read("deploy/rbac.yaml");
        assert_eq!(permissions.matches(SECRETS).count(), 1, "deploy/rbac.yaml has the rule this replaces");
        let permissions = match self.access {
            SecretAccess::Named => permissions,
            SecretAccess::ClusterWide => permissions.replace(SECRETS, &SECRETS.replace("[get,", "[get, list, watch,")),
            SecretAccess::ByRoleBinding => {
                let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: countersign-secrets}";
                format!("{}---\n{role}\nrules:\n{SECRETS}\n", permissions.replace(SECRETS, ""))
            }
        };
        for manifest in [read("deploy/namespaces.yaml"), permissions] {
            self.kubectl.apply(&manifest.replace("countersign-", &format!("{}-", self.prefix)));
        }
    }

    /// What the API server calls the account of a role.
    pub fn account(&self, role: Role) -> String {
        format!("system:serviceaccount:{}:{}-{}", self.system_namespace(), self.prefix, role.name())
    }

    /// Has the issuers serve TLS with a certificate of a private authority, which the controller hands to clients.
    pub fn with_tls(mut self) -> Self {
        self.certificates = Some(Certificates::new(&["IP:127.0.0.1"]));
        self
    }

    /// Has the verifiers serve both wires over TLS.
    pub fn with_verifier_tls(mut self) -> Self {
        self.verifier_certificates = Some(Certificates::new(&["IP:127.0.0.1"]));
        self
    }

    /// Has the controller make the certificates of issuers and verifiers. Until [`Self::mount`] was called these cannot start.
    pub fn with_generated_certificates(mut self) -> Self {
        self.generated = true;
        self
    }

    /// Does what the kubelet does for a pod that mounts a role's certificate: copies the Secret into files, each whole, where
    /// it differs. `false` where there is no such Secret.
    pub fn mount(&self, role: Role) -> bool {
        let secret = format!("{}-certificate", role.name());
        let get = ["get", "secret", &secret, "-n", &self.system_namespace(), "--ignore-not-found", "-o", "json"];
        let Ok(found) = serde_json::from_str::<serde_json::Value>(&self.kubectl.must(&get)) else { return false };
        for key in ["tls.crt", "tls.key"] {
            let content = found["data"][key].as_str().unwrap_or_default();
            let content = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, content).expect("base64");
            let (file, half) = (self.mounted(role, key), self.mounted(role, &format!("{key}.half")));
            if fs::read(&file).is_ok_and(|there| there == content) {
                continue;
            }
            fs::write(&half, content).expect("write a mounted file");
            fs::rename(half, file).expect("put a mounted file in place");
        }
        true
    }

    /// Where a role finds what it mounts.
    pub fn mounted(&self, role: Role, key: &str) -> PathBuf {
        self.folder.join(format!("{}-{key}", role.name()))
    }

    /// Who vouches for the issuers.
    pub fn issuer_authority(&self) -> PathBuf {
        self.certificates.as_ref().expect("the issuers serve TLS").authority()
    }

    /// Who vouches for the verifiers.
    pub fn verifier_authority(&self) -> PathBuf {
        self.verifier_certificates.as_ref().expect("the verifiers serve TLS").authority()
    }

    /// The name of its `ValidatingWebhookConfiguration`, which the controller may look after.
    pub fn webhook(&self) -> String {
        format!("{}-admission", self.prefix)
    }

    pub fn issuer_url(&self) -> String {
        let scheme = if self.certificates.is_some() || self.generated { "https" } else { "http" };
        format!("{scheme}://{}", self.issuer)
    }

    pub fn system_namespace(&self) -> String {
        format!("{}-system", self.prefix)
    }

    /// Starts a replica without waiting for it.
    pub fn spawn(&self, role: Role) -> Replica {
        self.spawn_with(role, &[])
    }

    /// The same, with flags only this role has.
    pub fn spawn_with(&self, role: Role, flags: &[&str]) -> Replica {
        self.spawn_at(role, None, flags)
    }

    /// The same, its API server being the proxy at this address, if any.
    pub fn spawn_at(&self, role: Role, proxy: Option<SocketAddr>, flags: &[&str]) -> Replica {
        let first_issuer = role == Role::Issuer && self.issuers.fetch_add(1, Ordering::Relaxed) == 0;
        let issuer = if first_issuer { self.issuer } else { free_address() };
        let (admin, grpc, http) = (free_address(), free_address(), free_address());
        let mut args = vec![
            format!("--kubeconfig={}", self.kubeconfig(role, proxy).display()),
            format!("--issuer-name={}", self.issuer_name),
            format!("--issuer-url={}", self.issuer_url()),
            format!("--system-namespace={}", self.system_namespace()),
            format!("--admin-listen={admin}"),
            format!("--replica-name={}-{}", role.name(), admin.port()),
        ];
        args.extend(match role {
            Role::Controller => {
                vec![format!("--secret-access={:?}", self.access), format!("--secret-role={}-secrets", self.prefix)]
            }
            Role::Issuer | Role::Admission => vec![format!("--listen={issuer}")],
            Role::Verifier => {
                vec![format!("--grpc-listen={grpc}"), format!("--http-listen={http}")]
            }
        });
        args.extend(self.tls_flags(role));
        args.extend(self.flags.iter().cloned().chain(flags.iter().map(|&flag| flag.to_owned())));
        let process = processes::start(role.name(), args);
        Replica { process, admin, issuer, grpc, http }
    }

    fn tls_flags(&self, role: Role) -> Vec<String> {
        if self.generated {
            return self.generated_flags(role);
        }
        let certificates = match role {
            Role::Verifier => &self.verifier_certificates,
            Role::Controller | Role::Issuer | Role::Admission => &self.certificates,
        };
        match (role, certificates) {
            (Role::Controller, Some(tls)) => vec![format!("--ca-file={}", tls.authority().display())],
            (Role::Issuer | Role::Verifier | Role::Admission, Some(tls)) => vec![
                format!("--tls-cert={}", tls.certificate().display()),
                format!("--tls-key={}", tls.key().display()),
            ],
            (Role::Issuer | Role::Verifier, None) => vec!["--plaintext".to_owned()],
            (Role::Controller | Role::Admission, None) => Vec::new(),
        }
    }

    fn generated_flags(&self, role: Role) -> Vec<String> {
        if role != Role::Controller {
            let file = |key| self.mounted(role, key).display().to_string();
            return vec![format!("--tls-cert={}", file("tls.crt")), format!("--tls-key={}", file("tls.key"))];
        }
        let each = |role: &str| {
            let service = format!("--certificate={role}={}-{role}", self.prefix);
            [service, format!("--certificate-name={role}=127.0.0.1")]
        };
        [each("issuer"), each("verifier"), each("admission")].concat()
    }

    /// Starts a replica and waits until it is ready.
    pub async fn start(&self, role: Role) -> Replica {
        let mut replica = self.spawn(role);
        replica.process.ready(replica.admin).await;
        replica
    }

    /// One controller, one issuer, one verifier, all ready.
    pub async fn start_all(&self) -> [Replica; 3] {
        let mut replicas = [Role::Controller, Role::Issuer, Role::Verifier].map(|role| self.spawn(role));
        for replica in &mut replicas {
            replica.process.ready(replica.admin).await;
        }
        replicas
    }

    /// Whether this controller leads.
    pub fn leads(&self, controller: &Replica) -> bool {
        let path = "jsonpath={.spec.holderIdentity}";
        let args = ["get", "lease", "countersign-controller", "-n", &self.system_namespace(), "-o", path];
        self.kubectl.must(&args).ends_with(&format!("controller-{}", controller.admin.port()))
    }

    /// A kubeconfig with the role's service account. A proxy is spoken to without TLS.
    fn kubeconfig(&self, role: Role, proxy: Option<SocketAddr>) -> PathBuf {
        let account = format!("{}-{}", self.prefix, role.name());
        let namespace = self.system_namespace();
        let token = self.kubectl.must(&["create", "token", &account, "-n", &namespace, "--duration=1h"]);
        let admins = fs::read_to_string(self.kubectl.kubeconfig()).expect("read the testbed's kubeconfig");
        let own: Vec<_> = admins
            .lines()
            .map(|line| match line.split_once("{token: ") {
                Some((before, _)) => format!("{before}{{token: {}}}}}]", token.trim()),
                None => match (line.split_once("server: \""), proxy) {
                    (Some((before, _)), Some(proxy)) => format!("{before}server: \"http://{proxy}\"}}}}]"),
                    _ => line.to_owned(),
                },
            })
            .collect();
        let through = proxy.map_or(String::new(), |proxy| format!("-{}", proxy.port()));
        let file = self.folder.join(format!("{}{through}.kubeconfig", role.name()));
        fs::write(&file, own.join("\n")).expect("write a kubeconfig");
        file
    }

    /// The value of a key of a Secret.
    pub fn secret_value(&self, namespace: &str, secret: &str, key: &str) -> String {
        let path = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
        self.kubectl.must(&["get", "secret", secret, "-n", namespace, "-o", &path])
    }
}
