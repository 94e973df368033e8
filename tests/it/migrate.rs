//! `countersign migrate` as a person uses it: files in, manifests out, applied to a real API server.

use crate::support::await_condition;
use crate::support::installation::{Installation, QUICK, Role};
use crate::support::processes::countersign;
use crate::support::root;
use crate::support::scratch::Scratch;
use crate::support::tenant::{SOON, Tenant, token};
use crate::support::testbed::Testbed;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Of the kind Hydra makes: 26 characters.
const OLD: &str = "tq3VbN0xk2LwZ8yRj5uHc7Df1G";
const ID: &str = "0f9b1c32-7a1d-4c55-9d0e-1b2a3c4d5e6f";

/// What hydra-maester leaves behind.
const HYDRA: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: checkout-hydra
  namespace: $NS
  ownerReferences:
  - {apiVersion: hydra.ory.sh/v1alpha1, kind: OAuth2Client, name: checkout, uid: 6d0f1a5e-0000-4000-8000-000000000000}
stringData: {CLIENT_ID: $ID, CLIENT_SECRET: $OLD, theirs: kept}
---
apiVersion: hydra.ory.sh/v1alpha1
kind: OAuth2Client
metadata: {name: checkout, namespace: $NS}
spec:
  grantTypes: [client_credentials]
  scopeArray: [orders:read]
  audience: [https://orders.$NS.svc]
  secretName: checkout-hydra
";

fn migrate(args: &[&str]) -> Output {
    countersign().args(["migrate", "hydra"]).args(args).output().expect("run countersign")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a line as a shell would, with kubectl that of the tests.
fn shell(line: &str, testbed: &Testbed, folder: &Path) {
    let tools = root().join(".cache/tools");
    let path = format!("{}:{}", tools.display(), env!("PATH"));
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("PATH", path).env("KUBECONFIG", testbed.kubeconfig()).env("HOME", folder);
    let output = command.output().expect("run a shell");
    assert!(output.status.success(), "{line}: {}", text(&output.stderr));
}

#[tokio::test]
async fn a_client_of_hydra_moves_and_its_old_secret_still_gets_tokens() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &QUICK);
    let tenant = Tenant::new(&testbed, &installation).await;
    let (_controller, issuer) = (installation.start(Role::Controller).await, installation.start(Role::Issuer).await);
    let namespace = &tenant.namespace;
    let hydra = HYDRA.replace("$NS", namespace).replace("$ID", ID).replace("$OLD", OLD);
    let (secret, _) = hydra.split_once("---\n").unwrap();
    installation.kubectl.apply(secret);

    let folder = Scratch::new("migrate");
    let file = folder.join("hydra.yaml");
    fs::write(&file, &hydra).unwrap();
    let issuer_name = format!("--issuer-name={}", installation.issuer_name);
    let file = file.to_str().unwrap();
    let printed = migrate(&[file, &issuer_name]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let manifests = folder.join("countersign.yaml");
    fs::write(&manifests, &printed.stdout).unwrap();
    let checked = countersign().args(["check", &issuer_name]).arg(&manifests).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stdout));

    let told: Value = serde_json::from_slice(&migrate(&[file, &issuer_name, "-o", "json"]).stdout).unwrap();
    installation.kubectl.must(&["apply", "--server-side", "-f", manifests.to_str().unwrap()]);
    let look = async || tenant.reason("checkout", "Ready");
    await_condition("the Secret to be left alone until it may be had", SOON, look, |reason| reason == "SecretNotOwned")
        .await;
    for command in told["commands"].as_array().expect("commands") {
        let command = command.as_str().unwrap();
        assert!(text(&printed.stdout).contains(&format!("# {command}\n")), "the same is told above the client");
        shell(command, &testbed, &folder);
    }
    // A Secret that is not ours is looked at twice a minute.
    tenant.run(&["wait", "--for=condition=Ready", "--timeout=45s", "oac/checkout"]);

    let value = |key: &str| installation.secret_value(namespace, "checkout-hydra", key);
    assert_eq!((value("CLIENT_ID").as_str(), value("theirs").as_str()), (ID, "kept"));
    assert_ne!(value("CLIENT_SECRET"), OLD, "the Secret holds a value of ours");
    assert_eq!(tenant.field("secret/checkout-hydra", ".metadata.ownerReferences"), "");
    for secret in [OLD.to_owned(), value("CLIENT_SECRET")] {
        let look = async || token(issuer.issuer, ID, &secret).await;
        let answer = await_condition("a token", SOON, look, |answer| answer.status == 200).await;
        assert_eq!(answer.json()["scope"], "orders:read");
    }
    assert_eq!(token(issuer.issuer, ID, "another").await.status, 401);
}

#[test]
fn the_exit_code_says_whether_somebody_has_to_decide() {
    let folder = Scratch::new("migrate");
    let write = |name: &str, text: &str| -> PathBuf {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let good = HYDRA.replace("$NS", "shop").replace("$ID", ID).replace("$OLD", OLD);
    let whole = write("whole.yaml", &good);
    let lost = write("lost.yaml", &good.replace("[client_credentials]", "[client_credentials, implicit]"));
    let garbage = write("garbage.yaml", "a: [\n");
    for (args, code, told) in [
        (vec![whole.to_str().unwrap()], 0, "1 of 1 clients printed, 0 problems, 0 notes"),
        (
            vec![lost.to_str().unwrap()],
            1,
            "lost.yaml:14: spec.grantTypes[1]\n  problem NotImplemented in OAuth2Client shop/checkout",
        ),
        (vec![garbage.to_str().unwrap()], 1, "garbage.yaml:1: a\n  problem Invalid"),
        (vec![whole.to_str().unwrap(), "--resource-server=orders"], 2, "must be AUDIENCE=NAMESPACE/SERVICE"),
        (vec!["/nowhere"], 2, "there is no such file or folder"),
        (vec![], 2, "--help"),
    ] {
        let output = migrate(&args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(told), "{args:?}: {said}");
        assert!(!said.contains(OLD) && !text(&output.stdout).contains(OLD), "{args:?}");
    }
}
