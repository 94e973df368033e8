//! The first hour as the README tells it: its commands, as they stand there, on a cluster where nobody did anything yet.

use crate::cluster::{Cluster, tell, until};
use crate::support::kubectl::Kubectl;
use crate::support::root;
use crate::support::scratch::Scratch;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The block of the README that holds them begins with this.
const FIRST: &str = "$ helm install countersign ";

#[test]
fn five_commands_lead_from_the_readme_to_the_first_verified_call() {
    let cluster = Cluster::new();
    let hour = FirstHour { kubectl: &cluster.kubectl, home: Scratch::new("readme") };
    let commands = commands();
    assert_eq!(commands.len(), 5, "{commands:#?}");
    let begun = Instant::now();
    let (call, before) = commands.split_last().expect("five");
    for command in before {
        hour.run(command);
    }
    // Envoy waits for a verdict as long as it would on a machine that has nothing else to do.
    until("the call to be verified", || hour.run(call) == "an order for shop.storefront 200");
    eprintln!("the first verified call after {:.0?}", begun.elapsed());

    // The same without a token, past the caller's own Envoy; and there is no client secret to be stolen.
    let ask = "kubectl exec --namespace shop deploy/storefront --container storefront -- \
        curl -s -o /dev/null -w %{http_code} http://orders.shop.svc/orders/7";
    until("an answer to a call without a token", || hour.run(ask) == "401");
    assert_eq!(hour.run("kubectl get secrets --namespace shop --output name"), "");
}

/// What a shell is asked to do in the README's first console block about a cluster, with lines that go on joined.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("read the README");
    let block = readme.split("```").find(|block| block.contains(FIRST)).expect("the README has the first hour");
    let block = block.replace("\\\n", " ");
    block.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

struct FirstHour<'a> {
    kubectl: &'a Kubectl,
    home: Scratch,
}

impl FirstHour<'_> {
    /// What the command prints, run in the clone as a person would.
    fn run(&self, command: &str) -> String {
        let path = std::env::join_paths(
            std::iter::once(root().join(".cache/tools"))
                .chain(std::env::split_paths(&std::env::var_os("PATH").expect("a PATH"))),
        );
        let output = Command::new("bash")
            .args(["-euc", command])
            .current_dir(root())
            .env("PATH", path.expect("folders"))
            .env("KUBECONFIG", self.kubectl.kubeconfig())
            .env("HOME", self.home.as_os_str())
            .stdin(Stdio::null())
            .output()
            .expect("run bash");
        let [said, complaint] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        eprintln!("$ {command}\n{said}");
        assert!(output.status.success(), "{command}: {complaint}");
        said
    }
}

impl Drop for FirstHour<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell(self.kubectl, "shop");
            tell(self.kubectl, "countersign-system");
        }
        let gone = ["--ignore-not-found", "--wait=true", "--timeout=60s"];
        self.kubectl.run(&[&["delete", "namespace", "shop"], &gone[..]].concat());
        let uninstall = "helm uninstall countersign --namespace countersign-system --wait --timeout=60s";
        Command::new("bash")
            .args(["-c", uninstall])
            .env("KUBECONFIG", self.kubectl.kubeconfig())
            .env("PATH", root().join(".cache/tools"))
            .status()
            .ok();
        self.kubectl.run(&[&["delete", "-f", "crds"], &gone[..]].concat());
        let namespaces = ["countersign-system", "countersign-system-keys", "countersign-system-replicas"];
        self.kubectl.run(&[&["delete", "namespace"], &namespaces[..], &gone[..]].concat());
    }
}
