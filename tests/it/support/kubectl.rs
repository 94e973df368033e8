//! kubectl as a person uses it, against a testbed.

use super::testbed::Testbed;
use super::tool;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub struct Kubectl {
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    pub fn new(testbed: &Testbed) -> Self {
        // Its discovery cache lies with the testbed: one in the home folder would outlive it and mix clusters.
        let cache = testbed.kubeconfig().with_file_name("kubectl-cache");
        Self { kubeconfig: testbed.kubeconfig(), cache }
    }

    /// For a cluster that is not a testbed.
    pub fn at(kubeconfig: PathBuf, cache: PathBuf) -> Self {
        Self { kubeconfig, cache }
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs it to its end, whatever that is.
    pub fn run(&self, args: &[&str]) -> Output {
        Command::new(tool("kubectl"))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(&self.cache)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("run kubectl")
    }

    /// Runs it, requires that it succeeds, and returns what it printed.
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {}: {said}{printed}", args.join(" "));
        printed.into_owned()
    }

    /// Runs it, requires that it fails, and returns its complaint.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "kubectl {} should have failed: {printed}", args.join(" "));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Applies a manifest given as text.
    pub fn apply(&self, manifest: &str) -> String {
        let folder = super::scratch::Scratch::new("manifest");
        let file = folder.join("manifest.yaml");
        std::fs::write(&file, manifest).expect("write a manifest");
        self.must(&["apply", "--server-side", "-f", file.to_str().expect("the clone's path is text")])
    }
}
