//! Real programs under test: started with flags, their output kept, waited for, signalled, and never left behind.

use super::http::Request;
use super::{await_condition, root, scratch};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to be ready. Debug builds on two busy cores are slow; nothing waits this long when all is well.
const START: Duration = Duration::from_secs(20);

/// A running program. Dropping it kills it, and prints its output when the test is failing.
pub struct Process {
    /// When it was started.
    pub begun: Instant,
    child: Child,
    name: String,
    log: PathBuf,
    _folder: scratch::Scratch,
}

impl Process {
    pub fn start<A: AsRef<OsStr>>(name: &str, program: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Self {
        Self::spawn(name, Command::new(program).args(args))
    }

    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let folder = scratch::Scratch::new(name);
        let log = folder.join("log");
        let output = File::create(&log).expect("make a log file");
        let errors = output.try_clone().expect("share the log file");
        let begun = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        scratch::kill_at_end(child.id());
        Self { begun, child, name: name.to_owned(), log, _folder: folder }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has ended by itself, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("look after a child")
    }

    /// Waits until its admin port says it is ready.
    pub async fn ready(&mut self, admin: SocketAddr) {
        let name = self.name.clone();
        await_condition(
            &format!("{name} to be ready"),
            START,
            async || {
                let ended = self.ended();
                assert!(ended.is_none(), "{name} ended ({}):\n{}", ended.unwrap_or_default(), self.output());
                Request::get("/readyz").send(admin).await
            },
            |answer| answer.as_ref().is_ok_and(|answer| answer.status == 200),
        )
        .await
        .expect("accepted as ready");
    }

    /// Sends a signal by its name: `TERM`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("bash").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.is_ok_and(|status| status.success()), "send {name} to {}", self.name);
    }

    /// Ends it as Kubernetes does, and waits.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait().await
    }

    /// Ends it as a lost machine does, and waits.
    pub async fn kill(&mut self) -> ExitStatus {
        self.signal("KILL");
        self.wait().await
    }

    pub async fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let ended = await_condition(&format!("{name} to end"), START, async || self.ended(), Option::is_some).await;
        scratch::forget(self.child.id());
        ended.expect("it has ended")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.kill().is_ok() && self.child.wait().is_ok() {
            scratch::forget(self.child.id());
        }
        if std::thread::panicking() {
            eprintln!("--- output of {}\n{}---", self.name, self.output());
        }
    }
}

/// The binary under test: the one built with the tests, or the release build where this is a part of the benches.
pub fn countersign() -> Command {
    let release = || root().join("target/release/countersign");
    Command::new(option_env!("CARGO_BIN_EXE_countersign").map_or_else(release, PathBuf::from))
}

/// Runs a subcommand to its end.
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    countersign().args(args).stdin(Stdio::null()).output().expect("run countersign")
}

/// Starts a role, such as `issuer`, that stays.
pub fn start<A: AsRef<OsStr>>(role: &str, args: impl IntoIterator<Item = A>) -> Process {
    Process::spawn(role, countersign().arg(role).args(args))
}
