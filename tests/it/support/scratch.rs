//! Folders and processes that end with the test, also when the test is killed.
//!
//! A guard shell in a process group of its own reads from us what is to be cleared away. When its input ends, because the test
//! process is gone for whatever reason, it kills and removes what is still on its list.

use std::io::Write;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

const GUARD: &str = r#"
declare -A processes folders
while read -r verb what; do
  case $verb in
    kill) processes[$what]=1 ;;
    forget) unset "processes[$what]" ;;
    remove) folders[$what]=1 ;;
  esac
done
for process in "${!processes[@]}"; do kill -KILL "$process"; done
for folder in "${!folders[@]}"; do rm -rf -- "$folder"; done
"#;

#[expect(clippy::zombie_processes, reason = "the guard outlives us by design")]
fn tell_guard(line: &str) {
    static GUARD_INPUT: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let input = GUARD_INPUT.get_or_init(|| {
        let mut guard = Command::new("bash")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start the guard shell");
        Mutex::new(guard.stdin.take().expect("the guard's input is a pipe"))
    });
    writeln!(input.lock().unwrap(), "{line}").expect("the guard shell lives as long as the test");
}

/// Has the process killed when the test ends, unless it is forgotten before.
pub fn kill_at_end(process: u32) {
    tell_guard(&format!("kill {process}"));
}

/// The process has ended: its id may belong to another soon.
pub fn forget(process: u32) {
    tell_guard(&format!("forget {process}"));
}

/// An empty folder of this test's own, removed when dropped or when the test process ends.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = super::root().join(".cache/scratch").join(format!("{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("make a scratch folder");
        tell_guard(&format!("remove {}", path.display()));
        Self(path)
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failed test's logs are printed by their owner; what cannot be removed now the guard removes later.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
