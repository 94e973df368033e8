//! The loop itself: waking, backing off, waiting for the lead.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[derive(Default)]
struct Script {
    answers: Mutex<Vec<Result<Option<Timestamp>, Failure>>>,
    seen: Mutex<Vec<String>>,
}

impl Kind for Script {
    type Key = String;
    const NAME: &'static str = "script";

    async fn reconcile(&self, key: &String) -> Result<Option<Timestamp>, Failure> {
        self.seen.lock().unwrap().push(key.clone());
        self.answers.lock().unwrap().pop().unwrap_or(Ok(None))
    }
}

fn failure() -> Failure {
    Err::<(), _>(WriteError::NotLeader).during("write").unwrap_err()
}

struct Running {
    kind: Arc<Script>,
    queue: Queue<String>,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), Infallible>>,
}

impl Running {
    fn start(kind: Script, gate: Gate) -> Self {
        let (kind, queue, shutdown) = (Arc::new(kind), Queue::default(), Shutdown::new());
        let clock = Clock::shifted(jiff::SignedDuration::ZERO, 100);
        let metrics = LoopMetrics::default();
        let each = Loop { kind: Arc::clone(&kind), queue: queue.clone(), gate, clock, metrics };
        let task = tokio::spawn(each.run(shutdown.clone()));
        Self { kind, queue, shutdown, task }
    }

    async fn seen(&self, count: usize) -> Vec<String> {
        let wait = async {
            loop {
                let seen = self.kind.seen.lock().unwrap().clone();
                if seen.len() >= count {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), wait).await.expect("seen in time")
    }

    async fn end(self) {
        self.shutdown.request();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_fails_is_looked_at_again() {
    let kind = Script::default();
    kind.answers.lock().unwrap().extend([Ok(None), Err(failure()), Err(failure())]);
    let running = Running::start(kind, Gate::always());
    running.queue.offer("a".to_owned());
    assert_eq!(running.seen(3).await, ["a", "a", "a"]);
    running.end().await;
}

#[tokio::test]
async fn a_plan_is_woken_when_it_asked_to_be() {
    let kind = Script::default();
    let soon = Clock::system().now() + jiff::SignedDuration::from_secs(2);
    kind.answers.lock().unwrap().push(Ok(Some(soon)));
    let running = Running::start(kind, Gate::always());
    running.queue.offer("a".to_owned());
    assert_eq!(running.seen(2).await, ["a", "a"]);
    running.end().await;
}

#[tokio::test]
async fn keys_wait_while_another_process_leads() {
    let leads = Arc::new(AtomicBool::new(false));
    let gate = Gate::new({
        let leads = Arc::clone(&leads);
        move || leads.load(Ordering::Relaxed)
    });
    let running = Running::start(Script::default(), gate);
    running.queue.offer("a".to_owned());
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(running.kind.seen.lock().unwrap().is_empty());
    leads.store(true, Ordering::Relaxed);
    assert_eq!(running.seen(1).await, ["a"]);
    running.end().await;
}

#[cfg(feature = "otlp")]
mod traces {
    use super::*;
    use crate::runtime::traces::tests::{assert_told, attributes, received};

    #[tokio::test]
    async fn a_look_at_an_object_is_a_span() {
        let received = received();
        let kind = Script::default();
        kind.answers.lock().unwrap().extend([Ok(None), Err(failure())]);
        let running = Running::start(kind, Gate::always());
        running.queue.offer("traced/a".to_owned());
        assert_eq!(running.seen(2).await, ["traced/a", "traced/a"]);
        running.end().await;
        let mut spans = received.all().await;
        spans.retain(|span| span.attributes.get("countersign.object").is_some_and(|object| object == "traced/a"));
        let told = |outcome| [("kind", "script"), ("object", "traced/a"), ("outcome", outcome)];
        let expected = [
            (true, attributes(&[&told("failed")[..], &[("category", "not_leader")]].concat())),
            (false, attributes(&told("settled"))),
        ];
        let found: Vec<_> = spans.iter().map(|span| (span.failed, span.attributes.clone())).collect();
        assert_eq!(found, expected);
        assert_told("reconcile", &spans);
    }
}
