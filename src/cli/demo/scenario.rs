//! The steps of the demo, in order.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use jiff::Timestamp;
use rustls::RootCertStore;
use serde_json::{Value, json};

use super::calls::{Calls, Traffic};
use super::screen::Screen;
use crate::cli::fetch::{Answer, Credentials, Fetch};
use crate::cli::standalone;
use crate::runtime::clock::Clock;
use countersign_api::metadata::ROTATE_AT;

const NAMESPACE: &str = include_str!("../../../examples/quickstart/1-namespace.yaml");
const POLICY: &str = include_str!("../../../examples/quickstart/2-orders.yaml");
const CLIENT: &str = include_str!("../../../examples/quickstart/3-checkout.yaml");
/// The ring, with times that fit a demo; in a cluster the controller makes one with 30 days.
const RING: &str = "apiVersion: countersign.dev/v1alpha1
kind: SigningKey
metadata: {name: default, namespace: countersign-system}
spec: {algorithm: ES256, rotation: {period: 720h, prePublish: 1s}}
";

/// The running demo.
pub(super) struct Scenario {
    screen: Screen,
    manifests: PathBuf,
    secret: PathBuf,
    calls: Calls,
    clock: Clock,
    process: standalone::Running,
    /// Whether it goes on at the end.
    stay: bool,
    hand: Hand,
}

/// Where somebody who does a step by hand finds things: here, or once this has ended in a `countersign standalone` of their own.
struct Hand {
    issuer: String,
    verifier: String,
    secret: String,
}

impl Scenario {
    /// Writes the manifests and starts issuer, verifier and controller over them.
    pub(super) async fn start(folder: &Path, stay: bool) -> Result<Self> {
        let mut screen = Screen::new();
        let (manifests, data) = (folder.join("manifests"), folder.join("data"));
        std::fs::create_dir(&manifests).context("cannot make the folder of manifests")?;
        screen.step("Apply: a policy, a client, and that is all");
        for (name, text) in [("1-namespace", NAMESPACE), ("2-orders", POLICY), ("3-checkout", CLIENT), ("ring", RING)] {
            std::fs::write(manifests.join(format!("{name}.yaml")), text).context("cannot write a manifest")?;
        }
        screen.happened("examples/quickstart: Namespace shop, ScopePolicy orders, OAuthClient checkout");
        screen.by_hand("countersign standalone --manifests examples/quickstart --data ./data\nkubectl apply -f examples/quickstart     # the same in a cluster");
        let clock = Clock::system();
        let process = standalone::start_for_demo(&manifests, &data, clock.clone(), super::timings()).await?;
        let calls = Calls {
            fetch: Fetch::new(RootCertStore::empty())?,
            issuer_url: process.issuer_url(),
            verifier_url: process.verifier_url(),
        };
        let secret = data.join("secrets/shop/checkout-oauth");
        let hand = if stay { Hand::here(&calls, &secret) } else { Hand::elsewhere() };
        Ok(Self { screen, manifests, secret, calls, clock, process, stay, hand })
    }

    pub(super) async fn run(mut self) -> Result<()> {
        let first = self.provisioning().await?;
        let token = self.issuing(&first).await?;
        self.checking(&token).await?;
        self.rotating_the_secret(&first).await?;
        self.rotating_the_key().await?;
        self.revoking().await?;
        self.screen.step("That is the whole life of a client");
        self.screen.happened("The same YAML, the same binary, in a cluster: README.md says how to install it.");
        self.screen.happened(&if self.stay {
            format!("Still running: issuer {}, verifier {}. End with Ctrl-C.", self.hand.issuer, self.hand.verifier)
        } else {
            "This has ended. The lines above are for the `countersign standalone` of step 1; `countersign demo --stay` goes on and prints its own."
                .to_owned()
        });
        self.process.end(self.stay).await
    }

    async fn provisioning(&mut self) -> Result<Credentials> {
        self.screen.step("Provision: the client's Secret");
        let credentials = self.new_secret(None).await?;
        Calls::until("the whole Secret", async || Ok(self.secret.join("token_endpoint").exists().then_some(())))
            .await?;
        let mut names: Vec<_> =
            std::fs::read_dir(&self.secret)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        self.screen.good(&format!("Secret shop/checkout-oauth holds {}", names.join(", ")));
        self.screen.by_hand(&format!(
            "ls {}\nkubectl wait -n shop --for=condition=Ready oauthclient/checkout     # the same in a cluster",
            self.hand.secret
        ));
        Ok(credentials)
    }

    async fn issuing(&mut self, credentials: &Credentials) -> Result<String> {
        self.screen.step("Issue: a token with those credentials");
        // The key that signs is active once the first keyring is written and read, a moment after start.
        let token = Calls::until("the first token", async || Ok(self.calls.token(credentials).await.ok())).await?;
        self.screen.good(&format!("RFC 9068 access token: {}", claims(&token)?));
        self.screen.by_hand(&format!("TOKEN=$(countersign token --credentials {})", self.hand.secret));
        Ok(token)
    }

    async fn checking(&mut self, token: &str) -> Result<()> {
        self.screen.step("Check: what the token opens, and what it does not");
        let answer = self.calls.may_pass(Method::GET, "/orders/7", Some(token)).await?;
        ensure!(answer.status == StatusCode::OK, "GET /orders/7 should pass and got {}", answer.status);
        let subject = answer.header("x-countersign-subject").unwrap_or_default();
        self.screen
            .good(&format!("GET    /orders/7                  200  the service sees x-countersign-subject: {subject}"));
        let mut tampered = token.to_owned();
        // The first character of the signature: every one of its bits counts.
        let signature = tampered.rfind('.').map_or(0, |dot| dot + 1);
        let other = if tampered.get(signature..=signature) == Some("A") { "B" } else { "A" };
        tampered.replace_range(signature..=signature, other);
        let cases = [
            (Method::DELETE, Some(token), StatusCode::FORBIDDEN, "DELETE /orders/7                "),
            (Method::GET, None, StatusCode::UNAUTHORIZED, "GET    /orders/7, no token      "),
            (Method::GET, Some(tampered.as_str()), StatusCode::UNAUTHORIZED, "GET    /orders/7, tampered token"),
        ];
        for (method, token, expected, label) in cases {
            let answer = self.calls.may_pass(method, "/orders/7", token).await?;
            ensure!(answer.status == expected, "{label} should be answered {expected} and got {}", answer.status);
            self.screen.good(&format!("{label}  {}  {}", expected.as_u16(), challenge(&answer)));
        }
        let url = format!("{}/ext-authz/policy/shop/orders/orders/7", self.hand.verifier);
        self.screen.by_hand(&format!("curl -i -H 'Host: orders.shop.svc' -H \"Authorization: Bearer $TOKEN\" {url}\ncurl -i -H 'Host: orders.shop.svc' -H \"Authorization: Bearer $TOKEN\" -X DELETE {url}"));
        Ok(())
    }

    async fn rotating_the_secret(&mut self, old: &Credentials) -> Result<()> {
        self.screen.step("Rotate the client's secret: both values work during the overlap");
        self.rotate("3-checkout.yaml")?;
        let new = self.new_secret(Some(old)).await?;
        for (which, credentials) in [("old", old), ("new", &new)] {
            self.calls.token(credentials).await.with_context(|| format!("the {which} value should get a token"))?;
            self.screen.good(&format!("the {which} value gets a token"));
        }
        self.screen
            .by_hand("kubectl annotate -n shop oauthclient/checkout countersign.dev/rotate-at=$(date -u +%FT%TZ)");
        Ok(())
    }

    async fn rotating_the_key(&mut self) -> Result<()> {
        self.screen.step("Rotate the signing key while calls go on");
        let credentials = self.credentials()?;
        let before = key_id(&self.calls.token(&credentials).await?)?;
        let traffic = Traffic::start(self.calls.clone(), credentials.clone());
        self.rotate("ring.yaml")?;
        let after = Calls::until("the key rotation", async || {
            let now = key_id(&self.calls.token(&credentials).await?)?;
            Ok((now != before).then_some(now))
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let calls = traffic.stop().await?;
        self.screen.good(&format!("key {}… signs in place of {}…", cut(&after), cut(&before)));
        self.screen.good(&format!("{calls} tokens issued and checked meanwhile, none refused"));
        self.screen.by_hand(
            "kubectl annotate -n countersign-system signingkey/default countersign.dev/rotate-at=$(date -u +%FT%TZ)",
        );
        Ok(())
    }

    async fn revoking(&mut self) -> Result<()> {
        self.screen.step("Revoke: one token, then the whole client");
        let credentials = self.credentials()?;
        let (one, other) = (self.calls.token(&credentials).await?, self.calls.token(&credentials).await?);
        self.calls.may_pass(Method::GET, "/orders/7", Some(&one)).await?;
        let answer = self.calls.revoke(&credentials, &one).await?;
        ensure!(answer.status == StatusCode::OK, "the revocation should be accepted and got {}", answer.status);
        let (refused, took) = self.refused(&one).await?;
        self.screen.good(&format!("the revoked token is refused {took} later: 401 {}", challenge(&refused)));
        self.screen.by_hand(&format!("curl -u ID:SECRET -d token=$TOKEN {}/oauth2/revoke", self.hand.issuer));
        ensure!(
            self.calls.may_pass(Method::GET, "/orders/7", Some(&other)).await?.status.is_success(),
            "the other token should still pass"
        );
        self.screen.good("another token of the same client still passes");
        self.edit("3-checkout.yaml", |client| set(client, "/spec", "state", json!("Suspended")))?;
        let (_, took) = self.refused(&other).await?;
        self.screen
            .good(&format!("client suspended: every token it had is refused, {took} after the file was written"));
        self.screen.by_hand(
            "kubectl patch -n shop oauthclient/checkout --type=merge -p '{\"spec\":{\"state\":\"Suspended\"}}'",
        );
        Ok(())
    }

    /// Waits until the token is refused; the refusal, and how long it took.
    async fn refused(&self, token: &str) -> Result<(Answer, String)> {
        let begun = Instant::now();
        let answer = Calls::until("the refusal", async || {
            let answer = self.calls.may_pass(Method::GET, "/orders/7", Some(token)).await?;
            Ok((answer.status == StatusCode::UNAUTHORIZED).then_some(answer))
        })
        .await?;
        Ok((answer, format!("{} ms", begun.elapsed().as_millis())))
    }

    /// Waits until the Secret holds a value other than `old`.
    async fn new_secret(&self, old: Option<&Credentials>) -> Result<Credentials> {
        Calls::until("the new Secret", async || Ok(self.credentials().ok().filter(|new| Some(new) != old))).await
    }

    fn credentials(&self) -> Result<Credentials> {
        let read = |name: &str| {
            std::fs::read_to_string(self.secret.join(name)).with_context(|| format!("cannot read {name} of the Secret"))
        };
        Ok(Credentials::new(read("client_id")?, read("client_secret")?))
    }

    /// What `kubectl annotate` does: asks for a value newer than the present one. Values carry the next whole second,
    /// and the demo is faster than that, so it asks for one newer than the second after.
    fn rotate(&self, file: &str) -> Result<()> {
        let now = Timestamp::from_second(self.clock.now().as_second() + 2)?;
        self.edit(file, |object| {
            if object.pointer("/metadata/annotations").is_none() {
                set(object, "/metadata", "annotations", json!({}));
            }
            set(object, "/metadata/annotations", ROTATE_AT, json!(now.to_string()));
        })
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let path = self.manifests.join(file);
        let mut object: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?;
        change(&mut object);
        // JSON is YAML; written beside and renamed, so that nobody reads half of it.
        let beside = path.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec_pretty(&object)?)?;
        std::fs::rename(&beside, &path).with_context(|| format!("cannot replace {}", path.display()))
    }
}

// === impl Hand ===

impl Hand {
    fn here(calls: &Calls, secret: &Path) -> Self {
        let Calls { issuer_url, verifier_url, .. } = calls;
        Self { issuer: issuer_url.clone(), verifier: verifier_url.clone(), secret: secret.display().to_string() }
    }

    /// The ports of this run are closed by the time somebody reads of them.
    fn elsewhere() -> Self {
        let [issuer, verifier] = standalone::DEFAULTS.map(|address| format!("http://{address}"));
        Self { issuer, verifier, secret: "data/secrets/shop/checkout-oauth".to_owned() }
    }
}

fn set(object: &mut Value, parent: &str, field: &str, value: Value) {
    if let Some(Value::Object(fields)) = object.pointer_mut(parent) {
        fields.insert(field.to_owned(), value);
    }
}

/// The challenge of a refusal, which says why.
fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").unwrap_or("no challenge")
}

fn cut(text: &str) -> &str {
    text.get(..8).unwrap_or(text)
}

fn part(token: &str, index: usize) -> Result<Value> {
    let part = token.split('.').nth(index).context("not a JWT")?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part)?)?)
}

fn key_id(token: &str) -> Result<String> {
    part(token, 0)?.get("kid").and_then(Value::as_str).map(str::to_owned).context("the token names no key")
}

/// The claims that people look for.
fn claims(token: &str) -> Result<String> {
    let claims = part(token, 1)?;
    let shown: Vec<_> = ["sub", "aud", "scope"]
        .iter()
        .map(|name| format!("{name} {}", claims.get(name).unwrap_or(&Value::Null)))
        .collect();
    Ok(shown.join(", "))
}
