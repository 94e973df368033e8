//! Manifests and what is said of them.

use std::path::PathBuf;

use clap::Parser as _;
use jiff::Timestamp;

use super::findings::{Report, Severity};
use super::{Check, print};
use crate::cli::colour::Colour;
use crate::cli::manifests::World;

const POLICY: &str = "\
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: orders, namespace: shop}
spec:
  audience: https://orders.shop.svc
  targetRefs:
  - {group: \"\", kind: Service, name: orders}
  scopes:
  - {name: read}
  - {name: write}
  grants:
  - scopes: [read]
    to:
    - {namespaces: Same}
  rules:
  - name: read-one
    matches:
    - methods: [GET]
      path: {type: Template, value: \"/orders/{id}\"}
    protection: Scoped
    allow:
    - scopes: [read]
";

const CLIENT: &str = "\
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: checkout, namespace: shop}
spec:
  access:
  - audience: https://orders.shop.svc
    scopes: [read]
";

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    check: Check,
}

fn report(texts: &[&str]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let mut line = vec!["check".to_owned()];
    for (number, text) in texts.iter().enumerate() {
        let path = folder.path().join(format!("{number}.yaml"));
        std::fs::write(&path, text).unwrap();
        line.push(path.display().to_string());
    }
    let check = Line::try_parse_from(line).unwrap().check;
    let world = World::read(&check.paths, &check.premises, Timestamp::UNIX_EPOCH, super::Flawed::Judged).unwrap();
    Report::of(&world, &check.premises)
}

/// `problem 0.yaml:5 spec.access[0].scopes UnknownScope`, one a finding.
fn found(texts: &[&str]) -> Vec<String> {
    let report = report(texts);
    let line = |finding: &super::findings::Finding| {
        let severity = if finding.severity == Severity::Problem { "problem" } else { "note" };
        let file = PathBuf::from(finding.place.file.file_name().unwrap());
        format!("{severity} {}:{} {} {}", file.display(), finding.place.line, finding.field, finding.reason)
    };
    report.findings.iter().map(line).collect()
}

#[test]
fn manifests_with_nothing_wrong_have_nothing_said_of_them() {
    let report = report(&[POLICY, CLIENT]);
    assert_eq!(report.findings, []);
    assert_eq!(
        print::text(&report, 100, Colour::none()),
        "0 problems, 0 notes in 2 files (1 OAuthClient, 1 ScopePolicy, 1 rule)"
    );
}

#[test]
fn each_problem_names_its_line_and_field() {
    let policy = |from: &str, to: &str| {
        assert!(POLICY.contains(from), "{from}");
        POLICY.replacen(from, to, 1)
    };
    for (text, expected) in [
        (policy("audience: https", "audiense: x\n  audience: https"), "problem 0.yaml:5 spec.audiense Invalid"),
        (policy("protection: Scoped", "protection: Scopd"), "problem 0.yaml:20 spec.rules[0].protection Invalid"),
        (
            policy("    - scopes: [read]\n", "    - scopes: [raed]\n"),
            "problem 0.yaml:22 spec.rules[0].allow[0].scopes UnknownScope",
        ),
        (
            policy("scopes: [read]\n    to", "scopes: [raed]\n    to"),
            "problem 0.yaml:12 spec.grants[0].scopes UnknownScope",
        ),
        (policy("namespaces: Same", "client: shop.chekout"), "note 0.yaml:14 spec.grants[0].to[0] NoGrantee"),
        (
            policy("  grants:", "  resourceServers: [shop.chekout]\n  grants:"),
            "note 0.yaml:11 spec.resourceServers[0] NeverExchanges",
        ),
        (policy("https://orders.shop.svc", "https://orders.web.svc"), "problem 0.yaml:5 spec.audience NotAllowed"),
        (policy("name: orders}", "name: orders}\n  mode: Shadow"), "note 0.yaml:8 spec.mode NotEnforcing"),
    ] {
        assert_eq!(found(&[&text]), [expected]);
    }
}

#[test]
fn a_condition_that_does_not_compile_is_named_where_it_stands() {
    let text = POLICY.replace("    - scopes: [read]\n", "    - scopes: [read]\n      when: token.sub ==\n");
    assert_eq!(found(&[&text]), ["problem 0.yaml:23 spec.rules[0].allow[0].when InvalidCondition"]);
}

#[test]
fn a_client_that_can_never_exchange_a_token_is_noted_until_a_policy_names_it() {
    let client = CLIENT.replace("spec:\n", "spec:\n  grantTypes: [TokenExchange]\n");
    assert_eq!(found(&[POLICY, &client]), ["note 1.yaml:5 spec.grantTypes[0] NeverExchanges"]);
    let policy = POLICY.replace("  grants:", "  resourceServers: [shop.checkout]\n  grants:");
    assert_eq!(found(&[&policy, &client]), Vec::<String>::new());
    assert_eq!(found(&[&policy, CLIENT]), ["note 0.yaml:11 spec.resourceServers[0] NeverExchanges"]);
}

#[test]
fn what_a_client_is_not_granted_is_told_apart() {
    let client = |scope: &str| CLIENT.replace("[read]", &format!("[{scope}]"));
    let at = |reason: &str| vec![format!("problem 1.yaml:7 spec.access[0].scopes {reason}")];
    assert_eq!(found(&[POLICY, &client("raed")]), at("UnknownScope"));
    assert_eq!(found(&[POLICY, &client("write")]), at("NotGranted"));
    let elsewhere = CLIENT.replace("orders.shop.svc", "carts.shop.svc");
    assert_eq!(found(&[POLICY, &elsewhere]), ["problem 1.yaml:6 spec.access[0].audience UnknownAudience"]);
    assert_eq!(
        found(&[CLIENT]),
        ["note 0.yaml:6 spec.access[0].audience UnknownAudience"],
        "its policy may lie elsewhere"
    );
}

#[test]
fn a_host_claimed_by_two_namespaces_is_a_problem_of_both() {
    let allow = "\
apiVersion: countersign.dev/v1alpha1
kind: NamespaceAllowance
metadata: {name: all}
spec: {namespaceSelector: {}, hosts: [api.example.com]}
";
    let claim = |namespace: &str| {
        POLICY.replace("shop", namespace).replace("  scopes:\n", "  routes: [{hosts: [api.example.com]}]\n  scopes:\n")
    };
    let found = found(&[allow, &claim("shop"), &claim("web")]);
    assert_eq!(
        found,
        ["problem 1.yaml:8 spec.routes[0].hosts[0] Conflict", "problem 2.yaml:8 spec.routes[0].hosts[0] Conflict"]
    );
}

#[test]
fn two_clients_of_one_secret_and_objects_written_twice_are_problems() {
    let other = CLIENT.replace("name: checkout", "name: cart").replace(
        "spec:\n",
        "spec:\n  authentication: {methods: [{type: ClientSecret, secret: {name: checkout-oauth}}]}\n",
    );
    assert_eq!(
        found(&[POLICY, CLIENT, &other]),
        [
            "problem 1.yaml:4 spec.authentication SecretNameConflict",
            "problem 2.yaml:5 spec.authentication SecretNameConflict"
        ]
    );
    assert_eq!(found(&[CLIENT, POLICY, CLIENT]), ["problem 2.yaml:3 metadata.name Invalid"]);
}

#[test]
fn a_ring_in_another_namespace_or_with_impossible_times_is_a_problem() {
    let ring = |namespace: &str, period: &str| {
        format!(
            "apiVersion: countersign.dev/v1alpha1\nkind: SigningKey\nmetadata: {{name: default, namespace: {namespace}}}\nspec:\n  rotation: {{period: {period}}}\n"
        )
    };
    assert_eq!(found(&[&ring("countersign-system", "720h")]), Vec::<String>::new());
    assert_eq!(found(&[&ring("shop", "720h")]), ["problem 0.yaml:3 metadata.namespace Invalid"]);
    assert_eq!(found(&[&ring("countersign-system", "90m")]), ["problem 0.yaml:5 spec.rotation TimingsRefused"]);
}

#[test]
fn every_finding_says_what_to_do_next() {
    let texts = [POLICY.replace("[read]", "[raed]"), CLIENT.replace("[read]", "[raed]"), "a: [".to_owned()];
    let report = report(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(report.findings.len() >= 4);
    let silent: Vec<_> = report.findings.iter().filter(|finding| finding.next.is_empty()).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn text_begins_with_what_editors_look_for_and_json_has_each_part() {
    let report = report(&[POLICY, &CLIENT.replace("[read]", "[raed]")]);
    let text = print::text(&report, 100, Colour::none());
    let file = report.findings[0].place.file.display().to_string();
    assert_eq!(
        text,
        format!(
            "{file}:7: spec.access[0].scopes\n  problem UnknownScope in OAuthClient shop/checkout: \
             https://orders.shop.svc defines no scope raed; there are read, write\n  \
             next: correct the name, or add it to `spec.scopes` there\n\n\
             1 problem, 0 notes in 2 files (1 OAuthClient, 1 ScopePolicy, 1 rule)"
        )
    );
    let json = print::json(&report, 100);
    assert_eq!(json["summary"]["problems"], 1);
    assert_eq!(
        json["problems"][0],
        serde_json::json!({
            "file": file, "line": 7, "kind": "OAuthClient", "namespace": "shop", "name": "checkout",
            "field": "spec.access[0].scopes", "reason": "UnknownScope",
            "message": "https://orders.shop.svc defines no scope raed; there are read, write",
            "next": "correct the name, or add it to `spec.scopes` there"
        })
    );
}

#[test]
fn objects_of_others_are_passed_over_and_counted() {
    let foreign = CLIENT.replace("spec:\n", "spec:\n  issuer: other\n");
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
    let report = report(&[&foreign, deployment]);
    assert_eq!((report.findings.len(), report.others, report.foreign), (0, 1, 1));
}

#[test]
fn beyond_a_number_problems_are_counted_and_not_printed() {
    let bad = "---\na: b\n".repeat(250);
    let report = report(&[&bad]);
    let text = print::text(&report, 100, Colour::none());
    assert_eq!(text.matches("apiVersion and kind are missing").count(), 100);
    assert!(
        text.ends_with(
            "\n… and 150 more problems: --limit COUNT prints as many\n\n250 problems, 0 notes in 1 file (no object of \
             Countersign's)"
        ),
        "{text}"
    );
    let json = print::json(&report, 100);
    let (summary, problems) = (&json["summary"], json["problems"].as_array().unwrap().len());
    assert_eq!((&summary["problems"], &summary["moreProblems"], problems), (&250.into(), &150.into(), 100));
    assert_eq!((&summary["moreNotes"], json["notes"].as_array().unwrap().len()), (&0.into(), 0));
    assert!(!print::text(&report, 250, Colour::none()).contains("more"));
}

#[test]
fn a_person_is_told_a_hundred_problems_and_a_program_all_unless_it_says_how_many() {
    for (words, limit) in [("", 100), ("-o json", usize::MAX), ("--limit 3", 3), ("-o json --limit 3", 3)] {
        let line = ["check", "."].into_iter().chain(words.split_whitespace());
        assert_eq!(Line::try_parse_from(line).unwrap().check.limit(), limit, "{words:?}");
    }
}

/// What is printed names no object that nobody makes, unless it says how to make it; `docs/tls.md` names what there is.
#[test]
fn wiring_says_where_the_authorities_of_the_verifier_are() {
    for (whom, namespace) in [(super::Whom::Traefik, "shop"), (super::Whom::Istio, "NAMESPACE-OF-THE-GATEWAY")] {
        let (text, _) = wiring(POLICY, whom);
        for line in [
            "#   kubectl -n countersign-system get configmap ca-bundle -o jsonpath='{.data.ca\\.crt}' |\n",
            &format!(
                "#   kubectl -n {namespace} create secret generic countersign-verifier-ca --from-file=ca.crt=/dev/stdin"
            ),
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}

/// What is printed for a gateway, as YAML documents.
fn wiring(policy: &str, whom: super::Whom) -> (String, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy).unwrap();
    let check = Line::try_parse_from(["check".to_owned(), path.display().to_string()]).unwrap().check;
    let world = World::read(&check.paths, &check.premises, Timestamp::UNIX_EPOCH, super::Flawed::Judged).unwrap();
    let verifier = check.verifier.value(&check.premises.system_namespace, check.premises.cluster_domain());
    let text = super::wiring::text(&world, whom, (&verifier, &check.premises.system_namespace)).unwrap();
    let documents = text.split("---\n").filter(|text| text.lines().any(|line| !line.starts_with('#')));
    let read = documents.map(|text| serde_saphyr::from_str(text).unwrap()).collect();
    (text, read)
}

#[test]
fn wiring_names_the_policy_and_the_verifier_for_each_gateway() {
    use super::Whom;
    let targets = "  targetRefs:\n  - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: orders}\n  \
                   - {group: gateway.networking.k8s.io, kind: Gateway, name: mesh}\n  - {group: \"\", kind: Service, name: orders}\n";
    let (before, after) = POLICY.split_once("  targetRefs:\n").unwrap();
    let rest: Vec<_> = after.lines().skip_while(|line| line.starts_with("  -")).collect();
    let rest = rest.join("\n");
    let policy = format!("{before}{targets}{rest}");
    let kinds = |documents: &[serde_json::Value]| -> Vec<String> {
        documents.iter().map(|document| document["kind"].as_str().unwrap_or("-").to_owned()).collect()
    };
    let service = "countersign-verifier.countersign-system.svc.cluster.local:9002";
    for (whom, wanted, holds) in [
        (
            Whom::EnvoyGateway,
            vec!["ReferenceGrant", "SecurityPolicy", "SecurityPolicy"],
            "value: shop/orders".to_owned(),
        ),
        (
            Whom::Istio,
            vec!["DestinationRule", "AuthorizationPolicy", "AuthorizationPolicy"],
            "pathPrefix: /ext-authz/policy/shop/orders".to_owned(),
        ),
        (Whom::Traefik, vec!["Middleware"], format!("https://{service}/forward-auth/shop/orders")),
        (Whom::IngressNginx, vec!["-"], format!("https://{service}/auth-request/shop/orders")),
        (Whom::ExternalAuth, vec!["-", "ReferenceGrant"], "path: /ext-authz/policy/shop/orders".to_owned()),
    ] {
        let (text, documents) = wiring(&policy, whom);
        assert_eq!(kinds(&documents), wanted, "{text}");
        assert!(text.contains(&holds) && !text.contains("failOpen: true"), "{text}");
    }
    let (text, documents) = wiring(&policy, Whom::Istio);
    let name = "countersign-verifier.countersign-system.svc";
    let tls = serde_json::json!({
        "mode": "SIMPLE", "sni": name, "subjectAltNames": [name], "credentialName": "countersign-verifier-ca",
    });
    let ports = &documents[0]["spec"]["trafficPolicy"]["portLevelSettings"];
    assert_eq!(*ports, serde_json::json!([{"port": {"number": 9002}, "tls": tls}]), "{text}");
    let (text, documents) = wiring(POLICY, Whom::EnvoyGateway);
    assert!(documents.is_empty() && text.contains("name an HTTPRoute or a Gateway"), "{text}");
}
