//! The admission webhook of the chart as it comes: it tells who writes an object what is wrong, and its absence keeps nobody from
//! writing one.

use crate::cluster::{Cluster, Namespace, until};
use crate::release::Release;
use crate::support::orders::{ORDERS, client, fill_in};
use crate::support::scratch::Scratch;
use crate::support::standalone::now;

const TWICE: &str = "
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: twice, namespace: $NS}
spec:
  issuer: $ISSUER
  audience: https://twice.$NS.svc
  targetRefs: [{group: '', kind: Service, name: twice}]
  rules:
  - {name: one, matches: [{methods: [GET], path: {type: Exact, value: /a}}], protection: Public}
  - {name: two, matches: [{methods: [GET], path: {type: Exact, value: /a}}], protection: Public}
";

/// What kubectl says to a manifest, and whether it is taken.
fn apply(release: &Release<'_>, shop: &Namespace<'_>, manifest: &str, flags: &[&str]) -> (bool, String) {
    let folder = Scratch::new("manifest");
    let file = folder.join("manifest.yaml");
    std::fs::write(&file, fill_in(manifest, &shop.name, &release.name, &release.system_namespace())).unwrap();
    let output = shop.kubectl.run(&[&["apply", "-f", file.to_str().unwrap()], flags].concat());
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_wrong_is_refused_and_without_the_webhook_all_can_be_written() {
    let cluster = Cluster::new();
    let release = Release::install(&cluster);
    let shop = cluster.namespace("shop");
    let dry = ["--dry-run=server"];

    // The API server asks as soon as the controller has told it whom to trust.
    until("the webhook is asked", || !apply(&release, &shop, TWICE, &dry).0);
    let (taken, said) = apply(&release, &shop, TWICE, &[]);
    assert!(!taken && said.contains("denied the request: spec.rules["), "{said}");
    assert!(said.contains("(AmbiguousRule): "), "{said}");
    eprintln!("kubectl apply says: {said}");
    let (taken, said) = apply(&release, &shop, &[ORDERS, &client("checkout", "")].concat(), &[]);
    assert!(taken, "{said}");
    shop.must(&["wait", "--for=condition=Ready", "--timeout=60s", "oac/checkout"]);
    let delete = ["delete", "signingkey", "default", "--namespace", &release.system_namespace()];
    let kept = |said: String| assert!(said.contains("annotate it countersign.dev/rotate-at=<now>"), "{said}");
    kept(cluster.kubectl.refused(&delete));

    // A new authority, and whoever asks is answered by its certificate or by the one before.
    let served = || release.must(&["get", "secret", "admission-certificate", "-o", r"jsonpath={.data.tls\.crt}"]);
    let first = served();
    let at = format!("countersign.dev/rotate-at={}", now());
    release.must(&["annotate", "--overwrite", "configmap/ca-bundle", &at]);
    until("the API server trusts the new one too", || {
        let (name, path) = (format!("{}-admission", release.name), "jsonpath={.webhooks[0].clientConfig.caBundle}");
        let bundle = cluster.kubectl.must(&["get", "validatingwebhookconfiguration", &name, "-o", path]);
        let bundle = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, bundle).expect("base64");
        let (taken, said) = apply(&release, &shop, TWICE, &dry);
        assert!(!taken && said.contains("(AmbiguousRule)"), "{said}");
        String::from_utf8_lossy(&bundle).matches("BEGIN CERTIFICATE").count() == 2
    });
    assert_eq!(served(), first, "nobody has known the new one for a day");

    release.must(&["scale", "--replicas=0", &release.deployment("admission")]);
    release.must(&["wait", "--for=delete", "--timeout=60s", "pod", "--selector=app.kubernetes.io/component=admission"]);
    let (taken, said) = apply(&release, &shop, &[TWICE, &client("another", "")].concat(), &[]);
    assert!(taken, "{said}");
    shop.must(&["wait", "--for=condition=Ready", "--timeout=60s", "oac/another"]);
    shop.must(&["delete", "scp/twice", "oac/another", "--timeout=60s"]);
    kept(cluster.kubectl.refused(&delete));
}
