//! The custom resource definitions on the real API server: accepted without a warning, cheap enough to judge, helpful
//! when they refuse, and a manual when asked.

pub mod cases;

use cases::{ACCEPTED, REFUSED, SCHEMA_PHRASES, STATUSES};
use countersign_api::violations;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::kubectl::Kubectl;
use crate::support::root;
use crate::support::scratch::Scratch;
use crate::support::testbed::Testbed;

#[test]
fn definitions_are_accepted_without_a_warning() {
    let testbed = Testbed::shared();
    testbed.apply_crds();
    let crds = root().join("crds");
    let applied = Kubectl::new(&testbed).run(&["apply", "--server-side", "-f", crds.to_str().unwrap()]);
    assert_eq!((applied.status.success(), String::from_utf8_lossy(&applied.stderr).as_ref()), (true, ""));
}

#[tokio::test]
async fn what_a_person_may_write_is_accepted() {
    let cluster = Cluster::new().await;
    for (kind, spec) in ACCEPTED {
        let answer = cluster.apply(kind, "accepted", spec).await;
        assert!(answer.is_ok(), "{kind} {spec}: {}", answer.unwrap_err());
        assert_eq!(violations(kind, &json!({"spec": read(spec)})), [], "{kind} {spec}: refused offline");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_a_word_on_what_to_write() {
    let cluster = Cluster::new().await;
    for (kind, spec, phrase) in REFUSED {
        match cluster.apply(kind, "refused", spec).await {
            Ok(()) => panic!("{kind} {spec} was accepted"),
            Err(said) => assert!(said.contains(phrase), "{kind} {spec}: {said}"),
        }
        let offline = violations(kind, &json!({"spec": read(spec)}));
        assert!(!offline.is_empty() || !SCHEMA_PHRASES.contains(phrase), "{kind} {spec} is accepted offline");
    }
}

#[tokio::test]
async fn identity_never_changes() {
    let cluster = Cluster::new().await;
    for (kind, before, after, phrase) in [
        ("OAuthClient", "{clientId: a}", "{clientId: b}", "clientId cannot change"),
        ("OAuthClient", "{clientId: a}", "{}", "clientId cannot change"),
        ("OAuthClient", "{}", "{clientId: a}", "clientId cannot change"),
        ("OAuthClient", "{}", "{issuer: other}", "issuer cannot change"),
        (
            "ScopePolicy",
            "{audience: 'https://a.b'}",
            "{audience: 'https://a.b', issuer: other}",
            "issuer cannot change",
        ),
        ("SigningKey", "{issuer: one}", "{issuer: other}", "issuer cannot change"),
    ] {
        let name = format!("identity-{}", before.len() * 100 + after.len());
        cluster.store(kind, &name, before).await.unwrap();
        let said = cluster.store(kind, &name, after).await.expect_err(after);
        assert!(said.contains(phrase), "{kind} {before} {after}: {said}");
        cluster.store(kind, &name, before).await.unwrap();
    }
}

#[tokio::test]
async fn a_clients_name_leaves_room_for_its_secrets() {
    let cluster = Cluster::new().await;
    cluster.apply("OAuthClient", &"a".repeat(200), "{}").await.unwrap();
    let said = cluster.apply("OAuthClient", &"a".repeat(201), "{}").await.unwrap_err();
    assert!(said.contains("at most 200 characters"), "{said}");
}

#[tokio::test]
async fn nothing_but_the_issuer_is_filled_in_below_a_list() {
    let cluster = Cluster::new().await;
    let rules =
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Exact, value: /}}], protection: Public}]}";
    cluster.store("ScopePolicy", "defaults", rules).await.unwrap();
    let stored = cluster.api("ScopePolicy").get("defaults").await.unwrap();
    let spec = &stored.data["spec"];
    assert_eq!(
        spec["rules"],
        json!([{"name": "a", "matches": [{"path": {"type": "Exact", "value": "/"}}], "protection": "Public"}])
    );
    assert_eq!(
        (&spec["issuer"], &spec["mode"], &spec["unmatched"]),
        (&json!("default"), &json!("Enforce"), &json!("Deny"))
    );
}

#[tokio::test]
async fn what_the_controller_reports_is_accepted_and_read_back_whole() {
    let cluster = Cluster::new().await;
    for (kind, spec, status) in STATUSES {
        cluster.store(kind, "status", spec).await.unwrap();
        let name = format!("{}/v1alpha1", countersign_api::GROUP);
        let object = json!({"apiVersion": name, "kind": kind, "metadata": {"name": "status"}, "status": read(status)});
        let mut how = PatchParams::apply("crds-test-status");
        how.field_validation = Some(ValidationDirective::Strict);
        let stored = cluster.api(kind).patch_status("status", &how, &Patch::Apply(&object)).await;
        assert_eq!(stored.unwrap().data["status"], read(status), "{kind}");
    }
}

#[test]
fn explain_reads_as_a_manual() {
    let testbed = Testbed::shared();
    testbed.apply_crds();
    let kubectl = Kubectl::new(&testbed);
    for (path, phrases) in [
        (
            "oauthclient.spec",
            ["Default `<namespace>.<name>`", "enum: Active, Suspended", "NamespaceAllowance"].as_slice(),
        ),
        ("oac.spec.authentication.methods.secret.rotation", &["Default `168h`", "such as `720h`"]),
        ("scp.spec.rules.allow", &["path.id == token.sub", "-required-"]),
        ("nsa.spec", &["*.orders.example.com"]),
        ("sgk.spec", &["revokedKeyIds", "`ES256` (default)"]),
    ] {
        let manual = kubectl.must(&["explain", path]);
        let unfolded = manual.split_whitespace().collect::<Vec<_>>().join(" ");
        for phrase in phrases {
            assert!(unfolded.contains(phrase), "{path} does not say {phrase:?}:\n{manual}");
        }
        assert!(!unfolded.contains("<empty>"), "{path} has a field without a description:\n{manual}");
    }
}

#[tokio::test]
async fn examples_apply_and_show_no_difference_afterwards() {
    let testbed = Testbed::shared();
    testbed.apply_crds();
    let mut namespaces = Vec::new();
    for name in ["shop", "store", "warehouse"] {
        namespaces.push((name, testbed.namespace(name).await));
    }
    let folder = Scratch::new("examples");
    let entries = ["examples/quickstart", "examples/token-exchange"]
        .map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    for entry in entries.into_iter().flatten().map(Result::unwrap) {
        let mut text = std::fs::read_to_string(entry.path()).unwrap();
        for (name, namespace) in &namespaces {
            for key in ["name", "namespace"] {
                text = text.replace(&format!("{key}: {name}\n"), &format!("{key}: {namespace}\n"));
            }
        }
        std::fs::write(folder.join(entry.file_name().into_string().unwrap()), text).unwrap();
    }
    let folder = folder.to_str().unwrap();
    let kubectl = Kubectl::new(&testbed);
    for how in [["apply", "-f", folder].as_slice(), &["apply", "--server-side", "--force-conflicts", "-f", folder]] {
        kubectl.must(how);
        kubectl.must(&["diff", "--server-side", "--force-conflicts", "-f", folder]);
    }
}

// === the cluster ===

struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    async fn new() -> Self {
        let testbed = Testbed::shared();
        testbed.apply_crds();
        Self { client: testbed.client().await, namespace: testbed.namespace("crds").await }
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let crds = countersign_api::crds().unwrap();
        let names = crds.into_iter().map(|crd| crd.spec.names).find(|names| names.kind == kind).unwrap();
        let resource = ApiResource {
            group: countersign_api::GROUP.to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: format!("{}/v1alpha1", countersign_api::GROUP),
            kind: names.kind,
            plural: names.plural,
        };
        if kind == "NamespaceAllowance" {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        }
    }

    /// Applies without storing.
    async fn apply(&self, kind: &str, name: &str, spec: &str) -> Result<(), String> {
        self.patch(kind, name, spec, true).await
    }

    async fn store(&self, kind: &str, name: &str, spec: &str) -> Result<(), String> {
        self.patch(kind, name, spec, false).await
    }

    async fn patch(&self, kind: &str, name: &str, spec: &str, dry_run: bool) -> Result<(), String> {
        let spec = read(spec);
        let object = json!({
            "apiVersion": format!("{}/v1alpha1", countersign_api::GROUP), "kind": kind, "metadata": {"name": name}, "spec": spec
        });
        let mut how = PatchParams::apply("crds-test");
        (how.dry_run, how.field_validation) = (dry_run, Some(ValidationDirective::Strict));
        self.api(kind).patch(name, &how, &Patch::Apply(&object)).await.map(drop).map_err(|error| error.to_string())
    }
}

fn read(spec: &str) -> Value {
    serde_saphyr::from_str(spec).unwrap()
}
