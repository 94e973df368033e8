//! The cluster the stories are told on, and namespaces in it that end with their story.
//!
//! A failing story prints what its namespaces looked like, before they are gone.

use crate::support::kubectl::Kubectl;
use crate::support::scratch::Scratch;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub struct Cluster {
    pub kubectl: Kubectl,
    _cache: Scratch,
}

impl Cluster {
    pub fn new() -> Self {
        let kubeconfig = std::env::var_os("E2E_KUBECONFIG").map(PathBuf::from);
        let kubeconfig = kubeconfig.expect("`make e2e` brings a cluster up, or takes the one E2E_KUBECONFIG names");
        let cache = Scratch::new("kubectl");
        Self { kubectl: Kubectl::at(kubeconfig, cache.to_path_buf()), _cache: cache }
    }

    /// A name nobody else uses, beginning so.
    pub fn name(prefix: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// A new namespace that takes only restricted pods.
    pub fn namespace(&self, prefix: &str) -> Namespace<'_> {
        let name = Self::name(prefix);
        self.kubectl.must(&["create", "namespace", &name]);
        self.kubectl.must(&["label", "namespace", &name, "pod-security.kubernetes.io/enforce=restricted"]);
        Namespace { kubectl: &self.kubectl, name }
    }
}

/// Where an image of ours is found.
pub fn image(name: &str) -> String {
    let place = std::env::var_os("E2E_IMAGES").unwrap_or_else(|| "local".into());
    let place = place.to_str().expect("E2E_IMAGES is text");
    format!("{place}/{name}:e2e")
}

/// A namespace that is deleted at the end.
pub struct Namespace<'a> {
    pub kubectl: &'a Kubectl,
    pub name: String,
}

impl Namespace<'_> {
    /// Runs kubectl in it.
    pub fn must(&self, args: &[&str]) -> String {
        self.kubectl.must(&[&["--namespace", &self.name], args].concat())
    }

    /// Applies a manifest in which `$NS` is its name.
    pub fn apply(&self, manifest: &str) {
        self.kubectl.apply(&manifest.replace("$NS", &self.name));
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(self.kubectl, &self.name);
        }
        // It may be gone already; the story does not wait for it.
        self.kubectl.run(&["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]);
    }
}

/// Waits for what takes a few seconds, a minute at most.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_mins(1), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Prints what somebody who looks at a failed story asks first.
pub fn tell(kubectl: &Kubectl, namespace: &str) {
    for args in [
        "get pods,oac,scp -o wide",
        "get events --sort-by=.lastTimestamp",
        "logs --tail=40 --prefix --all-containers --selector=app.kubernetes.io/part-of=countersign",
    ] {
        let args: Vec<_> = ["--namespace", namespace].into_iter().chain(args.split(' ')).collect();
        let output = kubectl.run(&args);
        let said = [output.stdout, output.stderr].concat();
        eprintln!("--- kubectl {}\n{}", args.join(" "), String::from_utf8_lossy(&said));
    }
}
