//! Requests at a steady rate from clients that keep their connections, and a pod that asks for tokens again and again.
//!
//! Flows in: where Envoy is, a token. Flows out: how many were answered, and each answer that was not 200.

use crate::visitor::Visitor;
use crate::wire::Wire;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// So many clients, each with a connection of its own and so long between two requests: 200 requests a second.
const LANES: usize = 8;
const PACE: Duration = Duration::from_millis(40);

#[derive(Default)]
struct Seen {
    ends: AtomicBool,
    answers: AtomicU64,
    tokens: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// Load that runs until it is ended.
pub struct Load<'scope> {
    seen: Arc<Seen>,
    begun: Instant,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Load<'scope> {
    /// Begins: requests to `/orders/7` with the visitor's token, and new tokens for the visitor.
    pub fn begin<'env>(
        scope: &'scope Scope<'scope, 'env>,
        to: SocketAddr,
        host: &str,
        visitor: &'env Visitor<'env>,
    ) -> Self {
        let request =
            format!("GET /orders/7 HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\r\n", visitor.token());
        let seen = Arc::new(Seen::default());
        let (ours, theirs) = (Arc::clone(&seen), Arc::clone(&seen));
        let requests = scope.spawn(move || ours.requests(to, &request));
        let tokens = scope.spawn(move || theirs.tokens(visitor));
        Self { seen, begun: Instant::now(), threads: vec![requests, tokens] }
    }

    /// Ends it; nothing may have failed, and it must have been a load.
    pub fn end(self, what: &str) {
        self.seen.ends.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a lane of the load"));
        let (answers, tokens) = (self.seen.answers.load(Ordering::Relaxed), self.seen.tokens.load(Ordering::Relaxed));
        let lasted = self.begun.elapsed();
        eprintln!("{what}: {answers} requests and {tokens} tokens in {lasted:.0?}");
        let failures = self.seen.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{what}: {} of {answers} failed, first {:#?}",
            failures.len(),
            &failures[..failures.len().min(10)]
        );
        assert!(answers > 0 && tokens > 0, "{what}: nobody asked");
    }
}

// === impl Seen ===

impl Seen {
    fn end(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    fn fail(&self, why: String) {
        self.failures.lock().unwrap().push(why);
    }

    fn requests(self: Arc<Self>, to: SocketAddr, request: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut lanes = JoinSet::new();
            for _ in 0..LANES {
                lanes.spawn(Arc::clone(&self).lane(to, request.to_owned()));
            }
            lanes.join_all().await;
        });
    }

    async fn lane(self: Arc<Self>, to: SocketAddr, request: String) {
        let mut wire = Wire::default();
        let mut pace = tokio::time::interval(PACE);
        while !self.end() {
            pace.tick().await;
            match wire.send(to, request.as_bytes()).await {
                Ok(answer) if answer.status == 200 => drop(self.answers.fetch_add(1, Ordering::Relaxed)),
                Ok(answer) => self.fail(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))),
                Err(error) => self.fail(error.to_string()),
            }
        }
    }

    /// In rounds, because a shell in a pod is slow to start.
    fn tokens(&self, visitor: &Visitor<'_>) {
        while !self.end() {
            for status in visitor.token_statuses(20) {
                match status.as_str() {
                    "200" => drop(self.tokens.fetch_add(1, Ordering::Relaxed)),
                    _ => self.fail(format!("no token: {status}")),
                }
            }
        }
    }
}
