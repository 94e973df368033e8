//! Countersign installed on the cluster as its users do it: by Helm, from `charts/countersign`, with the image under test.
//!
//! A release has a namespace, permissions and an issuer name of its own. The definitions of the custom resources are the cluster's,
//! so there is one release at a time.

use crate::cluster::{Cluster, image, tell, until};
use crate::support::kubectl::Kubectl;
use crate::support::scratch::Scratch;
use crate::support::{orders, root, tool};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

const VALUES: &str = r#"
issuerName: $NAME
image: {registry: "", repository: $REPOSITORY, tag: $TAG}
crds: {keep: false}
namespaces: {keep: false}
controller: {extraArgs: [--secret-reread=2s]}
"#;

/// A chart, and the image its pods run.
pub struct Version {
    chart: PathBuf,
    image: String,
}

pub struct Release<'a> {
    kubectl: &'a Kubectl,
    /// Helm's name for it, with which its objects begin, and its issuer name.
    pub name: String,
    folder: Scratch,
}

// === impl Version ===

impl Version {
    /// The one under test.
    pub fn this() -> Self {
        Self { chart: root().join("charts/countersign"), image: image("countersign") }
    }

    /// The one before it, where `tests/cluster/former.sh` leaves it.
    pub fn former() -> Self {
        let chart = root().join(".cache/former/charts/countersign");
        assert!(chart.is_dir(), "build the version before first: tests/cluster/former.sh dev .cache/e2e/images");
        Self { chart, image: image("countersign-former") }
    }
}

// === impl Release ===

impl<'a> Release<'a> {
    /// Installs it and waits until every role is ready, a minute at most.
    pub fn install(cluster: &'a Cluster) -> Self {
        Self::install_with(cluster, &[])
    }

    /// The same with more flags for Helm.
    pub fn install_with(cluster: &'a Cluster, flags: &[&str]) -> Self {
        Self::install_version(cluster, &Version::this(), flags)
    }

    /// The same of another version.
    pub fn install_version(cluster: &'a Cluster, version: &Version, flags: &[&str]) -> Self {
        let name = Cluster::name("countersign");
        let release = Self { kubectl: &cluster.kubectl, name, folder: Scratch::new("release") };
        let namespace = release.system_namespace();
        release.kubectl.must(&["create", "namespace", &namespace]);
        release.kubectl.must(&["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"]);
        release.install_all(version, flags);
        release
    }

    /// Installs what was uninstalled.
    pub fn install_again(&self, flags: &[&str]) {
        self.install_all(&Version::this(), flags);
    }

    fn install_all(&self, version: &Version, flags: &[&str]) {
        let begun = Instant::now();
        self.helm_chart("install", version, flags);
        self.must(&["wait", "--for=condition=Available", "--timeout=60s", "deployment", "--all"]);
        eprintln!("every role was ready after {:.1?}", begun.elapsed());
    }

    /// Upgrades it to its first values and what these flags say besides; whether its pods come up is for the story to see.
    pub fn upgrade(&self, flags: &[&str]) {
        self.change_to(&Version::this(), flags);
    }

    /// Upgrades it, or takes it back, to another version.
    pub fn change_to(&self, version: &Version, flags: &[&str]) {
        self.helm_chart("upgrade", version, flags);
    }

    fn helm_chart(&self, verb: &str, Version { chart, image }: &Version, flags: &[&str]) {
        let chart = chart.to_str().expect("the clone's path is text");
        self.helm(&[&[verb, &self.name, chart, "--values", &self.values(image)], flags].concat());
    }

    /// Waits until the pods of every role are those of its last change, and those before it are gone.
    pub fn rolled_out(&self) {
        // Not every version has every role.
        for deployment in self.must(&["get", "deployments", "--output=name"]).lines() {
            self.must(&["rollout", "status", "--timeout=120s", deployment]);
        }
        self.until_none_ends();
    }

    /// Waits until no pod is about to end.
    pub fn until_none_ends(&self) {
        let ending = ["get", "pods", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}"];
        until("no pod is about to end", || self.must(&ending).is_empty());
    }

    pub fn deployment(&self, role: &str) -> String {
        format!("deployment/{}-{role}", self.name)
    }

    pub fn system_namespace(&self) -> String {
        format!("{}-system", self.name)
    }

    /// Where pods find the verifier's HTTP wire.
    pub fn verifier_url(&self) -> String {
        format!("https://{}:9002", self.host("verifier"))
    }

    /// Applies a tenant's manifest in which `$NS` and `$ISSUER` stand for what differs.
    pub fn apply(&self, namespace: &str, manifest: &str) {
        self.kubectl.apply(&orders::fill_in(manifest, namespace, &self.name, &self.system_namespace()));
    }

    /// Ends every pod of it, and waits.
    pub fn scale_to_nothing(&self) {
        self.must(&["scale", "deployment", "--all", "--replicas=0"]);
        self.must(&["wait", "--for=delete", "--timeout=60s", "pod", "--all"]);
    }

    /// Runs kubectl in its namespace.
    pub fn must(&self, args: &[&str]) -> String {
        self.kubectl.must(&[&["--namespace", &self.system_namespace()], args].concat())
    }

    /// Runs Helm in its namespace; it must succeed.
    pub fn helm(&self, args: &[&str]) -> String {
        let output = self.try_helm(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm {}: {said}", args.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn try_helm(&self, args: &[&str]) -> Output {
        Command::new(tool("helm"))
            .args(["--namespace", &self.system_namespace(), "--kubeconfig"])
            .arg(self.kubectl.kubeconfig())
            .args(args)
            .current_dir(root())
            // What it would keep in the home folder.
            .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, self.folder.join(name))))
            .stdin(Stdio::null())
            .output()
            .expect("run helm")
    }

    fn values(&self, image: &str) -> String {
        let (repository, tag) = image.rsplit_once(':').expect("an image has a tag");
        let values = VALUES.replace("$NAME", &self.name).replace("$REPOSITORY", repository).replace("$TAG", tag);
        let file = self.folder.join("values.yaml");
        std::fs::write(&file, values).expect("write the values");
        file.to_str().expect("the clone's path is text").to_owned()
    }

    /// The name of a role's Service.
    pub fn host(&self, role: &str) -> String {
        format!("{}-{role}.{}.svc", self.name, self.system_namespace())
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(self.kubectl, &self.system_namespace());
        }
        // The next release waits for nothing: the definitions are gone when this returns.
        self.try_helm(&["uninstall", &self.name, "--wait", "--timeout=60s"]);
        self.kubectl.run(&["delete", "--wait=false", "--ignore-not-found", "namespace", &self.system_namespace()]);
    }
}
