//! Clients that never rest: tokens from every issuer, shown to every verifier again and again until they end.
//!
//! ```text
//! issuer lane ──► token ──► pool ──► verifier lanes, each looking at another token each time
//!                    └────► whoever else listens (the poller of the JWKS)
//! ```
//! Flows in: where the replicas are. Flows out: counts, and each request that failed although it must not have.

use crate::support::standalone::now;
use crate::wire::Wire;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

/// So many tokens are looked at in turn.
const POOL: usize = 256;

pub struct Load {
    /// The token request.
    form: Vec<u8>,
    /// Host and target of what a verifier is asked about.
    question: (String, String),
    pub issuers: Mutex<Vec<SocketAddr>>,
    pub verifiers: Mutex<Vec<SocketAddr>>,
    /// How fast the processes' clocks run.
    rate: u32,
    /// How long an issuer's lane rests after a token.
    rest: Duration,
    pub seen: Seen,
    pub minted: broadcast::Sender<Arc<Token>>,
    pool: Mutex<VecDeque<Arc<Token>>>,
    ends: AtomicBool,
}

#[derive(Default)]
pub struct Seen {
    pub tokens: AtomicU64,
    pub checks: AtomicU64,
    /// Answers that took longest: a token's, a verdict's; microseconds.
    slowest: [AtomicU64; 2],
    /// The longest time without a token, in milliseconds.
    pub longest_silence: AtomicU64,
    last_token: Mutex<Option<Instant>>,
    failures: Mutex<Vec<String>>,
}

#[derive(Debug)]
pub struct Token {
    pub text: String,
    pub key_id: String,
    /// Until when, by this machine's clock, it must be accepted.
    pub ends_at: Instant,
}

// === impl Load ===

impl Load {
    pub fn new(
        (id, secret): (&str, &str),
        question: (String, String),
        [issuers, verifiers]: [Vec<SocketAddr>; 2],
        (rate, rest): (u32, Duration),
    ) -> Self {
        let (body, basic) = ("grant_type=client_credentials", STANDARD.encode(format!("{id}:{secret}")));
        let form = format!(
            "POST /oauth2/token HTTP/1.1\r\nhost: issuer\r\nauthorization: Basic {basic}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            form: form.into_bytes(),
            question,
            issuers: Mutex::new(issuers),
            verifiers: Mutex::new(verifiers),
            rate,
            rest,
            seen: Seen::default(),
            minted: broadcast::Sender::new(1024),
            pool: Mutex::default(),
            ends: AtomicBool::new(false),
        }
    }

    /// Starts one lane for each issuer and each verifier.
    pub fn begin(self: &Arc<Self>) -> JoinSet<()> {
        let mut lanes = JoinSet::new();
        for lane in 0..self.issuers.lock().unwrap().len() {
            lanes.spawn(Arc::clone(self).fetch(lane));
        }
        for lane in 0..self.verifiers.lock().unwrap().len() {
            lanes.spawn(Arc::clone(self).look(lane));
        }
        lanes
    }

    /// Ends the lanes; the failures.
    pub async fn end(&self, lanes: JoinSet<()>) -> Vec<String> {
        self.ends.store(true, Ordering::Relaxed);
        lanes.join_all().await;
        self.seen.failures()
    }

    pub fn has_ended(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// One token of this issuer.
    pub async fn token(&self, wire: &mut Wire, issuer: SocketAddr) -> Result<Token, String> {
        let begun = Instant::now();
        let answer = wire.send(issuer, &self.form).await.map_err(|error| format!("{issuer}: {error}"))?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, body["access_token"].as_str(), body["expires_in"].as_u64()) {
            (200, Some(token), Some(lifetime)) => {
                // Times in a token are whole seconds: the first may be gone already.
                let life = Duration::from_secs(lifetime.saturating_sub(1)) / self.rate;
                Ok(Token { key_id: key_id(token), text: token.to_owned(), ends_at: begun + life })
            }
            (status, ..) => Err(format!("{issuer}: {status} {text}")),
        }
    }

    /// The verdict of this verifier.
    pub async fn verdict(&self, wire: &mut Wire, verifier: SocketAddr, token: &str) -> Result<u16, String> {
        let (host, target) = &self.question;
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n");
        let answer = wire.send(verifier, request.as_bytes()).await;
        answer.map(|answer| answer.status).map_err(|error| format!("{verifier}: {error}"))
    }

    async fn fetch(self: Arc<Self>, lane: usize) {
        let mut wire = Wire::default();
        while !self.ends.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let issuer = place(&self.issuers, lane);
            match self.token(&mut wire, issuer).await {
                Ok(token) => self.take(token, begun),
                Err(why) => {
                    self.seen.fail(&format!("no token: {why}"));
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            tokio::time::sleep(self.rest).await;
        }
    }

    fn take(&self, token: Token, begun: Instant) {
        self.seen.note(0, begun);
        self.seen.tokens.fetch_add(1, Ordering::Relaxed);
        if let Some(last) = self.seen.last_token.lock().unwrap().replace(Instant::now()) {
            let silence = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.seen.longest_silence.fetch_max(silence, Ordering::Relaxed);
        }
        let token = Arc::new(token);
        // Nobody may be listening.
        drop(self.minted.send(Arc::clone(&token)));
        let mut pool = self.pool.lock().unwrap();
        pool.push_back(token);
        if pool.len() > POOL {
            pool.pop_front();
        }
    }

    async fn look(self: Arc<Self>, lane: usize) {
        let mut wire = Wire::default();
        let mut turn = lane;
        while !self.ends.load(Ordering::Relaxed) {
            let Some(token) = self.next(&mut turn) else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let (begun, verifier) = (Instant::now(), place(&self.verifiers, lane));
            let verdict = self.verdict(&mut wire, verifier, &token.text).await;
            self.seen.note(1, begun);
            self.seen.checks.fetch_add(1, Ordering::Relaxed);
            // A refusal that came after the token's end is none.
            if verdict != Ok(200) && Instant::now() < token.ends_at {
                let left = token.ends_at.duration_since(Instant::now());
                self.seen.fail(&format!("{} with {left:?} to live refused: {verdict:?}", token.key_id));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// The next token that lives.
    fn next(&self, turn: &mut usize) -> Option<Arc<Token>> {
        let mut pool = self.pool.lock().unwrap();
        let now = Instant::now();
        while pool.front().is_some_and(|token| token.ends_at <= now) {
            pool.pop_front();
        }
        *turn = turn.wrapping_add(1);
        let index = turn.checked_rem(pool.len())?;
        pool.get(index).cloned()
    }
}

fn place(addresses: &Mutex<Vec<SocketAddr>>, lane: usize) -> SocketAddr {
    let addresses = addresses.lock().unwrap();
    addresses[lane % addresses.len()]
}

/// The `kid` of a token's header.
fn key_id(token: &str) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
    header["kid"].as_str().unwrap_or_default().to_owned()
}

// === impl Seen ===

impl Seen {
    pub fn fail(&self, what: &str) {
        let mut failures = self.failures.lock().unwrap();
        failures.push(format!("{}: {what}", now()));
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    /// Requires that nothing failed so far.
    pub fn nothing_failed(&self) {
        let failures = self.failures();
        let first: Vec<_> = failures.iter().take(9).collect();
        assert!(first.is_empty(), "{} failures; the first: {first:#?}", failures.len());
    }

    pub fn counts(&self) -> [u64; 2] {
        [&self.tokens, &self.checks].map(|count| count.load(Ordering::Relaxed))
    }

    /// The slowest answer of an issuer and of a verifier.
    pub fn slowest(&self) -> [Duration; 2] {
        self.slowest.each_ref().map(|micros| Duration::from_micros(micros.load(Ordering::Relaxed)))
    }

    fn note(&self, which: usize, begun: Instant) {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.slowest[which].fetch_max(micros, Ordering::Relaxed);
    }
}
