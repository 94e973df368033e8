//! Replicas told to go while clients keep their connections: no request is lost, over HTTP/1.1 and HTTP/2.
//!
//! ```text
//! lanes ──► hyper's pool of kept connections ──► a replica that was ready when the connection was opened
//! ```
//! Flows in: SIGTERM to one of two issuers and one of two verifiers under load. Flows out: requests that failed; none may.

use crate::support::await_condition;
use crate::support::http::{Request as Plain, Response};
use crate::support::installation::{Installation, Replica, Role};
use crate::support::orders::{ORDERS, question};
use crate::support::tenant::{SOON, Tenant};
use crate::support::testbed::Testbed;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const LANES: usize = 6;

/// Two replicas behind one name: new connections go to those that are ready, as with a Kubernetes Service.
struct Service {
    /// Where each serves and where it says that it is ready.
    replicas: [(SocketAddr, SocketAddr); 2],
    ready: Mutex<[bool; 2]>,
    opened: AtomicU32,
    used: Mutex<BTreeSet<SocketAddr>>,
}

/// What the lanes of all services share.
#[derive(Default)]
struct Seen {
    ends: AtomicBool,
    answers: AtomicU32,
    failures: Mutex<Vec<String>>,
}

// === impl Seen ===

impl Seen {
    fn count(&self) -> u32 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits until there were so many answers.
    async fn until(&self, answers: u32) {
        await_condition("answers", SOON, async || self.count(), |count| *count >= answers).await;
    }
}

// === impl Service ===

/// What a request meets that a connection asked to end does not take any more.
const TURNED_AWAY: &str = "GoAway(b\"\", NO_ERROR, Remote)";

impl Service {
    fn new(replicas: [(SocketAddr, SocketAddr); 2]) -> Arc<Self> {
        Arc::new(Self { replicas, ready: Mutex::new([true; 2]), opened: AtomicU32::new(0), used: Mutex::default() })
    }

    /// Notices who is ready.
    async fn follow(self: Arc<Self>, seen: Arc<Seen>) {
        while !seen.ends.load(Ordering::Relaxed) {
            for (place, (_, admin)) in self.replicas.iter().enumerate() {
                let answer = Plain::get("/readyz").send(*admin).await;
                self.ready.lock().unwrap()[place] = answer.is_ok_and(|answer| answer.status == 200);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn connect(self: Arc<Self>) -> std::io::Result<TokioIo<TcpStream>> {
        let turn = self.opened.fetch_add(1, Ordering::Relaxed) as usize;
        let ready = *self.ready.lock().unwrap();
        let place = if ready[turn % 2] { turn % 2 } else { 1 - turn % 2 };
        let address = self.replicas[place].0;
        self.used.lock().unwrap().insert(address);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }

    /// Asks for one target again and again, over connections that are kept.
    fn load(self: &Arc<Self>, lanes: &mut JoinSet<()>, seen: &Arc<Seen>, http2: bool, (host, target): (&str, &str)) {
        let service = Arc::clone(self);
        let connector = tower::service_fn(move |_: http::Uri| Box::pin(Arc::clone(&service).connect()));
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
        let request = Request::get(format!("http://{host}{target}")).body(Empty::<Bytes>::new()).unwrap();
        for _ in 0..LANES {
            let (client, request, seen) = (client.clone(), request.clone(), Arc::clone(seen));
            lanes.spawn(async move {
                while !seen.ends.load(Ordering::Relaxed) {
                    let answer = match client.request(request.clone()).await {
                        // Nothing of it was processed, so it may be sent again (RFC 9113 section 6.8); this client
                        // leaves that to its user.
                        Err(error) if format!("{error:?}").contains(TURNED_AWAY) => {
                            client.request(request.clone()).await
                        }
                        answer => answer,
                    };
                    let outcome = match answer {
                        Err(error) => Err(format!("{error:?}")),
                        Ok(answer) if answer.status() != 200 => Err(answer.status().to_string()),
                        Ok(answer) => answer.into_body().collect().await.map_err(|error| format!("{error:?}")),
                    };
                    match outcome {
                        Ok(_) => {
                            seen.answers.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(why) => seen.failures.lock().unwrap().push(format!("{} {why}", request.uri())),
                    }
                }
            });
        }
    }
}

fn places(replicas: &[Replica; 2], serves: impl Fn(&Replica) -> SocketAddr) -> Arc<Service> {
    Service::new(replicas.each_ref().map(|replica| (serves(replica), replica.admin)))
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_connections_lose_no_request_when_one_of_two_replicas_goes() {
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &["--shutdown-delay=1s"]);
    let tenant = Tenant::new(&testbed, &installation).await;
    tenant.apply(ORDERS);
    let mut controller = installation.start(Role::Controller).await;
    let mut issuers = [installation.start(Role::Issuer).await, installation.start(Role::Issuer).await];
    let mut verifiers = [installation.start(Role::Verifier).await, installation.start(Role::Verifier).await];
    let (host, verdict) = question(&tenant.namespace, "/healthz");
    for verifier in &verifiers {
        let look = async || Plain::get(&verdict).header("host", &host).send(verifier.http).await;
        let passes = |answer: &std::io::Result<Response>| answer.as_ref().is_ok_and(|answer| answer.status == 200);
        await_condition("the policy to be in force", SOON, look, passes).await.expect("accepted as passing");
    }

    let (seen, mut lanes) = (Arc::new(Seen::default()), JoinSet::new());
    let services = [places(&issuers, |replica| replica.issuer), places(&verifiers, |replica| replica.http)];
    for service in &services {
        lanes.spawn(Arc::clone(service).follow(Arc::clone(&seen)));
    }
    services[0].load(&mut lanes, &seen, false, ("issuer", "/oauth2/jwks"));
    services[0].load(&mut lanes, &seen, true, ("issuer", "/oauth2/jwks"));
    services[1].load(&mut lanes, &seen, false, (&host, &verdict));
    seen.until(500).await;
    for replica in [&mut issuers[0], &mut verifiers[0]] {
        replica.process.signal("TERM");
    }
    for replica in [&mut issuers[0], &mut verifiers[0]] {
        let ended = replica.process.wait().await;
        assert!(ended.success(), "{ended}");
    }
    seen.until(seen.count() + 500).await;
    seen.ends.store(true, Ordering::Relaxed);
    lanes.join_all().await;

    let failures = std::mem::take(&mut *seen.failures.lock().unwrap());
    println!("{} answers, {} failures", seen.count(), failures.len());
    assert!(failures.is_empty(), "{} besides {} answers: {:#?}", failures.len(), seen.count(), failures.first());
    for service in &services {
        assert_eq!(service.used.lock().unwrap().len(), 2, "both replicas were used");
    }
    controller.process.terminate().await;
}
