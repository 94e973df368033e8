//! Agents by annotation, on a real API server: who asks gets one, others are left alone, and without the webhook who asks waits.

use super::Bed;
use crate::support::await_condition;
use crate::support::installation::Installation;
use crate::support::orders::client;
use crate::support::root;
use crate::support::scratch::Scratch;
use crate::support::tenant::SOON;
use crate::support::testbed::Testbed;
use serde_json::{Value, json};

const AGENT: &str = "--agent-image=registry.example.com/countersign:test";
const ACCOUNT: &str = "  authentication: {methods: [{type: ServiceAccount, serviceAccounts: [{name: storefront}]}]}\n";

/// Applies what deploy/ has for the API server, as this installation's.
pub(super) fn configure(installation: &Installation, address: &str) {
    let manifest = std::fs::read_to_string(root().join("deploy/injection.yaml")).unwrap();
    let service = "service: {name: countersign-admission, namespace: countersign-system, path: /inject, port: 443}";
    assert_eq!(manifest.matches(service).count(), 1);
    let manifest = manifest
        .replace(service, &format!("url: https://{address}/inject"))
        .replace("countersign-", installation.webhook().strip_suffix("admission").unwrap())
        .replace("orValue('default') == 'default'", &format!("orValue('default') == '{}'", installation.issuer_name));
    installation.kubectl.apply(&manifest);
}

/// A pod of the standard `restricted`, which says this in its annotations.
fn pod(namespace: &str, name: &str, annotations: &Value) -> Value {
    let least = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {
            "serviceAccountName": "storefront",
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "app", "image": "app", "securityContext": least}],
        },
    })
}

impl Bed<'_> {
    /// A pod of this tenant that asks, and says this besides.
    fn asking(&self, name: &str, more: &Value) -> Value {
        let issuer = &self.tenant.installation.issuer_name;
        let mut annotations = json!({"countersign.dev/inject-agent": "storefront", "countersign.dev/issuer": issuer});
        annotations.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pod(&self.tenant.namespace, name, &annotations)
    }

    /// The pod the API server makes of this one, or what it says; and its warnings.
    fn create(&self, pod: &Value, flags: &[&str]) -> (Result<Value, String>, String) {
        let folder = Scratch::new("pod");
        let file = folder.join("pod.json");
        std::fs::write(&file, pod.to_string()).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let output = self.kubectl().run(&[&["create", "-o", "json", "-f", &file], flags].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let made = if output.status.success() { serde_json::from_slice(&output.stdout).unwrap() } else { Value::Null };
        (if made.is_null() { Err(said.clone()) } else { Ok(made) }, said)
    }

    /// A namespace for restricted pods that run as `storefront`.
    fn furnish(&self, namespace: &str) {
        let label = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl().must(&["label", "namespace", namespace, label]);
        self.kubectl().must(&["create", "serviceaccount", "storefront", "-n", namespace]);
    }

    /// Whom the API server trusts by a configuration, or by the bundle itself.
    fn trusted(&self, kind: &str) -> String {
        let name = self.tenant.installation.webhook();
        let path = "go-template={{range .webhooks}}{{or .clientConfig.caBundle \"\" | base64decode}}{{break}}{{end}}";
        self.kubectl().must(&["get", kind, &name, "-o", path])
    }
}

/// The names in a list of the pod's spec.
fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let list = pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|each| each["name"].as_str().unwrap()).collect()
}

const DRY: &str = "--dry-run=server";

fn is_injected(made: &Result<Value, String>) -> bool {
    made.as_ref().is_ok_and(|pod| names(pod, "initContainers") == ["countersign-agent"])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_gets_an_agent_and_without_the_webhook_waits_while_others_start() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &["--clock-skew=1s"]).with_generated_certificates();
    let mut bed = Bed::with(&testbed, &installation, "Ignore", &[AGENT]).await;
    for namespace in [&bed.tenant.namespace, &installation.system_namespace()] {
        bed.furnish(namespace);
    }
    let asking = async || is_injected(&bed.create(&bed.asking("storefront", &json!({})), &[DRY]).0);
    await_condition("a pod with an agent", SOON, asking, |made| *made).await;

    // Nobody has made the client yet: the pod is taken, and told what it waits for.
    let (made, said) = bed.create(&bed.asking("early", &json!({})), &[]);
    assert!(is_injected(&made) && said.contains("there is no OAuthClient"), "{said}");
    bed.tenant.apply(&client("storefront", ACCOUNT));
    let quiet = async || bed.create(&bed.asking("storefront", &json!({})), &[DRY]).1;
    await_condition("nothing to warn of", SOON, quiet, String::is_empty).await;

    what_is_stored_is_what_was_asked_for(&bed);
    so_is_the_example(&bed);
    let others = others_are_left_alone(&bed);
    let (refused, _) = bed.create(&bed.asking("bad", &json!({"countersign.dev/agent-port": "80"})), &[DRY]);
    let refused = refused.unwrap_err();
    let told = "denied the request: annotation countersign.dev/agent-port: write a port from 1024 to 65535";
    assert!(refused.contains(told), "{refused}");

    // Away: who asks is not created without, and told why; others start.
    bed.admission.process.kill().await;
    let (made, said) = bed.create(&bed.asking("later", &json!({})), &[DRY]);
    assert!(made.is_err() && said.contains("failed calling webhook \"agents.countersign.dev\""), "{said}");
    for other in &others {
        assert!(bed.create(other, &[DRY]).0.is_ok(), "{other}");
    }
}

/// The pod passes the standard `restricted`; a copy of it, as `kubectl get -o yaml` prints it, has its agent already.
fn what_is_stored_is_what_was_asked_for(bed: &Bed<'_>) {
    let more = json!({"countersign.dev/agent-tokens": "orders=https://orders.shop.svc orders:read"});
    let made = bed.create(&bed.asking("storefront", &more), &[]).0.unwrap();
    let agent = &made["spec"]["initContainers"][0];
    assert_eq!(
        (names(&made, "initContainers"), &agent["image"], &agent["restartPolicy"]),
        (vec!["countersign-agent"], &json!("registry.example.com/countersign:test"), &json!("Always"))
    );
    let token = &made["spec"]["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"];
    let url = bed.tenant.installation.issuer_url();
    assert_eq!((&token["audience"], &token["expirationSeconds"]), (&json!(url), &json!(3600)), "{made}");
    assert_eq!(names(&made, "volumes"), ["countersign-tokens", "countersign-client", "countersign-assertion"]);
    let mounts = &made["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(mounts[0]["mountPath"], "/var/run/secrets/countersign.dev", "{mounts}");

    let annotations = &made["metadata"]["annotations"];
    let metadata = json!({"name": "copy", "namespace": bed.tenant.namespace, "annotations": annotations});
    let copy = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made["spec"]});
    assert_eq!(bed.create(&copy, &[DRY]).0.unwrap()["spec"], made["spec"]);
}

/// The pod of the example's Deployment gets an agent by its one annotation.
fn so_is_the_example(bed: &Bed<'_>) {
    let (namespace, issuer) = (&bed.tenant.namespace, &bed.tenant.installation.issuer_name);
    let example = std::fs::read_to_string(root().join("examples/injected-agent/2-caller.yaml")).unwrap();
    bed.tenant.run(&["create", "serviceaccount", "kiosk"]);
    bed.kubectl().apply(&example.replace("namespace: shop", &format!("namespace: {namespace}")));
    let deployment: Value =
        serde_json::from_str(&bed.tenant.run(&["get", "deployment", "kiosk", "-o", "json"])).unwrap();
    let mut template = deployment["spec"]["template"].clone();
    let annotations = template["metadata"]["annotations"].as_object_mut().unwrap();
    assert_eq!(annotations.len(), 1);
    annotations.insert("countersign.dev/issuer".to_owned(), issuer.clone().into());
    let metadata = json!({"name": "kiosk", "namespace": namespace, "annotations": annotations});
    let kiosk = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    let made = bed.create(&kiosk, &[DRY]).0;
    assert!(is_injected(&made), "{made:?}");
}

/// Pods that ask for nothing, ask another installation, or ask where nobody is asked.
fn others_are_left_alone(bed: &Bed<'_>) -> [Value; 3] {
    let installation = bed.tenant.installation;
    let elsewhere = json!({"countersign.dev/inject-agent": "storefront", "countersign.dev/issuer": "another"});
    let asking = bed.asking("x", &json!({}));
    let others = [
        pod(&bed.tenant.namespace, "plain", &Value::Null),
        pod(&bed.tenant.namespace, "another", &elsewhere),
        pod(&installation.system_namespace(), "excluded", &asking["metadata"]["annotations"]),
    ];
    for other in &others {
        let made = bed.create(other, &[DRY]).0.unwrap();
        assert_eq!((names(&made, "initContainers"), names(&made, "volumes")), (vec![], vec![]), "{other}");
    }
    others
}

#[tokio::test(flavor = "multi_thread")]
async fn both_configurations_are_told_of_a_new_authority() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &["--clock-skew=1s"]).with_generated_certificates();
    let bed = Bed::with(&testbed, &installation, "Ignore", &[AGENT]).await;
    let kinds = ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"];
    let look = async || kinds.map(|kind| bed.trusted(kind).matches("BEGIN CERTIFICATE").count());
    await_condition("one authority", SOON, look, |held| *held == [1, 1]).await;
    let at = format!("countersign.dev/rotate-at={}", crate::support::standalone::now());
    let system = installation.system_namespace();
    bed.kubectl().must(&["annotate", "configmap", "ca-bundle", "-n", &system, &at]);
    await_condition("the next one beside it", SOON, look, |held| *held == [2, 2]).await;
    let [validating, mutating] = kinds.map(|kind| bed.trusted(kind));
    assert_eq!(validating, mutating);
}
