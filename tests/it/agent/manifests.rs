//! The manifests of `examples/envoy-agent` at a real API server: taken, and their pods pass the restricted standard.

use crate::support::kubectl::Kubectl;
use crate::support::testbed::Testbed;
use crate::support::{root, tool};
use serde_json::{Value, json};
use std::process::Command;

fn rendered() -> String {
    let folder = root().join("examples/envoy-agent");
    let output = Command::new(tool("kubectl")).arg("kustomize").arg(folder).output().expect("run kubectl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What a Deployment would make, under its own name.
fn pod(kubectl: &Kubectl, namespace: &str, deployment: &str) -> Value {
    let object = kubectl.must(&["get", "deployment", deployment, "-n", namespace, "-o", "json"]);
    let object: Value = serde_json::from_str(&object).expect("an object");
    let spec = object["spec"]["template"]["spec"].clone();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": deployment, "namespace": namespace}, "spec": spec})
}

#[tokio::test]
async fn the_examples_are_taken_by_a_cluster_and_their_pods_are_restricted() {
    let testbed = Testbed::shared();
    testbed.apply_crds();
    let (kubectl, namespace) = (Kubectl::new(&testbed), testbed.namespace("example").await);
    let label = "pod-security.kubernetes.io/enforce=restricted";
    kubectl.must(&["label", "namespace", &namespace, label]);
    kubectl.must(&["create", "serviceaccount", "default", "-n", &namespace]);
    let manifests = rendered().replace("namespace: shop", &format!("namespace: {namespace}"));
    kubectl.apply(&manifests);
    for deployment in ["storefront", "orders"] {
        let mut pod = pod(&kubectl, &namespace, deployment);
        let sidecars = pod["spec"]["initContainers"].as_array().expect("sidecars").clone();
        assert!(sidecars.iter().all(|sidecar| sidecar["restartPolicy"] == "Always"), "{sidecars:?}");
        kubectl.apply(&pod.to_string());
        // The test can fail: one right more, and the API server refuses.
        pod["metadata"]["name"] = json!("other");
        pod["spec"]["initContainers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let file = crate::support::scratch::Scratch::new("pod");
        std::fs::write(file.join("pod.json"), pod.to_string()).unwrap();
        let said = kubectl.refused(&["create", "-f", file.join("pod.json").to_str().unwrap()]);
        assert!(said.contains("violates PodSecurity"), "{said}");
    }
}

#[test]
fn the_program_itself_cannot_read_the_tokens() {
    let deployment = rendered();
    let storefront = deployment
        .split("---\n")
        .find(|text| text.contains("kind: Deployment\n") && text.contains("name: storefront\n"));
    let (program, _) = storefront.unwrap().split_once("initContainers:").unwrap();
    assert!(program.contains("- command:") && !program.contains("volumeMounts"), "{program}");
}
