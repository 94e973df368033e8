//! Clients that are not who they say, or no longer: TOK-06 to -08, -14 to -16.

use super::{GRANT, SOON, undated};
use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::standalone::{self, Standalone, assert_error};
use std::time::Duration;

#[tokio::test]
async fn tok_06_unknown_wrong_and_suspended_clients_look_the_same() {
    let it = Standalone::start().await;
    let (_, other) = it.credentials("shop", "orders");
    let attempts = [
        ("shop.nobody", "cs1_wrong"),
        ("shop.checkout", "cs1_wrong"),
        ("shop.checkout", &*other),
        ("shop.suspended", "x"),
    ];
    let mut answers = Vec::new();
    for (id, secret) in attempts {
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic(id, secret)).await;
        assert_error(&answer, 401, "invalid_client");
        answers.push(undated(answer));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}

#[tokio::test]
async fn tok_07_no_secret_no_token() {
    let it = Standalone::start().await;
    for fields in [vec![GRANT], vec![GRANT, ("client_id", "shop.checkout")]] {
        assert_error(&it.send(Request::form("/oauth2/token", &fields)).await, 401, "invalid_client");
    }
}

#[tokio::test]
async fn tok_08_every_byte_of_a_secret_counts() {
    let it = Standalone::start().await;
    let (id, secret) = it.credentials("shop", "checkout");
    let mut changed = Vec::new();
    for at in [5, 40, 71, 72, secret.len() - 1] {
        let mut bytes = secret.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        changed.push(String::from_utf8(bytes).unwrap());
    }
    changed.extend([
        format!("{secret}A"),
        secret[..secret.len() - 1].to_owned(),
        format!("{secret} "),
        secret.to_uppercase(),
    ]);
    for wrong in changed {
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic(&id, &wrong)).await;
        // Enough wrong ones in a row may also be told to slow down.
        assert!(matches!(answer.status, 401 | 429), "{answer:?}");
    }
}

#[tokio::test]
async fn tok_14_secrets_of_others_are_refused() {
    let it = Standalone::start().await;
    let (_, others) = it.credentials("shop", "orders");
    let forged = format!("cs1_{}", "A".repeat(others.len() - 4));
    for secret in [others, forged] {
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic("shop.checkout", &secret)).await;
        assert_error(&answer, 401, "invalid_client");
    }
}

#[tokio::test]
async fn tok_14_old_secret_serves_during_the_overlap() {
    let it = Standalone::start().await;
    let (id, old) = it.credentials("shop", "checkout");
    // A value carries the next whole second; what asks for a newer one must be later than that.
    let at = jiff::Timestamp::from_second(standalone::now().as_second() + 2).unwrap();
    it.edit(
        "metadata: {name: checkout, namespace: shop}",
        &format!("metadata: {{name: checkout, namespace: shop, annotations: {{countersign.dev/rotate-at: \"{at}\"}}}}"),
    );
    let look = async || it.credentials("shop", "checkout").1;
    let new = await_condition("a new secret", Duration::from_secs(15), look, |value| *value != old).await;
    for secret in [&old, &new] {
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic(&id, secret)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn tok_14_old_secret_ends_after_the_overlap() {
    let it = Standalone::start().await;
    let (id, old) = it.credentials("shop", "checkout");
    let at = jiff::Timestamp::from_second(standalone::now().as_second() + 2).unwrap();
    it.edit(
        "metadata: {name: checkout, namespace: shop}\nspec:\n",
        &format!(
            "metadata: {{name: checkout, namespace: shop, annotations: {{countersign.dev/rotate-at: \"{at}\"}}}}\nspec:\n  authentication: {{methods: [{{type: ClientSecret, secret: {{rotation: {{period: 720h, overlap: 3s, retirement: AfterOverlap}}}}}}]}}\n"
        ),
    );
    let look = async || it.credentials("shop", "checkout").1;
    let new = await_condition("a new secret", SOON, look, |value| *value != old).await;
    let ask = async |secret: &str| it.send(Request::form("/oauth2/token", &[GRANT]).basic(&id, secret)).await;
    let ended = await_condition("the old secret to end", SOON, async || ask(&old).await, |answer| answer.status != 200);
    assert_error(&ended.await, 401, "invalid_client");
    assert_eq!(ask(&new).await.status, 200);
}

/// A leak, declared in Git: what was issued before is dead at once, overlap or not, and the client has a new value.
#[tokio::test]
async fn tok_14_values_issued_before_a_declared_leak_are_refused() {
    let it = Standalone::start().await;
    let (id, old) = it.credentials("shop", "checkout");
    // Later than the value here, which carries the second after it was made.
    let at = jiff::Timestamp::from_second(standalone::now().as_second() + 3).unwrap();
    it.edit(
        "metadata: {name: checkout, namespace: shop}\nspec:\n",
        &format!(
            "metadata: {{name: checkout, namespace: shop}}\nspec:\n  authentication: {{methods: [{{type: ClientSecret, secret: {{rejectIssuedBefore: \"{at}\"}}}}]}}\n"
        ),
    );
    let ask = async |secret: &str| it.send(Request::form("/oauth2/token", &[GRANT]).basic(&id, secret)).await;
    let ended = await_condition("the old value to end", SOON, async || ask(&old).await, |answer| answer.status != 200);
    assert_error(&ended.await, 401, "invalid_client");
    let look = async || it.ask(&[]).await;
    await_condition("a value that is good", SOON, look, |answer| answer.status == 200).await;
    assert_ne!(it.credentials("shop", "checkout").1, old);
}

#[tokio::test]
async fn tok_15_a_suspended_client_gets_nothing_and_its_tokens_die() {
    let it = Standalone::start().await;
    let token = it.token().await;
    assert_eq!(it.check(&token).await.status, 200);
    assert_eq!(it.introspect(&token).await["active"], true);
    it.edit("namespace: shop}\nspec:\n  access: [{audience: \"https://orders.shop.svc\", scopes: [\"orders:read\", \"orders:write\"]}]",
        "namespace: shop}\nspec:\n  state: Suspended\n  access: [{audience: \"https://orders.shop.svc\", scopes: [\"orders:read\", \"orders:write\"]}]",
    );
    standalone::assert_invalid_token(&it.refused(&token).await);
    assert_eq!(it.introspect(&token).await["active"], false);
    // With the right secret, and yet not a byte different from a client nobody ever heard of.
    let suspended = it.ask(&[]).await;
    assert_error(&suspended, 401, "invalid_client");
    let (_, secret) = it.credentials("shop", "checkout");
    let unknown = it.send(Request::form("/oauth2/token", &[GRANT]).basic("shop.nobody", &secret)).await;
    assert_eq!(undated(suspended), undated(unknown));
}

/// Deleted, and made again under its name: what belonged to the first stays dead.
#[tokio::test]
async fn tok_15_a_deleted_client_and_its_tokens_stay_dead_when_its_name_comes_back() {
    let it = Standalone::start().await;
    let (token, (id, secret)) = (it.token().await, it.credentials("shop", "checkout"));
    let object = "metadata: {name: checkout, namespace: shop}";
    it.edit(object, "metadata: {name: other, namespace: shop}");
    let old = async || it.send(Request::form("/oauth2/token", &[GRANT]).basic(&id, &secret)).await;
    standalone::assert_invalid_token(&it.refused(&token).await);
    assert_eq!(it.introspect(&token).await["active"], false);
    let answer = await_condition("the client to be gone", SOON, old, |answer| answer.status != 200).await;
    assert_error(&answer, 401, "invalid_client");
    let file = it.data().join("secrets/shop/checkout-oauth");
    await_condition("its Secret to be gone", SOON, async || file.exists(), |exists| !exists).await;

    it.edit("metadata: {name: other, namespace: shop}", object);
    let fresh = async || file.join("client_secret").exists() && it.ask(&[]).await.status == 200;
    await_condition("the client again", SOON, fresh, |ready| *ready).await;
    assert_ne!(it.credentials("shop", "checkout").1, secret);
    assert_error(&old().await, 401, "invalid_client");
    standalone::assert_invalid_token(&it.check(&token).await);
    assert_eq!(it.introspect(&token).await["active"], false);
}

#[tokio::test]
async fn tok_16_guessing_is_slowed_but_the_right_caller_gets_in() {
    let it = Standalone::start().await;
    let mut slowed = None;
    for attempt in 0..400 {
        let wrong = format!("cs1_guess{attempt}");
        let answer = it.send(Request::form("/oauth2/token", &[GRANT]).basic("shop.checkout", &wrong)).await;
        if answer.status == 429 {
            slowed = Some(answer);
            break;
        }
    }
    let slowed = slowed.expect("guesses are slowed");
    assert!(slowed.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), "{slowed:?}");
    assert_eq!(it.ask(&[]).await.status, 200, "the right secret is never locked out");
}
