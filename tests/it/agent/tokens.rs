//! Tokens in files and on the socket.

use super::{Agent, SHORT, ends, lives};
use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::installation::Installation;
use crate::support::processes::run;
use crate::support::standalone::{Standalone, now};
use crate::support::tenant::Tenant;
use crate::support::testbed::Testbed;
use crate::support::tls::Certificates;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_goes_on_through_a_rotation_of_its_secret_without_a_gap() {
    let it = Standalone::start_with(&SHORT).await;
    let agent = Agent::of(&it).await;
    let (id, old) = it.credentials("shop", "checkout");
    // A value carries the next whole second; what asks for a newer one must be later than that.
    let at = jiff::Timestamp::from_second(now().as_second() + 2).unwrap();
    it.edit(
        "metadata: {name: checkout, namespace: shop}\nspec:\n",
        &format!(
            "metadata: {{name: checkout, namespace: shop, annotations: {{countersign.dev/rotate-at: \"{at}\"}}}}\nspec:\n  authentication: {{methods: [{{type: ClientSecret, secret: {{rotation: {{period: 720h, overlap: 3s, retirement: AfterOverlap}}}}}}]}}\n"
        ),
    );
    let mut tokens = BTreeSet::new();
    let mut after_the_end = 0;
    let refused = async || {
        let asks = Request::form("/oauth2/token", &[("grant_type", "client_credentials")]).basic(&id, &old);
        it.send(asks).await.status == 401
    };
    // Until the old secret is refused, and for two more tokens.
    while after_the_end < 3 {
        let answer = agent.ask("GET", "/token").await;
        assert_eq!(answer.status, 200, "a gap: {answer:?}\n{}", agent.process.output());
        let token = answer.access_token();
        assert_eq!(it.check(&token).await.status, 200);
        if tokens.insert(token) && refused().await {
            after_the_end += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = agent.process.output();
    let signatures = tokens.iter().map(|token| token.rsplit('.').next().unwrap().to_owned());
    for secret in signatures.chain([old, it.credentials("shop", "checkout").1]) {
        assert!(!log.contains(&secret), "the log holds a token or a secret:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_gone_before_it_ends_and_back_when_the_issuer_is() {
    let it = Standalone::start_with(&SHORT).await;
    let agent = Agent::of(&it).await;
    let token = fs::read_to_string(agent.token_file()).unwrap();
    let injected = || fs::read_to_string(agent.envoy_file()).unwrap();
    assert!(injected().contains(&format!("Bearer {token}")), "{}", injected());
    // The issuer takes connections and answers nothing.
    it.process.signal("STOP");
    let look = async || match fs::read_to_string(agent.token_file()) {
        Ok(token) => {
            // To the moment is for the unit tests, which have a clock of their own: this machine may be busy for a second.
            assert!(now().as_second() <= ends(&token) + 1, "an ended token is still there");
            true
        }
        Err(_) => false,
    };
    await_condition("the file to be gone", SOON, look, |there| !there).await;
    await_condition("Envoy's file to be empty", SOON, async || injected(), |text| !text.contains("Bearer")).await;
    let answer = agent.ask("GET", "/token").await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("temporarily_unavailable")));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let ready = async || Request::get("/readyz").send(agent.admin).await.unwrap();
    assert_eq!((ready().await.status, ready().await.text().as_str()), (503, "waiting for access-tokens\n"));
    it.process.signal("CONT");
    let look = async || fs::read_to_string(agent.token_file()).is_ok_and(|token| lives(&token));
    await_condition("a token again", SOON, look, |back| *back).await;
    assert_eq!(ready().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_readers_see_whole_and_valid_tokens_only() {
    let it = Standalone::start_with(&SHORT).await;
    let agent = Agent::of(&it).await;
    let (ended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let (ended, seen, file) = (Arc::clone(&ended), Arc::clone(&seen), agent.token_file());
            tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    // That there is none for a moment is no failure here: a busy machine may renew late.
                    if let Ok(token) = fs::read_to_string(&file) {
                        assert!(lives(&token), "{token}");
                        seen.lock().unwrap().insert(token);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    await_condition("three replacements", SOON * 2, async || seen.lock().unwrap().len(), |count| *count > 3).await;
    ended.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_agent_and_leaves_neither_token_nor_socket() {
    let it = Standalone::start().await;
    let mut agent = Agent::of(&it).await;
    for (path, mode) in [(agent.token_file(), 0o600), (agent.envoy_file(), 0o600), (agent.socket(), 0o600)] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    assert!(agent.process.terminate().await.success(), "{}", agent.process.output());
    let names: Vec<_> = fs::read_dir(&*agent.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["orders.json"]);
    assert!(!fs::read_to_string(agent.envoy_file()).unwrap().contains("Bearer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tokens_each_have_their_scopes_and_a_refused_one_hinders_none() {
    let it = Standalone::start().await;
    let credentials = it.data().join("secrets/shop/checkout-oauth");
    let flags = [
        format!("--credentials={}", credentials.display()),
        "--token=both=https://orders.shop.svc,read orders:read,other=https://other.shop.svc".to_owned(),
        "--group-access".to_owned(),
    ];
    let agent = Agent::start(&flags);
    let scopes = async |name: &str| {
        let answer = agent.ask("GET", &format!("/token?name={name}")).await;
        (answer.status == 200).then(|| answer.json()["scope"].as_str().unwrap_or_default().to_owned())
    };
    let look = async || if agent.socket().exists() { scopes("read").await } else { None };
    await_condition("a token", SOON, look, Option::is_some).await;
    await_condition("the other", SOON, async || scopes("both").await, Option::is_some).await;
    assert_eq!(scopes("read").await.as_deref(), Some("orders:read"));
    assert_eq!(scopes("both").await.as_deref(), Some("orders:read orders:write"));
    assert_eq!(scopes("other").await, None);
    let group = fs::metadata(agent.folder.join("read")).unwrap().permissions().mode() & 0o777;
    assert_eq!((group, fs::metadata(agent.socket()).unwrap().permissions().mode() & 0o777), (0o640, 0o660));
    let refused = async || Request::get("/metrics").send(agent.admin).await.unwrap().text();
    let counted = |text: &String| text.contains(r#"countersign_agent_token_requests_total{outcome="refused"} "#);
    let text = await_condition("a refusal to be counted", SOON, refused, counted).await;
    assert!(text.contains("countersign_agent_tokens_missing 1"), "{text}");
    assert!(agent.process.output().contains("invalid_target"), "{}", agent.process.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_was_refused_gets_a_newer_token() {
    let it = Standalone::start().await;
    let agent = Agent::of(&it).await;
    let old = agent.ask("GET", "/token").await.access_token();
    // A token younger than ten seconds is the renewed one.
    assert_eq!(agent.ask("POST", "/token/refresh").await.access_token(), old);
    let look = async || agent.ask("POST", "/token/refresh").await.access_token();
    let new = await_condition("a newer token", SOON, look, |token| *token != old).await;
    assert_eq!(agent.ask("GET", "/token").await.access_token(), new);
    assert_eq!(it.check(&new).await.status, 200);
    assert!(ends(&new) >= ends(&old));
    for (method, target, status) in
        [("POST", "/token", 405), ("GET", "/token/refresh", 405), ("GET", "/", 404), ("GET", "/token?name=x", 404)]
    {
        assert_eq!(agent.ask(method, target).await.status, status, "{method} {target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_is_asked_over_tls_by_its_metadata_and_only_under_the_given_authorities() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]).with_tls();
    let tenant = Tenant::new(&testbed, &installation).await;
    let [_controller, _issuer, _verifier] = installation.start_all().await;
    tenant.open(&["checkout"]);
    let folder = crate::support::scratch::Scratch::new("mounted");
    for key in ["client_id", "client_secret", "token_endpoint", "ca.crt"] {
        let value = installation.secret_value(&tenant.namespace, "checkout-oauth", key);
        fs::write(folder.join(key), value).unwrap();
    }
    let flags = |more: &[String]| {
        [&[format!("--credentials={}", folder.display()), "--token=orders".to_owned()][..], more].concat()
    };
    let mounted = Agent::start(&flags(&[]));
    let discovering = Agent::start(&flags(&[format!("--issuer-url={}", installation.issuer_url())]));
    for agent in [&mounted, &discovering] {
        let look = async || fs::read_to_string(agent.token_file()).is_ok_and(|token| lives(&token));
        await_condition("a token over TLS", SOON, look, |there| *there).await;
    }
    let stranger = Certificates::new(&["IP:127.0.0.1"]);
    let distrusting = Agent::start(&flags(&[format!("--ca-file={}", stranger.authority().display())]));
    let look = async || Request::get("/metrics").send(distrusting.admin).await.map(|answer| answer.text());
    let refused = r#"countersign_agent_token_requests_total{outcome="unreachable"} "#;
    let counts = |text: &std::io::Result<String>| {
        text.as_ref().is_ok_and(|text| !text.contains(&format!("{refused}0")) && text.contains(refused))
    };
    await_condition("a failure", SOON, look, counts).await.unwrap();
    assert!(!distrusting.token_file().exists());
    let log = distrusting.process.output();
    assert!(log.contains("invalid peer certificate"), "the log says why: {log}");
    let envoy: Value = serde_json::from_slice(&fs::read(distrusting.envoy_file()).unwrap()).unwrap();
    assert_eq!(envoy["resources"][0]["generic_secret"]["secret"]["inline_string"], "", "there for Envoy, and empty");
}

#[test]
fn an_agent_that_could_never_work_says_what_to_write() {
    let credentials = "--credentials=/nowhere";
    for (args, says) in [
        (vec!["agent", credentials], "give --token-dir, --envoy-dir or --socket"),
        (vec!["agent", "--token-dir=/tmp"], "no credentials: give --credentials DIR"),
        (vec!["agent", credentials, "--token-dir=/no/such"], "there is no such file or folder"),
        (vec!["agent", credentials, "--token-dir=/tmp", "--token=../x"], "write NAME=AUDIENCE"),
        (vec!["agent", credentials, "--token-dir=/tmp", "--token=a,a"], "two tokens have the same name"),
        (
            vec!["agent", credentials, "--token-dir=/tmp", "--token-endpoint=http://auth.example.com/t"],
            "--token-endpoint: must be https, or http on a loopback address",
        ),
        (
            vec!["agent", "--assertion-file=/a", "--socket=/tmp/x", "--issuer-url=http://10.0.0.1"],
            "--issuer-url: must be https",
        ),
    ] {
        let output = run(&args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
}
