//! Tokens while a client's object and its revocations do not agree.

use std::time::Duration;

use axum::http::{StatusCode, header};
use countersign_core::client::ClientState;
use countersign_core::names::{Audience, Uid};
use countersign_core::revocation::Entry;
use countersign_core::scope::ScopeSet;
use countersign_core::timings::Timings;
use countersign_core::token::{AccessToken, verify};

use super::world::{AUDIENCE, Answer, ISSUER, World};

/// The client's epoch was raised; its object still says 1.
fn raised(world: &World, audience: Option<&str>, epoch: u64) {
    let (client, audience) =
        (Uid::new("uid-shop-checkout").unwrap(), audience.map(|name| Audience::new(name).unwrap()));
    world.learn(vec![Entry::client(client, audience, epoch, world.clock.now(), &Timings::default())]);
}

fn token(world: &World, answer: &Answer) -> AccessToken {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = answer.body["access_token"].as_str().unwrap();
    verify(text, &world.live.load().keys, ISSUER, world.clock.now(), &Timings::default()).unwrap()
}

/// A request made while the revocations are ahead of the object, and what is done to the object a little later.
async fn meanwhile(world: &World, change: impl FnOnce(&World)) -> Answer {
    raised(world, None, 2);
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        change(world);
    };
    tokio::join!(world.token(&[]), arrives).0
}

#[tokio::test(start_paused = true)]
async fn a_token_waits_for_the_object_its_epoch_belongs_to() {
    let world = World::new();
    let answer = meanwhile(&world, |world| world.change_client("shop.checkout", |object| object.epoch = 2)).await;
    assert_eq!(token(&world, &answer).client_epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn a_suspension_behind_its_revocation_is_obeyed() {
    let world = World::new();
    let suspend = |world: &World| {
        world.change_client("shop.checkout", |object| object.epoch = 2);
        world.change_spec("shop.checkout", |spec| spec.state = ClientState::Suspended);
    };
    assert_eq!(meanwhile(&world, suspend).await.error(), (401, "invalid_client"));
}

#[tokio::test(start_paused = true)]
async fn a_grant_withdrawn_behind_its_revocation_is_not_in_the_token() {
    let world = World::new();
    let withdraw = |world: &World| {
        world.change_spec("shop.checkout", |spec| spec.access[0].scopes = ScopeSet::parse("orders:read").unwrap());
        world.change_client("shop.checkout", |object| object.epoch = 2);
    };
    let token = token(&world, &meanwhile(&world, withdraw).await);
    assert_eq!((token.scope.to_string().as_str(), token.client_epoch), ("orders:read", 2));
}

#[tokio::test(start_paused = true)]
async fn a_compromised_secret_behind_its_revocation_is_refused_although_it_was_good() {
    let world = World::new();
    assert_eq!(world.token(&[]).await.status, StatusCode::OK);
    let compromise = |world: &World| {
        world.change_client("shop.checkout", |object| {
            object.accepted_since = Some(super::world::at(10));
            object.epoch = 2;
        });
    };
    assert_eq!(meanwhile(&world, compromise).await.error(), (401, "invalid_client"));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_arrive_is_not_waited_for_long() {
    let world = World::new();
    let answer = meanwhile(&world, |world| world.change_client("shop.orders", |object| object.epoch = 9)).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    world.change_client("shop.checkout", |object| object.epoch = 2);
    assert_eq!(token(&world, &world.token(&[]).await).client_epoch, 2);
}

#[tokio::test]
async fn an_epoch_of_another_audience_or_one_already_known_holds_nothing_up() {
    let world = World::new();
    raised(&world, Some("https://other.shop.svc"), 7);
    assert_eq!(token(&world, &world.token(&[]).await).client_epoch, 1);
    world.change_client("shop.checkout", |object| object.epoch = 7);
    raised(&world, Some(AUDIENCE), 5);
    assert_eq!(token(&world, &world.token(&[]).await).client_epoch, 7);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_few_hundred_requests_wait() {
    let world = World::new();
    raised(&world, Some(AUDIENCE), 2);
    let begun = tokio::time::Instant::now();
    let ask = || async {
        let answer = world.token(&[]).await;
        assert_eq!(answer.error(), (503, "temporarily_unavailable"));
        begun.elapsed().is_zero()
    };
    let at_once = futures::future::join_all((0..300).map(|_| ask())).await;
    assert_eq!(at_once.iter().filter(|at_once| **at_once).count(), 300 - 256);
}
