//! Calls to the orders service as a proxy makes them: it asks the verifier first, over the path that names the policy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use tokio::task::JoinHandle;

use crate::cli::fetch::{Answer, Credentials, Fetch};

/// Where things are and how to reach them.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) fetch: Fetch,
    pub(super) issuer_url: String,
    pub(super) verifier_url: String,
}

impl Calls {
    /// A new access token.
    pub(super) async fn token(&self, credentials: &Credentials) -> Result<String> {
        let answer = self.fetch.token(&format!("{}/oauth2/token", self.issuer_url), credentials, &[]).await?;
        let body = answer.json()?;
        let token = body.get("access_token").and_then(serde_json::Value::as_str);
        token.map(str::to_owned).with_context(|| format!("the issuer answers {}: {body}", answer.status))
    }

    /// Asks the verifier whether this request may pass.
    pub(super) async fn may_pass(&self, method: Method, path: &str, token: Option<&str>) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/ext-authz/policy/shop/orders{path}", self.verifier_url))
            .header(header::HOST, "orders.shop.svc");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.fetch.send(request.body(Full::default())?).await
    }

    /// Revokes a token (RFC 7009).
    pub(super) async fn revoke(&self, credentials: &Credentials, token: &str) -> Result<Answer> {
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
        let request = Request::post(format!("{}/oauth2/revoke", self.issuer_url))
            .header(header::AUTHORIZATION, credentials.basic())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::<Bytes>::from(body))?;
        self.fetch.send(request).await
    }

    /// Repeats `attempt` every few milliseconds until it gives something, for at most 15 s.
    pub(super) async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(15) {
            if let Some(value) = attempt().await? {
                return Ok(value);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("{what} did not happen within 15 s");
    }
}

/// Fetches a token and makes a call with it, again and again, until told to stop.
pub(super) struct Traffic {
    done: Arc<AtomicU64>,
    stop: Arc<tokio::sync::Notify>,
    task: JoinHandle<Result<()>>,
}

impl Traffic {
    pub(super) fn start(calls: Calls, credentials: Credentials) -> Self {
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (counter, stopped) = (Arc::clone(&done), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            loop {
                let token = calls.token(&credentials).await?;
                let answer = calls.may_pass(Method::GET, "/orders/7", Some(&token)).await?;
                if !answer.status.is_success() {
                    bail!("a call with a valid token was refused: {}", answer.status);
                }
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::select! {
                    () = stopped.notified() => return Ok(()),
                    () = tokio::time::sleep(Duration::from_millis(1)) => {}
                }
            }
        });
        Self { done, stop, task }
    }

    /// Ends the traffic; how many calls went through, or the first that did not.
    pub(super) async fn stop(self) -> Result<u64> {
        self.stop.notify_one();
        self.task.await.context("the traffic broke off")??;
        Ok(self.done.load(Ordering::Relaxed))
    }
}
