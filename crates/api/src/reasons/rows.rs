//! How a row of the list is written.

use super::{Place, Reason};

pub(super) const fn client(
    condition: &'static str,
    status: &'static str,
    name: &'static str,
    says: [&'static str; 2],
) -> Reason {
    of("OAuthClient", condition, status, name, says)
}

pub(super) const fn policy(
    condition: &'static str,
    status: &'static str,
    name: &'static str,
    says: [&'static str; 2],
) -> Reason {
    of("ScopePolicy", condition, status, name, says)
}

pub(super) const fn key(
    condition: &'static str,
    status: &'static str,
    name: &'static str,
    says: [&'static str; 2],
) -> Reason {
    of("SigningKey", condition, status, name, says)
}

pub(super) const fn of(
    kind: &'static str,
    condition: &'static str,
    status: &'static str,
    name: &'static str,
    [meaning, next]: [&'static str; 2],
) -> Reason {
    Reason { place: Place::Condition { kind, condition, status }, name, meaning, next }
}

pub(super) const fn other(place: Place, name: &'static str, [meaning, next]: [&'static str; 2]) -> Reason {
    Reason { place, name, meaning, next }
}

pub(super) const NOTHING: &str = "nothing";
