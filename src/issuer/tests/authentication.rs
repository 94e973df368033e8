//! Who gets in and who does not, told apart by nothing the client could see.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use countersign_core::client::{ClientState, Method, SecretMode};
use countersign_core::client_secret::{KeptRecord, Record, SignerKeyring, VerifyingKeys};
use countersign_core::directory::Change;
use countersign_core::names::ClientId;

use super::world::{Answer, World, at, basic, client_object, encode, record_key, secret_settings};

const GRANT: [(&str, &str); 1] = [("grant_type", "client_credentials")];

async fn try_secret(world: &World, id: &str, secret: &str) -> Answer {
    world.post("/oauth2/token", (id, secret), &GRANT).await
}

#[tokio::test]
async fn tok_04_two_ways_at_once_are_refused() {
    let world = World::new();
    let secret = world.secret("shop.checkout", 0);
    let grant = GRANT[0];
    for extra in [
        ("client_secret", &*secret),
        ("client_assertion", "x"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_id", "shop.orders"),
    ] {
        let answer = world.post("/oauth2/token", ("shop.checkout", &secret), &[grant, extra]).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{extra:?}");
    }
    let same = world.post("/oauth2/token", ("shop.checkout", &secret), &[grant, ("client_id", "shop.checkout")]).await;
    assert_eq!(same.status, StatusCode::OK);
}

#[tokio::test]
async fn tok_05_a_broken_header_is_challenged() {
    let world = World::new();
    for header in ["Basic !!!", "Basic bm9jb2xvbg==", "Bearer abc", "Basic OnNlY3JldA=="] {
        let mut request = basic("/oauth2/token", ("a", "b"), encode(&GRANT));
        request.headers_mut().insert(header::AUTHORIZATION, header.parse().unwrap());
        let answer = world.send(request, "192.0.2.1").await;
        assert_eq!(answer.error(), (401, "invalid_client"), "{header}");
        assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "), "{header}");
    }
}

#[tokio::test]
async fn a_secret_in_the_body_works_and_its_refusal_is_not_challenged() {
    let world = World::new();
    let in_body = |secret: &str| {
        let form = [GRANT[0], ("client_id", "shop.checkout"), ("client_secret", secret)];
        let mut request = basic("/oauth2/token", ("", ""), encode(&form));
        request.headers_mut().remove(header::AUTHORIZATION);
        request
    };
    assert_eq!(world.send(in_body(&world.secret("shop.checkout", 0)), "192.0.2.1").await.status, StatusCode::OK);
    let refused = world.send(in_body("wrong"), "192.0.2.1").await;
    assert_eq!(refused.error(), (401, "invalid_client"));
    assert!(!refused.headers.contains_key(header::WWW_AUTHENTICATE));
}

#[tokio::test]
async fn tok_06_unknown_suspended_and_wrong_answer_the_same_bytes() {
    let world = World::new();
    let wrong = try_secret(&world, "shop.checkout", &world.secret("shop.orders", 0)).await;
    assert_eq!(wrong.error(), (401, "invalid_client"));
    let other_form = try_secret(&world, "shop.checkout", "not-one-of-ours").await;
    let unknown = try_secret(&world, "shop.nobody", &world.secret("shop.checkout", 0)).await;
    let unsayable = try_secret(&world, "no:client", "x").await;
    world.change_spec("shop.orders", |spec| spec.state = ClientState::Suspended);
    let suspended = try_secret(&world, "shop.orders", &world.secret("shop.orders", 0)).await;
    for same in [other_form, unknown, unsayable, suspended] {
        assert_eq!(same, wrong);
    }
}

#[tokio::test]
async fn tok_07_a_confidential_client_needs_its_secret() {
    let world = World::new();
    let named = |id| vec![GRANT[0], ("client_id", id)];
    // `shop.app` says that it has no credentials, which is not built and therefore not accepted.
    for form in [vec![GRANT[0]], named("shop.checkout"), named("shop.app"), named("x")] {
        let mut request = basic("/oauth2/token", ("", ""), encode(&form));
        request.headers_mut().remove(header::AUTHORIZATION);
        assert_eq!(world.send(request, "192.0.2.1").await.error(), (401, "invalid_client"), "{form:?}");
    }
}

#[tokio::test]
async fn tok_08_every_character_of_a_secret_counts() {
    let world = World::new();
    let secret = world.secret("shop.checkout", 0);
    for at in 0..secret.len() {
        let mut changed = secret.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let answer = world
            .send(basic("/oauth2/token", ("shop.checkout", &changed), encode(&GRANT)), &format!("192.0.2.{}", at + 1))
            .await;
        assert_eq!(answer.error(), (401, "invalid_client"), "character {at}");
    }
    let longer = format!("{secret}A");
    assert_eq!(try_secret(&world, "shop.checkout", &longer).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn tok_09_large_requests_are_refused_before_any_work() {
    let world = World::new();
    let large = "x".repeat(1024 * 1024);
    let answer = world.post("/oauth2/token", ("shop.checkout", "x"), &[GRANT[0], ("client_secret", &large)]).await;
    assert_eq!((answer.status.as_u16(), &answer.headers[header::CONNECTION]), (413, &"close".parse().unwrap()));
    let parameters: Vec<String> = (0..10_000).map(|n| format!("p{n}")).collect();
    let form: Vec<(&str, &str)> = parameters.iter().map(|name| (&**name, "")).collect();
    let answer = world.post("/oauth2/token", ("shop.checkout", "x"), &form).await;
    assert!([400, 413].contains(&answer.status.as_u16()));
}

#[tokio::test]
async fn tok_14_an_older_value_is_good_during_the_overlap_and_no_longer() {
    let world = World::new();
    let (old, new) = (world.secret("shop.checkout", 0), world.secret("shop.checkout", 1000));
    for secret in [&old, &new, &old] {
        assert_eq!(try_secret(&world, "shop.checkout", secret).await.status, StatusCode::OK);
    }
    world.change_client("shop.checkout", |object| object.accepted_since = Some(at(1000)));
    assert_eq!(
        try_secret(&world, "shop.checkout", &old).await.error(),
        (401, "invalid_client"),
        "although it was cached"
    );
    assert_eq!(try_secret(&world, "shop.checkout", &new).await.status, StatusCode::OK);
    world.change_spec("shop.checkout", |spec| {
        let mut settings = secret_settings("checkout", SecretMode::Create);
        settings.reject_issued_before = Some(at(2000));
        spec.authentication = vec![Method::ClientSecret(settings)];
    });
    assert_eq!(try_secret(&world, "shop.checkout", &new).await.error(), (401, "invalid_client"));
    let newest = world.secret("shop.checkout", 2000);
    assert_eq!(try_secret(&world, "shop.checkout", &newest).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tok_14_a_value_from_before_the_object_or_for_another_client_is_refused() {
    let world = World::new();
    let before = world.secret("shop.checkout", -101);
    assert_eq!(try_secret(&world, "shop.checkout", &before).await.error(), (401, "invalid_client"));
    let foreign = World::new().secret("shop.checkout", 0);
    assert_eq!(try_secret(&world, "shop.checkout", &foreign).await.error(), (401, "invalid_client"));
}

#[tokio::test]
async fn a_value_of_a_retired_signer_is_refused_although_it_was_cached() {
    let world = World::new();
    let secret = world.secret("shop.checkout", 0);
    assert_eq!(try_secret(&world, "shop.checkout", &secret).await.status, StatusCode::OK);
    let other = VerifyingKeys::new(&SignerKeyring::default().with_version(&[0; 32], at(0)));
    world.change(|snapshot| snapshot.client_secret_keys = Arc::new(other));
    assert_eq!(try_secret(&world, "shop.checkout", &secret).await.error(), (401, "invalid_client"));
}

#[tokio::test]
async fn tok_15_a_deleted_client_is_refused_and_a_new_one_of_its_name_knows_no_old_secret() {
    let world = World::new();
    let secret = world.secret("shop.checkout", 0);
    assert_eq!(try_secret(&world, "shop.checkout", &secret).await.status, StatusCode::OK);
    let object = client_object("shop", "checkout");
    world.apply(Change::Client(object.object.clone(), None));
    assert_eq!(try_secret(&world, "shop.checkout", &secret).await.error(), (401, "invalid_client"));
    let reborn =
        countersign_core::client::ClientObject { uid: "another".parse().unwrap(), created_at: at(500), ..object };
    world.put_client(reborn);
    assert_eq!(try_secret(&world, "shop.checkout", &secret).await.error(), (401, "invalid_client"));
}

/// Time stands still but for what is waited for.
#[tokio::test(start_paused = true)]
async fn a_well_signed_value_waits_for_its_client_to_become_known() {
    let world = World::new();
    let secret = world.secret("shop.new", 0);
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.put_client(client_object("shop", "new"));
    };
    let (answer, ()) = tokio::join!(try_secret(&world, "shop.new", &secret), arrives);
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let begun = tokio::time::Instant::now();
    assert_eq!(try_secret(&world, "shop.nobody", "cs1_bad").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits without a good signature");
}

#[tokio::test(start_paused = true)]
async fn a_value_of_the_signers_next_version_waits_for_its_key() {
    let world = World::new();
    let arrives = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.change(|snapshot| snapshot.client_secret_keys = world.signer_keys(2));
    };
    let next = world.secret_of_version(2, "shop.checkout", 0);
    let (answer, ()) = tokio::join!(try_secret(&world, "shop.checkout", &next), arrives);
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let begun = tokio::time::Instant::now();
    let far = world.secret_of_version(9, "shop.checkout", 0);
    assert_eq!(try_secret(&world, "shop.checkout", &far).await.error(), (401, "invalid_client"));
    assert_eq!(begun.elapsed(), Duration::ZERO, "only the very next is plausible");
}

#[tokio::test]
async fn without_the_signers_keys_nobody_is_told_that_a_secret_is_wrong() {
    let world = World::new();
    world.change(|snapshot| snapshot.client_secret_keys = Arc::default());
    let answer = try_secret(&world, "shop.checkout", &world.secret("shop.checkout", 0)).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert_eq!(world.readiness.missing(), ["client-secret-keys"]);
}

#[tokio::test]
async fn tok_16_brute_force_is_slowed_and_the_right_caller_is_not() {
    let world = World::new();
    let attack = |from: &'static str| {
        let request = basic("/oauth2/token", ("shop.checkout", "wrong"), encode(&GRANT));
        world.send(request, from)
    };
    let mut limited = None;
    for _ in 0..100 {
        let answer = attack("203.0.113.9").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            limited = Some(answer);
        }
    }
    let limited = limited.expect("a hundred wrong secrets are too many");
    assert_eq!(limited.headers[header::RETRY_AFTER], "1");
    assert_eq!(limited.headers[header::CACHE_CONTROL], "no-store");
    for from in ["198.51.100.4", "203.0.113.9"] {
        let right = basic("/oauth2/token", ("shop.checkout", &world.secret("shop.checkout", 0)), encode(&GRANT));
        assert_eq!(world.send(right, from).await.status, StatusCode::OK, "from {from}");
    }
    let elsewhere = attack("198.51.100.4").await;
    assert_eq!(elsewhere.error(), (401, "invalid_client"), "another address is not limited");
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(attack("203.0.113.9").await.error(), (401, "invalid_client"), "the limit passes");
}

#[tokio::test]
async fn a_referenced_value_is_checked_against_its_record() {
    let world = World::new();
    let object = client_object("shop", "checkout").object;
    let id = ClientId::new("shop.checkout").unwrap();
    world.change_spec("shop.checkout", |spec| {
        spec.authentication = vec![Method::ClientSecret(secret_settings("checkout", SecretMode::Reference))];
    });
    let value = "tq3VbN0xk2-LwZ8yRj5uHc7Df1GmEoPi";
    assert_eq!(try_secret(&world, "shop.checkout", value).await.error(), (401, "invalid_client"), "no record yet");
    let record = |value: &str, until| {
        let kept = KeptRecord { record: Record::of(&record_key(), &id, value), until };
        world.change(|snapshot| snapshot.records = Arc::new([(object.clone(), kept)].into()));
    };
    record(value, None);
    for _ in 0..2 {
        assert_eq!(try_secret(&world, "shop.checkout", value).await.status, StatusCode::OK);
    }
    assert_eq!(try_secret(&world, "shop.orders", value).await.error(), (401, "invalid_client"));
    let signed = world.secret("shop.checkout", 0);
    assert_eq!(try_secret(&world, "shop.checkout", &signed).await.error(), (401, "invalid_client"), "not its way");
    record("another-value-of-the-same-client-1234", None);
    assert_eq!(try_secret(&world, "shop.checkout", value).await.error(), (401, "invalid_client"), "although cached");
    record(value, Some(at(10)));
    assert_eq!(try_secret(&world, "shop.checkout", value).await.status, StatusCode::OK);
    world.clock.advance(Duration::from_secs(10));
    for attempt in ["although cached", "looked at anew"] {
        assert_eq!(try_secret(&world, "shop.checkout", value).await.error(), (401, "invalid_client"), "{attempt}");
        world.change(|snapshot| snapshot.client_secret_keys = world.signer_keys(1));
    }
}

/// How many of those that ask together are told at once to come back, rather than after a wait that they failed.
async fn turned_away(world: &World, id: &str, secret: &str, many: usize) -> usize {
    let (begun, world) = (tokio::time::Instant::now(), &world);
    let ask = |n: usize| async move {
        let request = basic("/oauth2/token", (id, secret), encode(&GRANT));
        let answer = world.send(request, &format!("192.{}.{}.1", n / 256, n % 256)).await;
        let at_once = begun.elapsed().is_zero();
        let expected = if at_once { (503, "temporarily_unavailable") } else { (401, "invalid_client") };
        assert_eq!(answer.error(), expected);
        assert_eq!(answer.headers.contains_key(header::RETRY_AFTER), at_once);
        at_once
    };
    futures::future::join_all((0..many).map(ask)).await.into_iter().filter(|at_once| *at_once).count()
}

#[tokio::test(start_paused = true)]
async fn where_too_many_wait_already_a_client_is_asked_to_come_back() {
    let world = World::new();
    let well_signed = world.secret("shop.new", 0);
    assert_eq!(turned_away(&world, "shop.new", &well_signed, 256).await, 0);
    assert_eq!(turned_away(&world, "shop.new", &well_signed, 300).await, 300 - 256);
}

#[tokio::test(start_paused = true)]
async fn values_nobody_can_check_yet_take_no_place_from_well_signed_ones() {
    let world = World::new();
    let early = world.secret_of_version(2, "shop.checkout", 0);
    let crowd = turned_away(&world, "shop.checkout", &early, 100);
    let well_signed = world.secret("shop.new", 0);
    let newcomer = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let arrives = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.put_client(client_object("shop", "new"));
        };
        tokio::join!(try_secret(&world, "shop.new", &well_signed), arrives).0
    };
    let (turned_away, newcomer) = tokio::join!(crowd, newcomer);
    assert_eq!((turned_away, newcomer.status), (100 - 32, StatusCode::OK));
}

#[tokio::test(start_paused = true)]
async fn being_turned_away_is_no_failure() {
    let world = World::new();
    let early = world.secret_of_version(2, "shop.checkout", 0);
    let crowd = turned_away(&world, "shop.checkout", &early, 32);
    let late = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for _ in 0..30 {
            assert_eq!(try_secret(&world, "shop.checkout", &early).await.status, StatusCode::SERVICE_UNAVAILABLE);
        }
    };
    tokio::join!(crowd, late);
    assert_eq!(try_secret(&world, "shop.checkout", "wrong").await.error(), (401, "invalid_client"), "not 429");
}

#[tokio::test]
async fn uses_of_values_older_than_the_newest_are_reported_cached_or_not() {
    let world = World::new();
    let (old, new) = (world.secret("shop.checkout", 0), world.secret("shop.checkout", 1000));
    let used = || {
        let report = world.usage.take_report(world.clock.now(), Duration::from_hours(1));
        report.used.into_iter().map(|value| (value.issued_at, value.last_used_at)).collect::<Vec<_>>()
    };
    try_secret(&world, "shop.checkout", &old).await;
    assert_eq!(used(), [], "it is the newest");
    world.change_client("shop.checkout", |object| object.secret_issued_at = Some(at(1000)));
    world.clock.advance(Duration::from_secs(10));
    for secret in [&*new, &old, "wrong"] {
        try_secret(&world, "shop.checkout", secret).await;
    }
    assert_eq!(used(), [(at(0), at(10))]);
    world.clock.advance(Duration::from_secs(20));
    try_secret(&world, "shop.checkout", &old).await;
    assert_eq!(used(), [(at(0), at(30))]);
}
