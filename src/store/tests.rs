//! What a store must do, whichever it is; the shared one is asked in `tests/it`.

use std::sync::Arc;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn used(client: &str, token_id: &str) -> Use {
    Use::new(&client.parse().unwrap(), token_id, at(300))
}

async fn first(store: &Embedded, of: Use, now: i64) -> bool {
    store.first_use(of, at(now)).await.unwrap()
}

#[tokio::test]
async fn cla_01_and_03_a_use_is_the_first_once_for_each_client() {
    let store = Embedded::open(None).unwrap();
    assert!(first(&store, used("a", "1"), 0).await);
    assert!(!first(&store, used("a", "1"), 0).await);
    assert!(first(&store, used("b", "1"), 0).await, "another client's");
    assert!(first(&store, used("a", "2"), 0).await);
    assert!(!first(&store, used("a", "1"), 299).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn cla_02_of_many_at_once_one_is_the_first() {
    let store = Arc::new(Embedded::open(None).unwrap());
    let asks = (0..200).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { first(&store, used("a", "1"), 0).await })
    });
    let answers = futures::future::join_all(asks).await;
    assert_eq!(answers.into_iter().filter(|answer| *answer.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let store = Embedded::open(Some(&file)).unwrap();
    assert!(first(&store, used("a", "1"), 0).await);
    drop(store);
    // Its thread closes the file in its own time.
    let again = loop {
        match Embedded::open(Some(&file)) {
            Ok(store) => break store,
            Err(StoreError::Open(redb::DatabaseError::DatabaseAlreadyOpen)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(!first(&again, used("a", "1"), 0).await);
}

#[tokio::test]
async fn what_has_ended_is_forgotten() {
    let store = Embedded::open(None).unwrap();
    assert!(first(&store, used("a", "1"), 0).await);
    assert!(first(&store, used("a", "2"), 301).await);
    assert!(first(&store, used("a", "1"), 301).await, "by then the assertion is refused by its time");
}
