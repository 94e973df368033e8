//! A client that never rests: tokens from two issuers, each shown to both verifiers at once and again until it ends.
//!
//! Flows in: where the replicas are. Flows out: how many requests were made, and each that failed although it must not.

use crate::support::http::{Request, Response};
use crate::support::standalone::now;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// What is asked, and what the tasks that ask share.
pub struct Load {
    /// The token request.
    pub form: Request,
    /// Host and target of what a verifier is asked about.
    question: (String, String),
    /// Where the two issuers, and the two verifiers, are.
    pub issuers: Mutex<[SocketAddr; 2]>,
    pub verifiers: Mutex<[SocketAddr; 2]>,
    /// Whether a lost connection is tried once more at the other replica.
    tries_the_other: bool,
    pub seen: Seen,
    ends: AtomicBool,
    pool: Mutex<VecDeque<Token>>,
}

/// What came of it so far.
#[derive(Default)]
pub struct Seen {
    /// The key of the latest token of each issuer.
    pub latest: Mutex<[String; 2]>,
    /// Every key that signed.
    pub keys: Mutex<BTreeSet<String>>,
    pub tokens: AtomicU32,
    pub checks: AtomicU32,
    pub retries: AtomicU32,
    pub failures: Mutex<Vec<String>>,
}

pub struct Token {
    text: String,
    key: String,
    ends_at: i64,
}

// === impl Load ===

impl Load {
    pub fn new(
        form: Request,
        question: (String, String),
        replicas: [[SocketAddr; 2]; 2],
        tries_the_other: bool,
    ) -> Self {
        let [issuers, verifiers] = replicas.map(Mutex::new);
        Self {
            form,
            question,
            issuers,
            verifiers,
            tries_the_other,
            seen: Seen::default(),
            ends: AtomicBool::new(false),
            pool: Mutex::default(),
        }
    }

    /// Starts two tasks for each pair of an issuer and a verifier.
    pub fn begin(self: Arc<Self>) -> JoinSet<()> {
        let mut lanes = JoinSet::new();
        for lane in 0..2 {
            lanes.spawn(Arc::clone(&self).fetch(lane));
            lanes.spawn(Arc::clone(&self).look_again(lane));
        }
        lanes
    }

    /// Ends it, once the tokens there are have ended.
    pub async fn end(&self, lanes: JoinSet<()>) {
        self.ends.store(true, Ordering::Relaxed);
        lanes.join_all().await;
    }

    /// Whether this token is taken by this verifier.
    pub async fn is_taken(&self, token: &Token, verifier: SocketAddr) -> bool {
        self.request(token).send(verifier).await.is_ok_and(|answer| answer.status == 200)
    }

    /// Gets tokens and shows each at once to both verifiers.
    async fn fetch(self: Arc<Self>, lane: usize) {
        while !self.ends.load(Ordering::Relaxed) {
            let token = match self.send(&self.form, &self.issuers, lane).await {
                Ok(answer) => Token::read(&answer).ok_or_else(|| format!("{answer:?}")),
                Err(why) => Err(why),
            };
            match token {
                Ok(token) => self.show(token, lane).await,
                Err(why) => self.seen.fail(&format!("no token: {why}")),
            }
        }
    }

    async fn show(&self, token: Token, lane: usize) {
        self.seen.tokens.fetch_add(1, Ordering::Relaxed);
        self.seen.keys.lock().unwrap().insert(token.key.clone());
        self.seen.latest.lock().unwrap()[lane].clone_from(&token.key);
        for verifier in 0..2 {
            self.check(&token, verifier).await;
        }
        self.pool.lock().unwrap().push_back(token);
    }

    /// Shows tokens again until they end.
    async fn look_again(self: Arc<Self>, lane: usize) {
        loop {
            let token = self.pool.lock().unwrap().pop_front();
            match token {
                Some(token) if token.life() > 0 => {
                    self.check(&token, lane).await;
                    self.pool.lock().unwrap().push_back(token);
                }
                Some(_) => {}
                None if self.ends.load(Ordering::Relaxed) => return,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    fn request(&self, token: &Token) -> Request {
        let (host, target) = &self.question;
        Request::get(target).header("host", host).bearer(&token.text)
    }

    async fn check(&self, token: &Token, verifier: usize) {
        let answer = self.send(&self.request(token), &self.verifiers, verifier).await;
        self.seen.checks.fetch_add(1, Ordering::Relaxed);
        // A refusal that came after the token's end is none.
        if let Err(why) = answer
            && token.life() > 0
        {
            self.seen.fail(&format!("{} with {} s to live refused: {why}", token.key, token.life()));
        }
    }

    /// The answer 200 of this replica, or of the other where that one's connection was lost.
    async fn send(
        &self,
        request: &Request,
        addresses: &Mutex<[SocketAddr; 2]>,
        replica: usize,
    ) -> Result<Response, String> {
        let mut lost = Vec::new();
        for replica in [replica, 1 - replica] {
            let address = addresses.lock().unwrap()[replica];
            match request.send(address).await {
                Ok(answer) if answer.status == 200 && is_whole(&answer) => return Ok(answer),
                Ok(answer) if is_whole(&answer) => return Err(format!("{address}: {answer:?}, after {lost:?}")),
                Ok(_) => lost.push(format!("{address}: an answer cut short")),
                Err(error) => lost.push(format!("{address}: {error}")),
            }
            if !self.tries_the_other {
                break;
            }
            self.seen.retries.fetch_add(1, Ordering::Relaxed);
        }
        Err(lost.join(", "))
    }
}

fn is_whole(answer: &Response) -> bool {
    answer.header("content-length").is_none_or(|length| length == answer.body.len().to_string())
}

// === impl Seen ===

impl Seen {
    fn fail(&self, what: &str) {
        self.failures.lock().unwrap().push(format!("{}: {what}", now()));
    }

    /// The counts, for a person.
    pub fn figures(&self) -> String {
        let count = |count: &AtomicU32| count.load(Ordering::Relaxed);
        format!(
            "{} tokens by {} keys, {} checks, {} requests tried again elsewhere, {} failures",
            count(&self.tokens),
            self.keys.lock().unwrap().len(),
            count(&self.checks),
            count(&self.retries),
            self.failures.lock().unwrap().len(),
        )
    }
}

// === impl Token ===

impl Token {
    pub fn read(answer: &Response) -> Option<Self> {
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        let text = answer["access_token"].as_str()?.to_owned();
        let part = |index| -> Option<Value> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').nth(index)?).ok()?).ok()
        };
        let (header, claims) = (part(0)?, part(1)?);
        Some(Self { key: header["kid"].as_str()?.to_owned(), ends_at: claims["exp"].as_i64()?, text })
    }

    /// How many seconds are left of it.
    fn life(&self) -> i64 {
        self.ends_at - now().as_second()
    }
}
