//! Exchanges: who may, for what, how long; and that no row of them ever widens.

use proptest::prelude::*;

use super::*;
use crate::client::{ClientSpec, ClientState};
use crate::directory::Change;
use crate::directory::tests::fixtures::{
    access, audience, client, directory, namespace, object, policy, scopes, without,
};
use crate::names::{KeyId, TokenId, Uid};
use crate::revocation::{Entry, Revoked, Shard};
use crate::timings::Timings;
use crate::token::tests::{key, key_set};
use crate::token::{
    AccessToken, Algorithm, Claims, Delegation, Earlier, MAX_EXCHANGES, compact_header, read_without_checking_signature,
};
use jiff::Timestamp;

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).expect("a time")
}

fn name(hop: usize) -> String {
    format!("n{hop}/api")
}

fn target(hop: usize) -> String {
    format!("https://api.n{hop}.svc")
}

/// Services in a row: each has an audience of its own in its own namespace, names itself its resource server and may ask for `read`
/// and `write` of every audience; `read` is granted to all.
fn services(count: usize) -> Vec<Change> {
    let all: Vec<_> = (0..count).map(|hop| access(&target(hop), "read write")).collect();
    let service = |hop: usize| {
        let of_policy = policy(&name(hop), 1, |source| {
            source.resource_servers = vec![Ok(format!("n{hop}.api").parse().expect("a client id"))];
        });
        let of_client = client(&name(hop), 1, |spec| {
            spec.grant_types = vec![GrantType::ClientCredentials, GrantType::TokenExchange];
            spec.access.clone_from(&all);
            spec.default_audience = Some(audience(&target(0)));
        });
        [namespace(&format!("n{hop}"), "x"), of_policy, of_client]
    };
    (0..count).flat_map(service).collect()
}

fn edited(hop: usize, change: impl FnOnce(&mut ClientSpec)) -> Change {
    let all: Vec<_> = (0..3).map(|hop| access(&target(hop), "read write")).collect();
    client(&name(hop), 1, |spec| {
        spec.grant_types = vec![GrantType::ClientCredentials, GrantType::TokenExchange];
        spec.access = all;
        spec.default_audience = Some(audience(&target(0)));
        change(spec);
    })
}

/// The token the issuer would sign for a client.
fn issued(world: &Directory, hop: usize, grant: &GrantDecision, from: (&str, &[Earlier]), now: i64) -> AccessToken {
    let client = world.client_of(&object(&name(hop))).expect("the client");
    let spec = client.usable().expect("a usable client");
    let (subject, exchanged) = from;
    let id = format!("t{hop}-{}-{now}", grant.audience.as_str().len() + exchanged.len());
    let claims = Claims {
        iss: &world.settings().issuer_url,
        sub: subject,
        aud: &grant.audience,
        exp: now + i64::try_from(grant.lifetime.as_secs()).expect("a short life"),
        iat: now,
        jti: &TokenId::new(&id).expect("a jti"),
        client_id: &spec.client_id,
        scope: &grant.scopes,
        cuid: &client.object.uid,
        cep: client.object.epoch,
        cnf: None,
        delegation: Delegation::new(&spec.client_id, exchanged, 0),
        private: &spec.tokens.claims,
    };
    let key_id = KeyId::new(key(Algorithm::ES256).kid()).expect("a kid");
    let text = format!("{}.none", claims.signing_input(&compact_header(Algorithm::ES256, &key_id)).expect("claims"));
    let now = Timestamp::from_second(now).expect("a time");
    let issuer = &world.settings().issuer_url;
    read_without_checking_signature(&text, issuer, now, &world.settings().timings).expect("our own token is good")
}

/// A token of a client for an audience in its own name.
fn own(world: &Directory, hop: usize, audience: usize) -> AccessToken {
    let client = world.client_of(&object(&name(hop))).expect("the client");
    let resource = target(audience);
    let request = TokenRequest { resource: vec![&resource], scope: None };
    let grant = token_grant(client, world, &request).expect("a grant");
    issued(world, hop, &grant, (&format!("n{hop}.api"), &[]), NOW)
}

struct Ask<'a> {
    world: &'a Directory,
    revoked: Revoked,
    now: i64,
}

impl<'a> Ask<'a> {
    fn new(world: &'a Directory) -> Self {
        Self { world, revoked: Revoked::default(), now: 0 }
    }

    fn exchange(
        &self,
        hop: usize,
        subject: &AccessToken,
        (audience, scope): (&str, Option<&str>),
    ) -> Result<ExchangeDecision, Denied> {
        let client = self.world.client_of(&object(&name(hop))).expect("the client");
        let (directory, keys, now) = (self.world, &key_set(), at(self.now));
        let exchange = Exchange { client, directory, keys, revoked: &self.revoked, now };
        exchange.decide(subject, &TokenRequest { resource: vec![audience], scope })
    }

    /// The error code, or audience, scopes and seconds.
    fn told(&self, hop: usize, subject: &AccessToken, asked: (&str, Option<&str>)) -> String {
        match self.exchange(hop, subject, asked) {
            Ok(ExchangeDecision { grant, .. }) => {
                format!("{} {} {}", grant.audience, grant.scopes, grant.lifetime.as_secs())
            }
            Err(denied) => denied.error.code().to_owned(),
        }
    }
}

fn is_asked<'a>(world: &Directory, change: impl FnOnce(&mut ExchangeRequest<'a>)) -> Result<(), &'static str> {
    let mut request = ExchangeRequest { subject_token_type: Some(ACCESS_TOKEN_TYPE), ..ExchangeRequest::default() };
    change(&mut request);
    let client = world.client_of(&object(&name(1))).expect("the client");
    request.check(client).map_err(|denied| denied.error.code())
}

#[test]
fn exc_05_access_tokens_alone_are_exchanged_and_nobody_else_acts() {
    let world = directory(services(2));
    assert_eq!(is_asked(&world, |_| {}), Ok(()));
    assert_eq!(is_asked(&world, |request| request.requested_token_type = Some(ACCESS_TOKEN_TYPE)), Ok(()));
    for kind in ["refresh_token", "id_token", "saml1", "saml2", "jwt"]
        .map(|kind| format!("urn:ietf:params:oauth:token-type:{kind}"))
    {
        assert_eq!(is_asked(&world, |request| request.requested_token_type = Some(&kind)), Err("invalid_request"));
        assert_eq!(is_asked(&world, |request| request.subject_token_type = Some(&kind)), Err("invalid_request"));
    }
    assert_eq!(is_asked(&world, |request| request.subject_token_type = None), Err("invalid_request"));
    assert_eq!(is_asked(&world, |request| request.names_actor = true), Err("invalid_request"));
}

#[test]
fn exc_02_the_grant_type_has_to_be_the_clients() {
    let without_it = directory(services(2).into_iter().chain([edited(1, |spec| {
        spec.grant_types = vec![GrantType::ClientCredentials];
        spec.access.truncate(2);
    })]));
    assert_eq!(is_asked(&without_it, |_| {}), Err("unauthorized_client"));
    let subject = own(&without_it, 0, 1);
    assert_eq!(Ask::new(&without_it).told(1, &subject, (&target(0), None)), "unauthorized_client");
    let suspended = directory(services(3).into_iter().chain([edited(1, |spec| spec.state = ClientState::Suspended)]));
    assert_eq!(is_asked(&suspended, |_| {}), Err("invalid_client"));
}

#[test]
fn a_resource_server_gets_a_token_for_the_next_audience() {
    let world = directory(services(3));
    let subject = own(&world, 0, 1);
    let ask = Ask::new(&world);
    assert_eq!(ask.told(1, &subject, (&target(2), None)), format!("{} read 900", target(2)));
    let decision = ask.exchange(1, &subject, (&target(2), Some("read"))).expect("a token");
    let token = issued(&world, 1, &decision.grant, (&subject.subject, &decision.exchanged), NOW);
    assert_eq!((&*token.subject, token.client_id.as_str()), ("n0.api", "n1.api"));
    assert_eq!(token.claims["act"], serde_json::json!({"sub": "n1.api"}));
    assert_eq!(token.exchanged[0].token_id, subject.token_id);
}

#[test]
fn exc_01_only_a_resource_server_the_audiences_policy_names_may_exchange() {
    let world = directory(services(3));
    let subject = own(&world, 0, 1);
    let ask = Ask::new(&world);
    for other in [0, 2] {
        assert_eq!(ask.told(other, &subject, (&target(2), None)), "invalid_request", "{other}");
    }
    let foreign = world.apply([policy(&name(1), 1, |source| {
        source.resource_servers = vec![Ok("n2.api".parse().expect("a client id"))];
    })]);
    for hop in [1, 2] {
        assert_eq!(
            Ask::new(&foreign).told(hop, &subject, (&target(0), None)),
            "invalid_request",
            "another namespace's"
        );
    }
    let gone = world.apply([without(&policy(&name(1), 1, |_| {}))]);
    assert_eq!(Ask::new(&gone).told(1, &subject, (&target(2), None)), "invalid_request");
    let beside = world.apply([
        policy(&name(1), 1, |_| {}),
        policy("n1/more", 2, |source| {
            source.audience = Ok(audience(&target(1)));
            source.resource_servers = vec![Ok("n1.api".parse().expect("a client id"))];
        }),
    ]);
    assert_eq!(Ask::new(&beside).told(1, &subject, (&target(2), None)), format!("{} read 900", target(2)));
}

#[test]
fn exc_03_scopes_are_the_exchanging_clients_own() {
    let world = directory(services(3).into_iter().chain([policy(&name(1), 1, |source| {
        source.resource_servers = vec![Ok("n1.api".parse().expect("a client id"))];
        source.grants[0].as_mut().expect("a grant").scopes = scopes("read write");
    })]));
    let subject = own(&world, 0, 1);
    assert_eq!(subject.scope.to_string(), "read write");
    let ask = Ask::new(&world);
    for scope in ["write", "read write", "unknown", "read read"] {
        assert_eq!(ask.told(1, &subject, (&target(2), Some(scope))), "invalid_scope", "{scope}");
    }
    assert_eq!(ask.told(1, &subject, (&target(2), None)), format!("{} read 900", target(2)));
}

#[test]
fn exc_04_no_audience_comes_twice_and_none_is_unknown() {
    let world = directory(services(3));
    let ask = Ask::new(&world);
    let subject = own(&world, 0, 1);
    for bad in [&*target(1), "https://nowhere.example", "api"] {
        assert_eq!(ask.told(1, &subject, (bad, None)), "invalid_target", "{bad}");
    }
    let decision = ask.exchange(1, &subject, (&target(2), None)).expect("a token");
    let second = issued(&world, 1, &decision.grant, (&subject.subject, &decision.exchanged), NOW);
    for bad in [target(1), target(2)] {
        assert_eq!(ask.told(2, &second, (&bad, None)), "invalid_target", "{bad}");
    }
    assert_eq!(ask.told(2, &second, (&target(0), None)), format!("{} read 900", target(0)));
}

#[test]
fn exc_08_no_token_outlives_the_one_it_came_from() {
    let world = directory(services(3));
    let subject = own(&world, 0, 1);
    let mut ask = Ask::new(&world);
    for (now, told) in [(0, 900), (600, 300), (899, 1)] {
        ask.now = now;
        assert_eq!(ask.told(1, &subject, (&target(2), None)), format!("{} read {told}", target(2)));
    }
    for now in [900, 930, 5000] {
        ask.now = now;
        assert_eq!(ask.told(1, &subject, (&target(2), None)), "invalid_request", "{now}: the leeway is no life");
    }
    let brief = world.apply([edited(1, |spec| spec.tokens.access_token_lifetime = Some(Duration::from_mins(1)))]);
    assert_eq!(Ask::new(&brief).told(1, &subject, (&target(2), None)), format!("{} read 60", target(2)));
}

#[test]
fn exc_06_a_revoked_token_and_one_of_a_client_that_is_gone_are_not_exchanged() {
    let world = directory(services(3));
    let subject = own(&world, 0, 1);
    let decision = Ask::new(&world).exchange(1, &subject, (&target(2), None)).expect("a token");
    let second = issued(&world, 1, &decision.grant, (&subject.subject, &decision.exchanged), NOW);
    let timings = Timings::default();
    let uid = |hop: usize| Uid::new(&format!("n{hop}-api")).expect("a uid");
    let told = |world: &Directory, entries: Vec<Entry>| {
        let revoked = Revoked::build([&Shard { entries }], at(0));
        let ask = Ask { world, revoked, now: 0 };
        [ask.told(1, &subject, (&target(2), None)), ask.told(2, &second, (&target(0), None))]
    };
    let good = [format!("{} read 900", target(2)), format!("{} read 900", target(0))];
    let refused = || "invalid_request".to_owned();
    assert_eq!(told(&world, Vec::new()), good);
    assert_eq!(told(&world, vec![Entry::token(&subject, at(0), &timings)]), [refused(), refused()]);
    assert_eq!(told(&world, vec![Entry::token(&second, at(0), &timings)]), [good[0].clone(), refused()]);
    assert_eq!(told(&world, vec![Entry::client(uid(0), None, 1, at(0), &timings)]), [refused(), refused()]);
    assert_eq!(told(&world, vec![Entry::client(uid(1), None, 1, at(0), &timings)]), [good[0].clone(), refused()]);
    let asleep = world.apply([edited(0, |spec| spec.state = ClientState::Suspended)]);
    assert_eq!(told(&asleep, Vec::new()), [refused(), refused()]);
    let anonymous = AccessToken { client_uid: None, ..subject.clone() };
    assert_eq!(Ask::new(&world).told(1, &anonymous, (&target(2), None)), "invalid_request");
}

#[test]
fn exc_07_four_clients_may_act_in_a_row() {
    let world = directory(services(7));
    let ask = Ask::new(&world);
    let mut token = own(&world, 0, 1);
    for hop in 1..=MAX_EXCHANGES {
        let decision = ask.exchange(hop, &token, (&target(hop + 1), None)).expect("a token");
        token = issued(&world, hop, &decision.grant, ("n0.api", &decision.exchanged), NOW);
    }
    assert_eq!(token.exchanged.len(), MAX_EXCHANGES);
    assert_eq!(ask.told(5, &token, (&target(6), None)), "invalid_request");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever row of exchanges somebody tries, what comes of it is no more than its client could have had, no longer than any
    /// before, for an audience not seen before, by the resource server of the one before.
    #[test]
    fn no_row_of_exchanges_widens(
        granted in prop::collection::vec((0..5usize, 0..5usize), 0..16),
        tries in prop::collection::vec((0..5usize, 0..5usize, 0..400i64), 1..10),
    ) {
        let extra = |owner: usize| {
            let to: Vec<_> = granted.iter().filter(|(of, _)| *of == owner).map(|(_, to)| *to).collect();
            policy(&name(owner), 1, |source| {
                source.resource_servers = vec![Ok(format!("n{owner}.api").parse().expect("a client id"))];
                for to in to {
                    let grantee = crate::policy::Grantee::Client(format!("n{to}.api").parse().expect("an id"));
                    source.grants.push(Ok(crate::policy::Grant { scopes: scopes("write"), to: vec![grantee] }));
                }
            })
        };
        let world = directory(services(5).into_iter().chain((0..5).map(extra)));
        let mut ask = Ask::new(&world);
        let mut row = vec![own(&world, 0, 1)];
        for (hop, next, later) in tries {
            ask.now += later;
            let last = row.last().expect("the first").clone();
            let Ok(decision) = ask.exchange(hop, &last, (&target(next), None)) else { continue };
            let token = issued(&world, hop, &decision.grant, ("n0.api", &decision.exchanged), NOW + ask.now);
            prop_assert_eq!(last.audience.as_str(), target(hop), "its resource server exchanges it");
            let client = world.client_of(&object(&name(hop))).expect("the client");
            prop_assert!(token.scope.is_subset(&world.granted(client, token.audience.as_str())));
            prop_assert!(row.iter().all(|before| token.expires_at <= before.expires_at));
            prop_assert!(row.iter().all(|before| token.audience != before.audience));
            let before: Vec<_> = row.iter().rev().map(|before| before.token_id.clone()).collect();
            let said: Vec<_> = token.exchanged.iter().map(|earlier| earlier.token_id.clone()).collect();
            prop_assert_eq!(said, before);
            row.push(token);
        }
        prop_assert!(row.len() <= MAX_EXCHANGES + 1);
    }
}
