//! `countersign check` and `countersign explain` as somebody meets them at a shell: words, exit codes, standard input, many rules.

use crate::crds::cases::REFUSED;
use crate::support::http::Request;
use crate::support::kubectl::Kubectl;
use crate::support::processes::{countersign, run};
use crate::support::scratch::Scratch;
use crate::support::standalone::Standalone;
use crate::support::testbed::Testbed;
use crate::support::{await_condition, root};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

const URL: &str = "https://orders.shop.svc/orders/7";

fn quickstart() -> String {
    root().join("examples/quickstart").display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes_tell_fine_from_no_from_wrong_usage() {
    let quickstart = quickstart();
    let broken = Scratch::new("check");
    fs::write(
        broken.join("a.yaml"),
        "apiVersion: countersign.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: a}\nspec: {stat: x}\n",
    )
    .unwrap();
    let broken = broken.to_str().unwrap();
    let mine = ["explain", "-f", &quickstart, "--client", "shop.checkout"];
    for (arguments, code) in [
        (["check", &quickstart].to_vec(), 0),
        (["check", "-f", &quickstart, "-o", "json"].to_vec(), 0),
        (["check", broken].to_vec(), 1),
        (["check"].to_vec(), 2),
        (["check", "/no/such/folder"].to_vec(), 2),
        (["check", "--color", &quickstart].to_vec(), 2),
        ([&mine[..], &[URL]].concat(), 0),
        ([&mine[..], &["--method", "DELETE", "--url", URL]].concat(), 1),
        (["explain", URL].to_vec(), 2),
        (["explain", "-f", &quickstart].to_vec(), 2),
        (["explain", "-f", &quickstart, "orders.shop.svc/orders/7"].to_vec(), 2),
        (["explain", "-f", &quickstart, "--policy", "*", URL].to_vec(), 2),
        ([&mine[..], &["--token", "x", URL]].concat(), 2),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn standard_input_is_checked_like_a_file_and_no_colour_goes_into_a_pipe() {
    let mut check = countersign().args(["check", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let manifests = "a: 1\n---\napiVersion: countersign.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: a}\nspec:\n  state: Actve\n";
    check.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("(standard input):7: spec.state\n  problem Invalid: \"Actve\" must be one of"), "{said}");
    assert!(!said.contains('\x1b'), "{said}");
}

#[test]
fn a_token_on_standard_input_is_told_and_not_shown() {
    let mut explain = countersign()
        .args(["explain", "-f", &quickstart(), "-o", "json", "--token", "-", URL])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    explain.stdin.take().unwrap().write_all(b"e30.e30.c2lnbmF0dXJl\n").unwrap();
    let output = explain.wait_with_output().unwrap();
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &account["reason"]), (Some(1), &Value::from("WrongType")));
    assert!(!text(&output.stdout).contains("c2lnbmF0dXJl"));
}

/// Forty policies of 250 rules each, and a client that may use one of them.
fn ten_thousand_rules() -> Scratch {
    let folder = Scratch::new("rules");
    for policy in 0..40 {
        let mut text = format!(
            "apiVersion: countersign.dev/v1alpha1\nkind: ScopePolicy\nmetadata: {{name: p{policy}, namespace: shop}}\nspec:\n  \
             audience: https://p{policy}.shop.svc\n  targetRefs: [{{group: \"\", kind: Service, name: p{policy}}}]\n  \
             scopes: [{{name: read}}, {{name: write}}]\n  grants: [{{scopes: [read], to: [{{namespaces: Same}}]}}]\n  rules:\n"
        );
        for rule in 0..250 {
            writeln!(
                text,
                "  - name: rule-{rule}\n    matches: [{{methods: [GET], path: {{type: Template, value: \"/r{rule}/{{id}}\"}}}}]\n    \
                 protection: Scoped\n    allow: [{{scopes: [read], when: \"path.id != 'x{rule}'\"}}]"
            )
            .unwrap();
        }
        fs::write(folder.join(format!("p{policy}.yaml")), text).unwrap();
    }
    let client = "apiVersion: countersign.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: c, namespace: shop}\n\
                  spec: {access: [{audience: \"https://p7.shop.svc\", scopes: [read]}]}\n";
    fs::write(folder.join("client.yaml"), client).unwrap();
    folder
}

#[test]
fn ten_thousand_rules_are_checked_and_explained() {
    let folder = ten_thousand_rules();
    let path = folder.to_str().unwrap();
    // A typing mistake far inside.
    let file = folder.join("p31.yaml");
    let mistaken = fs::read_to_string(&file).unwrap().replacen(
        "[read], when: \"path.id != 'x200'",
        "[raed], when: \"path.id != 'x200'",
        1,
    );
    fs::write(&file, mistaken).unwrap();
    let said = text(&run(["check", path]).stdout);
    let line = 9 + 200 * 4 + 4;
    assert!(
        said.contains(&format!("p31.yaml:{line}: spec.rules[200].allow[0].scopes\n  problem UnknownScope")),
        "{said}"
    );
    assert!(said.ends_with("1 problem, 0 notes in 41 files (1 OAuthClient, 40 ScopePolicy, 10000 rules)\n"), "{said}");
    let url = "https://p7.shop.svc/r199/5";
    let explained = run(["explain", "-f", path, "--policy", "shop/*", "--client", "shop.c", "-o", "json", url]);
    let account: Value = serde_json::from_slice(&explained.stdout).unwrap();
    assert_eq!((&account["allowed"], &account["rule"]["name"]), (&Value::Bool(true), &Value::from("rule-199")));
}

/// The lines of the audit stream so far, without what differs from run to run.
fn audit(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "audit").collect()
}

#[tokio::test]
async fn the_audit_stream_tells_who_got_what_and_never_a_token_or_a_secret() {
    let world = Standalone::start().await;
    let token = world.token().await;
    let kept = world.token().await;
    world.ask(&[("scope", "not-granted")]).await;
    let secret = world.credentials("shop", "checkout").1;
    let stranger = Request::form("/oauth2/token", &[("grant_type", "client_credentials")]).basic(&secret, "s3cret");
    world.send(stranger).await;
    assert_eq!(world.send(world.form("/oauth2/revoke", &[("token", &token)])).await.status, 200);
    world.introspect(&kept).await;
    let seen = || async { audit(&world.process.output()) };
    let lines = await_condition("five lines of audit", Duration::from_secs(5), seen, |lines| lines.len() >= 5).await;
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["issued", "issued", "refused", "refused", "revoked"]);
    let claims = claims(&token);
    for line in [&lines[0], &lines[4]] {
        assert_eq!(
            (&line["client"], &line["peer"]),
            (&Value::from("shop.checkout"), &Value::from("127.0.0.1")),
            "{line}"
        );
        assert_eq!((&line["audience"], &line["scopes"]), (&claims["aud"], &claims["scope"]), "{line}");
        assert_eq!((&line["token_id"], line["key"].as_str().unwrap().len()), (&claims["jti"], 43), "{line}");
    }
    assert_eq!(
        (&lines[2]["error"], &lines[2]["client"]),
        (&Value::from("invalid_scope"), &Value::from("shop.checkout"))
    );
    assert_eq!((&lines[3]["error"], &lines[3]["client"]), (&Value::from("invalid_client"), &Value::Null));
    let log = world.process.output();
    let access = log.lines().filter(|line| line.contains(r#""target":"access""#) && line.contains("introspect"));
    assert_eq!(access.count(), 1, "introspection is no deed");
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for text in [secret.as_str(), "s3cret", &signature(&token), &signature(&kept)] {
        assert!(!log.contains(text), "the log holds {text}");
    }
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// What the API server refuses by a CEL rule and nothing here objects to: it has no effect, or only bounds a lifetime.
const HEARD_FROM_THE_API_SERVER: [&str; 3] = [
    "{authentication: {methods: [{type: ClientSecret, secret: {rotation: {period: 12h}}}]}}",
    "{tokens: {accessTokenLifetime: 25h}}",
    "{namespaceSelector: {}, maxAccessTokenLifetime: 48h}",
];

#[test]
fn what_the_api_server_refuses_is_refused_without_one_but_for_what_the_manual_says() {
    let folder = Scratch::new("refused");
    for (number, (kind, spec, _)) in REFUSED.iter().enumerate() {
        let namespace = if *kind == "SigningKey" { "countersign-system" } else { "shop" };
        let text = format!(
            "apiVersion: countersign.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x{number}, namespace: {namespace}}}\nspec: {spec}\n"
        );
        fs::write(folder.join(format!("{number}.yaml")), text).unwrap();
    }
    let output = run(["check", "-o", "json", folder.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The cases are about their form; that nobody may claim their audiences is beside the point.
    let counts = |problem: &&Value| problem["field"] != "spec.audience" || problem["reason"] != "NotAllowed";
    let objected = |number: usize| {
        let name = format!("/{number}.yaml");
        report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .filter(counts)
            .any(|p| p["file"].as_str().unwrap().ends_with(&name))
    };
    let passed: Vec<_> = REFUSED.iter().enumerate().filter(|(at, _)| !objected(*at)).map(|(_, case)| case.1).collect();
    assert_eq!(passed, HEARD_FROM_THE_API_SERVER);
}

#[test]
fn a_cluster_is_explained_like_its_manifests() {
    let testbed = Testbed::own();
    testbed.apply_crds();
    Kubectl::new(&testbed).must(&["apply", "-f", &quickstart()]);
    let kubeconfig = testbed.kubeconfig().display().to_string();
    let of = |source: &[&str], method: &str| {
        let rest = ["--client", "shop.checkout", "-o", "json", "-X", method, URL];
        let output = run([&["explain"], source, &rest].concat());
        let account: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
        (output.status.code(), account["reason"].clone(), account["rule"]["name"].clone())
    };
    for (method, code) in [("GET", 0), ("DELETE", 1), ("PATCH", 1)] {
        let live = of(&["--cluster", "--kubeconfig", &kubeconfig], method);
        assert_eq!((live.0, &live), (Some(code), &of(&["-f", &quickstart()], method)), "{method}");
    }
}
