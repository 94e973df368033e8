//! OAuth2Clients and what becomes of them.

use std::path::PathBuf;

use clap::Parser as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Hydra;
use super::fields::duration;
use crate::cli::check;
use crate::cli::colour::Colour;
use crate::cli::migrate::report::{Report, Severity};

const VALUE: &str = "tq3VbN0xk2LwZ8yRj5uHc7Df1G";

const CLIENT: &str = "\
apiVersion: hydra.ory.sh/v1alpha1
kind: OAuth2Client
metadata: {name: checkout, namespace: shop}
spec:
  grantTypes: [client_credentials]
  scope: orders:read orders:write
  audience: [https://orders.shop.svc]
  secretName: checkout-hydra
";

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    hydra: Hydra,
}

fn secret(id: &str, value: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: Secret
metadata: {{name: checkout-hydra, namespace: shop}}
stringData: {{CLIENT_ID: {id:?}, CLIENT_SECRET: {value:?}}}
"
    )
}

/// What is made of the texts, with more of the command line.
fn migrate(texts: &[&str], flags: &[&str]) -> Report {
    let line = Line::try_parse_from([&["hydra", "-"], flags].concat()).unwrap();
    let named = |(number, text): (usize, &&str)| (PathBuf::from(format!("{number}.yaml")), (*text).to_owned());
    let texts: Vec<_> = texts.iter().enumerate().map(named).collect();
    line.hydra.report(&[], &texts, Timestamp::UNIX_EPOCH).unwrap()
}

/// `problem 0.yaml:5 spec.scope Changed`, one a finding.
fn found(report: &Report) -> Vec<String> {
    let line = |finding: &crate::cli::migrate::report::Finding| {
        let severity = if finding.severity == Severity::Problem { "problem" } else { "note" };
        format!("{severity} {} {} {:?}", finding.place, finding.field, finding.reason)
    };
    report.findings.iter().map(line).collect()
}

fn objects(report: &Report) -> Vec<Value> {
    report.manifests.iter().map(|manifest| manifest.object.clone()).collect()
}

/// A client with other lines in its spec instead of, or after, those of [`CLIENT`].
fn with(from: &str, to: &str) -> String {
    assert!(CLIENT.contains(from), "{from}");
    CLIENT.replacen(from, to, 1)
}

fn more(lines: &str) -> String {
    format!("{CLIENT}{lines}")
}

fn spec_of(report: &Report) -> Value {
    let client = objects(report).into_iter().find(|object| object["kind"] == "OAuthClient");
    client.unwrap_or_else(|| panic!("a client is printed: {:?}", report.findings))["spec"].clone()
}

#[test]
fn a_client_keeps_its_id_and_takes_over_its_secret() {
    let report = migrate(&[CLIENT, &secret("9f2b-77", VALUE)], &[]);
    assert_eq!(found(&report), [""; 0]);
    let object = |kind: &str, metadata: Value, spec: Value| json!({"apiVersion": "countersign.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}});
    let scopes = json!(["orders:read", "orders:write"]);
    assert_eq!(
        objects(&report),
        [
            object(
                "NamespaceAllowance",
                json!({"name": "migrated-shop"}),
                json!({"namespaceSelector": selector, "clientIds": ["9f2b-77"]})
            ),
            object(
                "ScopePolicy",
                json!({"name": "orders", "namespace": "shop"}),
                json!({
                    "audience": "https://orders.shop.svc",
                    "targetRefs": [{"group": "", "kind": "Service", "name": "orders"}],
                    "scopes": [{"name": "orders:read"}, {"name": "orders:write"}],
                    "grants": [{"scopes": scopes, "to": [{"client": "9f2b-77"}]}],
                    "unmatched": "Authenticated",
                })
            ),
            object(
                "OAuthClient",
                json!({"name": "checkout", "namespace": "shop"}),
                json!({
                    "clientId": "9f2b-77",
                    "access": [{"audience": "https://orders.shop.svc", "scopes": scopes}],
                    "authentication": {"methods": [{"type": "ClientSecret", "secret": {
                        "name": "checkout-hydra", "mode": "Adopt",
                        "keys": {"clientId": "CLIENT_ID", "clientSecret": "CLIENT_SECRET"},
                    }}]},
                })
            ),
        ]
    );
    let patch = r#"{"metadata":{"annotations":{"countersign.dev/client":"checkout"},"ownerReferences":null}}"#;
    let command = format!("kubectl patch secret checkout-hydra -n shop --type merge -p '{patch}'");
    assert_eq!(report.json()["commands"], json!([command]));
    assert_eq!(
        report.text(Colour::none()),
        "1 of 1 clients printed, 0 problems, 0 notes; run the commands in the comments, then apply what was printed"
    );
}

#[test]
fn what_is_printed_passes_check_is_stable_and_holds_no_secret_value() {
    let odd = with("checkout, namespace: shop", "numeric, namespace: shop").replace("checkout-hydra", "numeric");
    let odd = format!(
        "{odd}  clientName: 'yes'\n  tokenLifespans: {{client_credentials_grant_access_token_lifespan: 2h30m}}\n"
    );
    let numeric = secret("0090090", VALUE).replace("checkout-hydra", "numeric");
    let texts = [CLIENT, &odd, &numeric, &secret("12e3", VALUE)];
    let report = migrate(&texts, &["--issuer-name=east"]);
    assert_eq!(found(&report), [""; 0]);
    let yaml = report.yaml().unwrap();
    let premises = Line::try_parse_from(["hydra", "-", "--issuer-name=east"]).unwrap().hydra.premises;
    let wrong = check::problems(&yaml, &premises, Timestamp::UNIX_EPOCH).unwrap();
    assert!(wrong.is_empty(), "{yaml}");
    assert!(yaml.contains("2h30m") && yaml.contains("issuer: east"), "{yaml}");
    assert!(!yaml.contains(VALUE) && !report.json().to_string().contains(VALUE));
    let reverse = [texts[3], texts[2], texts[1], texts[0]];
    assert_eq!(migrate(&texts, &["--issuer-name=east"]).yaml().unwrap(), yaml);
    assert_eq!(objects(&migrate(&reverse, &["--issuer-name=east"])), objects(&report), "in whatever order they come");
}

#[test]
fn lists_of_kubectl_are_read_and_places_in_them_are_told() {
    let list = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: other}
- apiVersion: hydra.ory.sh/v1alpha1
  kind: OAuth2Client
  metadata:
    name: checkout
    namespace: shop
    ownerReferences: []
  spec:
    grantTypes: [client_credentials]
    secretName: checkout-hydra
    scopeArray:
    - read
    - orders.*
    audience: [https://orders.shop.svc]
  status: {observedGeneration: 1}
- apiVersion: v1
  kind: Secret
  metadata: {name: checkout-hydra, namespace: shop}
  data: {CLIENT_ID: c2hvcC5jaGVja291dA==}
";
    let report = migrate(&[list], &[]);
    assert_eq!(found(&report), ["problem 0.yaml:18 spec.scopeArray[1] Changed"]);
    let spec = spec_of(&report);
    assert_eq!((&spec["clientId"], &spec["access"][0]["scopes"]), (&Value::Null, &json!(["read"])));
    assert_eq!(objects(&report).len(), 2, "the usual id needs no allowance");
    let finding = report.findings[0].clone();
    assert!(finding.message.contains("orders.*") && finding.next.contains("spec.scopeArray"), "{finding:?}");
}

#[test]
fn what_is_not_as_it_was_is_told_with_its_line() {
    let people = with("[client_credentials]", "[client_credentials, authorization_code, refresh_token]");
    let people = format!("{people}  redirectUris: [https://shop.example.com/back]\n  skipConsent: true\n");
    for (text, expected) in [
        (
            people,
            &[
                "problem 0.yaml:5 spec.grantTypes[1] NotImplemented",
                "problem 0.yaml:5 spec.grantTypes[2] NotImplemented",
                "problem 0.yaml:9 spec.redirectUris NotImplemented",
                "problem 0.yaml:10 spec.skipConsent NoCounterpart",
            ][..],
        ),
        (more("  skipConsent: true\n"), &["note 0.yaml:9 spec.skipConsent NoCounterpart"]),
        (more("  skipConsent: false\n  hydraAdmin: {url: '', port: 0}\n  subjectType: public\n"), &[]),
        (more("  subjectType: pairwise\n"), &["note 0.yaml:9 spec.subjectType NoCounterpart"]),
        (more("  backChannelLogoutURI: https://a.b/c\n"), &["note 0.yaml:9 spec.backChannelLogoutURI NoCounterpart"]),
        (more("  metadata: {tier: gold}\n"), &["problem 0.yaml:9 spec.metadata NoCounterpart"]),
        (more("  accessTokenStrategy: opaque\n"), &["problem 0.yaml:9 spec.accessTokenStrategy NotImplemented"]),
        (more("  accessTokenStrategy: jwt\n"), &[]),
        (
            more("  tokenLifespans: {client_credentials_grant_access_token_lifespan: 90x}\n"),
            &["problem 0.yaml:9 spec.tokenLifespans.client_credentials_grant_access_token_lifespan Invalid"],
        ),
        (
            more("  tokenLifespans: {client_credentials_grant_access_token_lifespan: 48h}\n"),
            &["problem 0.yaml:9 spec.tokenLifespans.client_credentials_grant_access_token_lifespan Changed"],
        ),
        (
            more("  tokenLifespans: {implicit_grant_id_token_lifespan: 1h}\n"),
            &["note 0.yaml:9 spec.tokenLifespans.implicit_grant_id_token_lifespan NoCounterpart"],
        ),
        (more("  clientName: \"a\\nb\"\n"), &["problem 0.yaml:9 spec.clientName Invalid"]),
        (more("  later: 1\n"), &["problem 0.yaml:9 spec.later Invalid"]),
        (with("orders:read orders:write", "openid orders:read"), &["note 0.yaml:6 spec.scope NoCounterpart"]),
        (
            with("[client_credentials]", "client_credentials"),
            &["problem 0.yaml:5 spec.grantTypes Invalid", "problem 0.yaml:5 spec.grantTypes Missing"],
        ),
        (
            with("namespace: shop}", "namespace: shop, labels: {team: web, helm.sh/chart: x}}"),
            &["note 0.yaml:3 metadata.labels NoCounterpart"],
        ),
        (with("  audience: [https://orders.shop.svc]\n", ""), &["problem 0.yaml:4 spec.audience Missing"]),
        (
            with("[https://orders.shop.svc]", "[https://orders.shop.svc, https://carts.shop.svc]"),
            &["note 0.yaml:7 spec.audience Changed"],
        ),
        (with("https://orders.shop.svc", "https://api.example.com"), &["problem 0.yaml:7 spec.audience Missing"]),
        (with("https://orders.shop.svc", "orders-api"), &["problem 0.yaml:7 spec.audience[0] Changed"]),
    ] {
        let report = migrate(&[&text, &secret("shop.checkout", VALUE)], &[]);
        assert_eq!(found(&report), expected, "{text}");
        assert_eq!(report.json()["summary"]["printed"], 1, "{text}");
    }
}

#[test]
fn a_client_of_which_nothing_is_left_is_not_printed() {
    for (text, expected) in [
        (
            with("[client_credentials]", "[authorization_code]"),
            &["problem 0.yaml:5 spec.grantTypes NotImplemented", "problem 0.yaml:5 spec.grantTypes[0] NotImplemented"]
                [..],
        ),
        (
            more("  tokenEndpointAuthMethod: tls_client_auth\n"),
            &["problem 0.yaml:9 spec.tokenEndpointAuthMethod Invalid"],
        ),
        (more("  tokenEndpointAuthMethod: private_key_jwt\n"), &["problem 0.yaml:4 spec.jwksUri Missing"]),
        (with("  secretName: checkout-hydra\n", ""), &["problem 0.yaml:4 spec.secretName Missing"]),
        (with("checkout-hydra", "other"), &["problem 0.yaml:8 spec.secretName Missing"]),
    ] {
        let report = migrate(&[&text, &secret("shop.checkout", VALUE)], &[]);
        assert_eq!(found(&report), expected, "{text}");
        assert_eq!(objects(&report), Vec::<Value>::new(), "{text}");
    }
}

#[test]
fn an_id_that_cannot_be_known_or_kept_is_told_and_may_be_said() {
    let told = |report: &Report| {
        report.findings.iter().flat_map(|found| [found.message.as_str(), &found.next]).collect::<String>()
    };
    let report = migrate(&[CLIENT], &[]);
    assert!(told(&report).contains("kubectl get secret checkout-hydra -n shop -o yaml"), "{}", told(&report));
    assert_eq!(spec_of(&migrate(&[CLIENT], &["--client-id=shop/checkout=9f2b"]))["clientId"], "9f2b");
    let report = migrate(&[CLIENT, &secret("a:b", VALUE)], &[]);
    assert!(told(&report).contains("cannot be kept"), "{}", told(&report));
    let lower = secret("9f2b", VALUE)
        .to_lowercase()
        .replace("kind: secret", "kind: Secret")
        .replace("stringdata", "stringData")
        .replace("apiversion", "apiVersion");
    let report = migrate(&[CLIENT, &lower], &[]);
    assert!(told(&report).contains("--client-id-key"), "{}", told(&report));
    let report = migrate(&[CLIENT, &lower], &["--client-id-key=client_id", "--client-secret-key=client_secret"]);
    let keys = spec_of(&report)["authentication"]["methods"][0]["secret"]["keys"].clone();
    assert_eq!(keys, json!({"clientId": "client_id", "clientSecret": "client_secret"}));
}

#[test]
fn a_value_that_could_be_guessed_is_told_and_not_shown() {
    let report = migrate(&[CLIENT, &secret("9f2b", "s3cR37p4ssVV0rD1234")], &[]);
    assert_eq!(found(&report), ["problem 0.yaml:8 spec.secretName Changed"]);
    assert!(!report.json().to_string().contains("s3cR37"));
}

#[test]
fn of_two_clients_with_one_id_or_one_secret_the_first_is_printed() {
    let second = with("name: checkout,", "name: billing,");
    let report = migrate(&[CLIENT, &second, &secret("9f2b", VALUE)], &[]);
    assert_eq!(found(&report), ["problem 0.yaml:1  Changed"]);
    assert!(report.findings[0].message.starts_with("shop/billing has client id 9f2b"), "{:?}", report.findings);
    let again = migrate(&[CLIENT, CLIENT, &secret("9f2b", VALUE)], &[]);
    assert_eq!(found(&again), ["problem 1.yaml:3 metadata.name Invalid"]);
}

#[test]
fn the_service_behind_an_audience_may_be_said() {
    let secret = secret("shop.checkout", VALUE);
    let foreign = with("https://orders.shop.svc", "https://api.example.com/orders");
    let report = migrate(&[&foreign, &secret], &["--resource-server=https://api.example.com/orders=sales/orders"]);
    assert_eq!(found(&report), [""; 0]);
    let [allowance, policy, _] = objects(&report).try_into().unwrap();
    assert_eq!(allowance["spec"]["audiences"], json!(["https://api.example.com/orders"]));
    assert_eq!(allowance["metadata"]["name"], "migrated-sales");
    assert_eq!(policy["metadata"], json!({"name": "orders", "namespace": "sales"}));
    let word = with("https://orders.shop.svc", "orders-api");
    let report = migrate(&[&word, &secret], &["--resource-server=orders-api=sales/orders"]);
    assert_eq!(found(&report), ["note 0.yaml:7 spec.audience[0] Changed"]);
    assert_eq!(spec_of(&report)["access"][0]["audience"], "https://orders.sales.svc");
    let none = with("  audience: [https://orders.shop.svc]\n", "");
    let report = migrate(&[&none, &secret], &["--default-audience=https://orders.shop.svc"]);
    assert_eq!((found(&report), objects(&report).len()), (vec![], 2));
}

#[test]
fn what_nobody_may_claim_is_told_although_it_is_a_services_name() {
    let text = with("https://orders.shop.svc", "https://auth.shop.svc");
    let report = migrate(&[&text, &secret("shop.checkout", VALUE)], &["--issuer-url=https://auth.shop.svc"]);
    assert!(found(&report).iter().all(|line| line.ends_with("Invalid")), "{:?}", found(&report));
    assert!(report.count(Severity::Problem) > 0);
}

#[test]
fn garbage_is_told_where_it_stands_and_the_rest_is_read() {
    let report = migrate(&["a: [", "{}", "just text", CLIENT, &secret("9f2b", VALUE)], &[]);
    let lines = found(&report);
    assert_eq!(lines[..1], ["problem 0.yaml:1 a Invalid"], "{lines:?}");
    assert!(
        lines.contains(&"problem 1.yaml:1  Invalid".to_owned())
            && lines.contains(&"problem 2.yaml:1  Invalid".to_owned()),
        "{lines:?}"
    );
    assert_eq!(report.json()["summary"]["printed"], 1);
    assert_eq!(found(&migrate(&["kind: ConfigMap\napiVersion: v1\n"], &[])), ["problem (files)  Missing"]);
    let report = migrate(&["apiVersion: hydra.ory.sh/v2\nkind: OAuth2Client\nmetadata: {name: a}\nspec: {}\n"], &[]);
    assert!(report.findings.iter().any(|found| found.message.contains("hydra.ory.sh/v2 OAuth2Client is not known")));
}

#[test]
fn go_durations_are_read() {
    for (text, seconds) in [
        ("30m", Some(1_800)),
        ("1h30m5s", Some(5_405)),
        ("1500ms", Some(1)),
        ("1", None),
        ("h", None),
        ("", None),
        ("1.5h", None),
    ] {
        assert_eq!(duration(text).map(|duration| duration.as_secs()), seconds, "{text}");
    }
}
