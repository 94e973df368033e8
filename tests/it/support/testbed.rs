//! The Kubernetes API server of a test run.
//!
//! ```text
//! COUNTERSIGN_TESTBED=DIR  ──► the one a person started with `make testbed`
//! else                     ──► one for the whole run: the first test that needs it starts it, and it ends with the
//!                              runner (the parent process of the tests), however that ends
//! Testbed::own()           ──► this test's alone, so that it may stop and start its parts
//! ```
//! `tests/testbed.sh` starts and ends the processes. Tests sharing an API server keep to namespaces of their own.

use super::{await_condition, root, tool};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(45);

/// An API server that is ready.
pub struct Testbed {
    folder: PathBuf,
    own: bool,
}

/// What an own testbed consists of.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Etcd,
    ApiServer,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
        }
    }
}

impl Testbed {
    /// The one shared by the tests of this run.
    pub fn shared() -> Self {
        if let Some(folder) = std::env::var_os("COUNTERSIGN_TESTBED") {
            return Self { folder: folder.into(), own: false };
        }
        let owner = std::os::unix::process::parent_id();
        let testbeds = testbeds();
        let lock = File::create(testbeds.join("lock")).expect("open the testbeds' lock");
        lock.lock().expect("take the testbeds' lock");
        let folder = testbeds.join(format!("{owner}-{}", born(owner)));
        if !folder.join("ready").exists() {
            serve(&folder, owner);
        }
        Self { folder, own: false }
    }

    /// One for this test alone: for faults, and for what concerns the whole cluster.
    pub fn own() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let owner = std::process::id();
        // Not a scratch folder: testbed.sh finds in it what it has to end, and removes it afterwards.
        let folder = testbeds().join(format!("own-{owner}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        serve(&folder, owner);
        Self { folder, own: true }
    }

    /// Where etcd keeps its data, for who stops it.
    pub fn etcd_data(&self) -> PathBuf {
        assert!(self.own, "only a testbed of the test's own may lose a part");
        self.folder.join("etcd")
    }

    /// Kills a part at once.
    pub fn stop(&self, part: Part) {
        self.control("stop", part.name());
    }

    /// Starts a part again, with its old address and data; returns when the API server answers, if both run.
    pub async fn start(&self, part: Part) {
        self.control("start", part.name());
        if matches!(part, Part::ApiServer) {
            let client = self.client().await;
            let look = async || client.apiserver_version().await.map_err(|error| error.to_string());
            await_condition("the API server to answer again", START, look, Result::is_ok)
                .await
                .expect("accepted as answering");
        }
    }

    /// Sends a part a signal by its name, such as `STOP` and `CONT`.
    pub fn signal(&self, part: Part, name: &str) {
        assert!(self.own, "only a testbed of the test's own may lose a part");
        let process = fs::read_to_string(self.folder.join(format!("{}.pid", part.name()))).expect("read a part's id");
        let sent = Command::new("kill").args([&format!("-{name}"), process.trim()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "send {name} to {part:?}");
    }

    /// Has the running etcd write its data to a file.
    pub fn save(&self, file: &Path) {
        assert!(tool("etcdctl").exists());
        self.control("save", file);
    }

    /// Puts such a file in place of the data of an etcd that does not run, with every revision later than any of before.
    pub fn restore(&self, file: &Path) {
        assert!(tool("etcdutl").exists());
        self.control("restore", file);
    }

    fn control(&self, verb: &str, what: impl AsRef<OsStr>) {
        assert!(self.own, "only a testbed of the test's own may lose a part");
        let done = script().arg(verb).arg(&self.folder).arg(&what).status();
        assert!(done.is_ok_and(|status| status.success()), "{verb} {}", what.as_ref().display());
    }

    /// Who vouches for the certificate that the API server shows to webhooks.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A kubeconfig of a cluster administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// A client of a cluster administrator.
    pub async fn client(&self) -> Client {
        // Fails when another test of this process was first, which is as good.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let file = Kubeconfig::read_from(self.kubeconfig()).expect("read the testbed's kubeconfig");
        let config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("use the kubeconfig");
        Client::try_from(config).expect("make a client")
    }

    /// A new namespace whose name begins so. It is not removed: the testbed has nobody to empty it, and ends with the run.
    pub async fn namespace(&self, prefix: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let namespaces: Api<Namespace> = Api::all(self.client().await);
        namespaces.create(&PostParams::default(), &namespace).await.expect("create a namespace");
        name
    }

    /// Applies `crds/` and waits until the API server serves them.
    pub fn apply_crds(&self) {
        let crds = root().join("crds");
        let crds = crds.to_str().expect("the clone's path is text");
        let kubectl = super::kubectl::Kubectl::new(self);
        kubectl.must(&["apply", "--server-side", "-f", crds]);
        kubectl.must(&["wait", "--for=condition=Established", "--timeout=20s", "-f", crds]);
    }
}

fn testbeds() -> PathBuf {
    let testbeds = root().join(".cache/testbed");
    fs::create_dir_all(&testbeds).expect("make the folder of testbeds");
    testbeds
}

fn script() -> Command {
    // Named here so that a missing tool is told as such.
    assert!(tool("kube-apiserver").exists() && tool("etcd").exists());
    let mut script = Command::new(root().join("tests/testbed.sh"));
    script.stdin(Stdio::null()).stdout(Stdio::null());
    script
}

/// Starts a testbed that ends with the process `owner`, and waits until it is ready.
#[expect(clippy::zombie_processes, reason = "the testbed ends with its owner, which may outlive us")]
fn serve(folder: &Path, owner: u32) {
    fs::create_dir_all(folder).expect("make the testbed's folder");
    let log = folder.with_extension("log");
    let errors = File::create(&log).expect("make the testbed's log");
    // A group of its own: a runner that kills one test's group must not end what other tests share.
    let mut testbed = script()
        .arg("serve")
        .arg(folder)
        .arg(owner.to_string())
        .stderr(errors)
        .process_group(0)
        .spawn()
        .expect("run testbed.sh");
    let begun = Instant::now();
    while !folder.join("ready").exists() {
        let ended = testbed.try_wait().expect("look after the testbed");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        assert!(ended.is_none(), "the testbed ended: {}", said());
        assert!(begun.elapsed() < START, "the testbed is not ready: {}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(fs::remove_file(log));
}

/// When a process began, in the kernel's ticks: tells it from a later one with the same id.
fn born(process: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("read the parent's state");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().nth(19).unwrap_or_default().to_owned()
}
