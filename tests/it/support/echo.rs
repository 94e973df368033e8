//! A resource server behind the proxy: it answers with what reached it.

use axum::Router;
use axum::http::{HeaderMap, Method, Uri};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Answers every request with 200 and a JSON text of method, target and headers (a list of values each).
pub struct Echo {
    pub address: SocketAddr,
    requests: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Echo {
    pub async fn start() -> Self {
        let requests = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&requests);
        let answer = move |method: Method, uri: Uri, headers: HeaderMap| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { axum_json(&method, &uri, &headers) }
        };
        let (address, task) = serve(Router::new().fallback(answer)).await;
        Self { address, requests, task }
    }

    /// How many requests came through to it.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a router on a free loopback port until the task is aborted.
pub async fn serve(router: Router) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a loopback port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serve") });
    (address, task)
}

fn axum_json(method: &Method, uri: &Uri, headers: &HeaderMap) -> String {
    let mut named: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let values = named.entry(name.as_str()).or_insert_with(|| json!([]));
        values.as_array_mut().expect("made as a list").push(value.into());
    }
    json!({"method": method.as_str(), "target": uri.to_string(), "headers": named}).to_string()
}
