//! Stopped after each single write, another process ends where an undisturbed one does.

use super::*;

/// Something that is done to a client that was settled before.
type Deed = fn(&mut OAuthClient);

const DEEDS: [(&str, Deed); 5] = [
    ("nothing", |_| {}),
    ("rotation", |client| {
        drop(client.annotations_mut().insert("countersign.dev/rotate-at".to_owned(), at(1_000_050).to_string()));
    }),
    ("compromise", |client| create::set_secret(client, json!({"rejectIssuedBefore": at(1_000_050).to_string()}))),
    ("new name", |client| create::set_secret(client, json!({"name": "other"}))),
    ("suspension", |client| client.spec.state = countersign_api::oauthclient::ClientState::Suspended),
];

/// Creates a client and does something to it; `stop_after` writes of either step, the process is replaced.
async fn run(deed: Deed, stop_after: usize) -> (String, bool) {
    let mut bench = Bench::new().await;
    bench.writes_left.store(stop_after, Ordering::Relaxed);
    bench.apply(json!({})).await;
    let mut stopped = bench.writes_left.load(Ordering::Relaxed) == 0;
    bench.restart().await;
    bench.settle().await;
    bench.clock.advance(Duration::from_secs(100));
    bench.writes_left.store(stop_after, Ordering::Relaxed);
    bench.edit(deed).await;
    stopped |= bench.writes_left.load(Ordering::Relaxed) == 0;
    bench.restart().await;
    bench.settle().await;
    let other: Option<Secret> = bench.objects.get(&Key::namespaced("shop", "other")).await.unwrap();
    let (revoked, epoch) = (bench.epochs(), bench.status().await.epoch);
    (format!("{}\nother {}\nrevoked {revoked:?}, epoch {epoch:?}", bench.state().await, other.is_some()), stopped)
}

#[tokio::test]
async fn every_crash_point_ends_in_the_same_state() {
    for (name, deed) in DEEDS {
        let (undisturbed, stopped) = Box::pin(run(deed, 1_000)).await;
        assert!(!stopped);
        let mut points = 0;
        while let (state, true) = Box::pin(run(deed, points)).await {
            assert_eq!(state, undisturbed, "{name}, stopped after {points} writes");
            points += 1;
        }
        assert!(points > 0);
    }
}
