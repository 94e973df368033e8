//! The agent's parts together, on a clock of the test's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::answer::{AccessToken, Failure, Granted};
use super::ask::Asks;
use super::*;
use crate::runtime::supervisor::Shutdown;

/// What the issuer does next: after how many milliseconds it answers, and with how long a life, if with any.
type Next = (u64, Option<u32>);

/// An issuer that does as it is told; a token says when it ends, in milliseconds of the test.
struct Issuer {
    began: Instant,
    next: Arc<Mutex<Next>>,
    asked: Arc<Mutex<u32>>,
    news: Arc<Mutex<bool>>,
}

impl Asks for Issuer {
    async fn ask(&self, _wanted: &Wanted) -> Result<Granted, Failure> {
        let (delay, life) = *self.next.lock().unwrap();
        *self.asked.lock().unwrap() += 1;
        let ends = self.began.elapsed() + Duration::from_secs(life.unwrap_or(0).into());
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let Some(life) = life else { return Err(Failure::Unusable { url: String::new(), why: "as told" }) };
        let value = Arc::new(format!("{}", ends.as_millis()).into());
        Ok(Granted { token: AccessToken { value, scope: None }, life: Duration::from_secs(life.into()) })
    }

    fn has_news(&self) -> bool {
        std::mem::take(&mut self.news.lock().unwrap())
    }
}

/// One keeper before that issuer.
struct World {
    folder: tempfile::TempDir,
    clock: Clock,
    began: Instant,
    next: Arc<Mutex<Next>>,
    asked: Arc<Mutex<u32>>,
    news: Arc<Mutex<bool>>,
    shared: Arc<Shared>,
    readiness: Readiness,
    metrics: Metrics,
    counters: Arc<Counters>,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), FileError>>,
}

fn settings(folder: &Path) -> Settings {
    Settings {
        sources: Sources::default(),
        plaintext: false,
        wanted: vec!["orders".parse().unwrap()],
        token_dir: Some(folder.to_owned()),
        envoy_dir: Some(folder.to_owned()),
        socket: None,
        access: Access::Owner,
        longest_wait: Duration::from_secs(30),
    }
}

impl World {
    fn new(next: Next) -> Self {
        let (folder, clock, began) =
            (tempfile::tempdir().unwrap(), Clock::fixed(Timestamp::from_second(1_000_000).unwrap()), Instant::now());
        let (next, asked, news) = (Arc::new(Mutex::new(next)), Arc::new(Mutex::new(0)), Arc::new(Mutex::new(false)));
        let issuer = Issuer { began, next: Arc::clone(&next), asked: Arc::clone(&asked), news: Arc::clone(&news) };
        let settings = settings(folder.path());
        let outputs = Outputs::of(&settings, "orders");
        outputs.withdraw().unwrap();
        let passage = Arc::new(Passage::begin(clock.clone()));
        let shared = Arc::new(Shared::new("orders", passage, settings.longest_wait));
        let (readiness, metrics, shutdown) = (Readiness::new(), Metrics::new(), Shutdown::new());
        let counters = Arc::new(Counters::register(&metrics, readiness.condition("access-tokens")));
        let wanted = settings.wanted[0].clone();
        let keeper = Keeper::new(wanted, issuer, outputs, Arc::clone(&shared), Arc::clone(&counters));
        let task = tokio::spawn(keeper.run(shutdown.clone()));
        Self { folder, clock, began, next, asked, news, shared, readiness, metrics, counters, shutdown, task }
    }

    fn answers(&self, next: Next) {
        *self.next.lock().unwrap() = next;
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }

    /// Lets time pass.
    async fn pass(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// What can be had right now: by the file, by Envoy's file and by the socket.
    fn there(&self) -> [Option<String>; 3] {
        let file = fs::read_to_string(self.folder.path().join("orders")).ok();
        let envoy: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(self.folder.path().join("orders.json")).unwrap()).unwrap();
        let injected = envoy["resources"][0]["generic_secret"]["secret"]["inline_string"].as_str().unwrap();
        let injected = injected.strip_prefix("Bearer ").map(ToOwned::to_owned);
        [file, injected, self.shared.token().map(|(token, _)| token.value.to_string())]
    }

    async fn send(&self, method: Method, target: &str) -> (StatusCode, BTreeMap<String, serde_json::Value>) {
        let routes = socket::router(vec![Arc::clone(&self.shared)], Arc::clone(&self.counters));
        let request = Request::builder().method(method).uri(target).body(Body::empty()).unwrap();
        let response = routes.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn no_token_is_ever_there_after_its_end() {
    let world = World::new((0, Some(60)));
    // An issuer in every mood: quick and slow, short lives and long ones, away for longer than any token.
    let moods =
        [(0, Some(60)), (9000, Some(10)), (200, None), (0, Some(5)), (50, None), (3000, Some(30)), (9900, None)];
    let mut seen = BTreeMap::<usize, u32>::new();
    for turn in 0..3000_u32 {
        if turn % 60 == 0 {
            world.answers(moods[usize::try_from(turn / 60 * 3 % 7).unwrap()]);
        }
        world.pass(u64::from(turn * 7919 % 997)).await;
        let now = world.began.elapsed().as_millis();
        let there = world.there();
        for token in there.iter().flatten() {
            assert!(now < token.parse::<u128>().unwrap(), "at {now}: {there:?}");
        }
        *seen.entry(there.iter().flatten().count()).or_default() += 1;
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [0, 3], "all the same at every look: {seen:?}");
    assert!(world.asked() > 100, "{}", world.asked());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_wakes_without_its_old_token() {
    let world = World::new((0, Some(900)));
    world.pass(10).await;
    assert!(world.there().iter().all(Option::is_some));
    world.answers((0, None));
    // The monotonic clock does not count what the machine slept.
    world.clock.advance(Duration::from_hours(1));
    assert_eq!(world.there()[2], None, "the socket knows at once");
    world.pass(5000).await;
    assert_eq!(world.there(), [None, None, None]);
    assert!(!world.readiness.is_ready());
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_while_the_token_is_there() {
    let world = World::new((100, None));
    world.pass(1000).await;
    assert_eq!(world.readiness.missing(), ["access-tokens"]);
    world.answers((0, Some(20)));
    world.pass(10_000).await;
    assert!(world.readiness.is_ready());
    world.answers((0, None));
    world.pass(20_000).await;
    assert_eq!((world.readiness.missing(), world.there()), (vec!["access-tokens"], [None, None, None]));
    let text = world.metrics.encode().unwrap();
    assert!(text.contains("countersign_agent_tokens_missing 1"), "{text}");
    assert!(text.contains(r#"countersign_agent_token_requests_total{outcome="obtained"} "#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn changed_credentials_are_tried_without_waiting_for_the_back_off() {
    let world = World::new((0, None));
    // Long enough that the next request is a while away.
    world.pass(120_000).await;
    world.answers((0, Some(900)));
    *world.news.lock().unwrap() = true;
    world.pass(5100).await;
    assert!(world.there().iter().all(Option::is_some));
}

#[tokio::test(start_paused = true)]
async fn whoever_wishes_for_a_newer_token_shares_one_request() {
    let world = World::new((0, Some(900)));
    world.pass(11_000).await;
    let (_, old) = world.send(Method::GET, "/token").await;
    assert_eq!(world.asked(), 1);
    world.answers((500, Some(900)));
    let wishes = (0..20).map(|_| world.send(Method::POST, "/token/refresh"));
    let answers = futures::future::join_all(wishes).await;
    assert_eq!(world.asked(), 2, "one request for all");
    for (status, body) in &answers {
        assert_eq!((*status, body), (StatusCode::OK, &answers[0].1));
        assert_ne!(body["access_token"], old["access_token"]);
        assert!((860..=870).contains(&body["expires_in"].as_u64().unwrap()), "{body:?}");
    }
    let (_, again) = world.send(Method::POST, "/token/refresh").await;
    assert_eq!((again["access_token"].clone(), world.asked()), (answers[0].1["access_token"].clone(), 2), "it is new");
    // A request that fails is told, and the token there is stays.
    world.pass(11_000).await;
    world.answers((0, None));
    let (status, body) = world.send(Method::POST, "/token/refresh").await;
    assert_eq!((status, body["error"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("temporarily_unavailable")));
    assert_eq!(world.send(Method::GET, "/token").await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_socket_names_its_tokens() {
    let world = World::new((0, Some(900)));
    world.pass(10).await;
    for (method, target, status) in [
        (Method::GET, "/token?name=orders", StatusCode::OK),
        (Method::GET, "/token?name=other", StatusCode::NOT_FOUND),
        (Method::POST, "/token/refresh?name=other", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(world.send(method, target).await.0, status, "{target}");
    }
    let two = vec![Arc::clone(&world.shared), Arc::clone(&world.shared)];
    let request = Request::builder().uri("/token").body(Body::empty()).unwrap();
    let answer = socket::router(two, Arc::clone(&world.counters)).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn an_orderly_end_leaves_no_token() {
    let world = World::new((0, Some(900)));
    world.pass(10).await;
    world.shutdown.request();
    world.task.await.unwrap().unwrap();
    let names: Vec<_> = fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["orders.json"]);
    assert!(!fs::read_to_string(world.folder.path().join("orders.json")).unwrap().contains("Bearer"));
}

#[tokio::test]
async fn a_socket_takes_the_place_of_a_stale_one_and_of_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let first = Socket::bind(&path, Access::Owner).unwrap();
    assert!(matches!(Socket::bind(&path, Access::Owner), Err(SocketError::Busy { .. })));
    drop(first);
    assert!(path.exists(), "as a crash leaves it");
    let second = Socket::bind(&path, Access::Group).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);
    let shutdown = Shutdown::new();
    shutdown.request();
    second.serve(axum::Router::new(), shutdown).await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the socket is gone");
    fs::write(&path, "a file").unwrap();
    assert!(matches!(Socket::bind(&path, Access::Owner), Err(SocketError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
}
