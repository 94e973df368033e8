//! What the stories are told with: the testbed, the real binary, Envoy, outside clients, and patience.

#![allow(dead_code, reason = "each story takes what it needs")]

pub mod client_key;
pub mod clients;
pub mod echo;
pub mod envoy;
pub mod forge;
pub mod http;
pub mod installation;
pub mod kubectl;
pub mod orders;
pub mod ports;
pub mod processes;
pub mod redis;
pub mod scratch;
pub mod standalone;
pub mod tenant;
pub mod testbed;
pub mod tls;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The root of the clone. The benches take these files into a package of their own.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("Cargo.lock").exists()).expect("the package lies in the workspace")
}

/// A tool that `tests/setup.sh` put in place.
pub fn tool(name: &str) -> PathBuf {
    let path = root().join(".cache/tools").join(name);
    assert!(path.exists(), "{name} is not installed: run `make tools` first ({} is missing)", path.display());
    path
}

/// Looks until `accept` takes what `look` sees. When `patience` ends, the panic shows what was seen last.
pub async fn await_condition<T: Debug>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> T,
    accept: impl Fn(&T) -> bool,
) -> T {
    let begun = Instant::now();
    loop {
        let seen = look().await;
        if accept(&seen) {
            return seen;
        }
        assert!(begun.elapsed() < patience, "waited {patience:?} for {what}; last seen: {seen:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
