//! Which token an agent keeps: its name there, and what it is asked for with.
//!
//! Flows in: a flag of `countersign agent`, or the annotation of a pod that asks for one. Flows out: the parameters of token
//! requests.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::names::{Audience, NameError};
use crate::scope::ScopeSet;

/// A token to keep, written `NAME[=AUDIENCE][ SCOPE…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    name: Arc<str>,
    audience: Option<Audience>,
    scopes: Option<ScopeSet>,
}

/// Why a text names no token.
#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    /// It begins with no name.
    #[error(
        "write NAME=AUDIENCE SCOPE…, such as 'orders=https://orders.shop.svc orders:read'; a name has 1 to 63 of a-z 0-9 - and begins and ends with a letter or digit"
    )]
    Name,
    /// The audience or a scope is none.
    #[error(transparent)]
    Part(#[from] NameError),
    /// Two would lie in the same file.
    #[error("two tokens have the same name")]
    Twice,
}

impl Wanted {
    /// Reads several, with commas between, each by a name of its own.
    pub fn list(text: &str) -> Result<Vec<Self>, WantedError> {
        let tokens: Vec<Self> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        if Self::are_distinct(&tokens) { Ok(tokens) } else { Err(WantedError::Twice) }
    }

    /// Whether each has a name of its own.
    pub fn are_distinct(tokens: &[Self]) -> bool {
        tokens.iter().map(Self::name).collect::<BTreeSet<_>>().len() == tokens.len()
    }

    /// What it is called at the agent: the name of its files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters of its token request (RFC 6749 section 4.4.2, RFC 8707 section 2).
    pub fn parameters(&self) -> impl Iterator<Item = (&'static str, String)> {
        let audience = self.audience.as_ref().map(|audience| ("resource", audience.to_string()));
        let scopes = self.scopes.as_ref().map(|scopes| ("scope", scopes.to_string()));
        audience.into_iter().chain(scopes)
    }
}

impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, WantedError> {
        let (head, scopes) = text.split_once(' ').map_or((text, None), |(head, scopes)| (head, Some(scopes)));
        let (name, audience) = head.split_once('=').map_or((head, None), |(name, audience)| (name, Some(audience)));
        if !is_label(name) {
            return Err(WantedError::Name);
        }
        Ok(Self {
            name: name.into(),
            audience: audience.map(Audience::new).transpose()?,
            scopes: scopes.map(ScopeSet::parse).transpose()?,
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.audience.iter().try_for_each(|audience| write!(f, "={audience}"))?;
        self.scopes.iter().try_for_each(|scopes| write!(f, " {scopes}"))
    }
}

/// A DNS label: no separator, no dot, so that it is a file's name and nothing else.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_named_with_audience_and_scopes_or_without() {
        let parameters = |text: &str| text.parse::<Wanted>().unwrap().parameters().collect::<Vec<_>>();
        let resource = || ("resource", "https://orders.shop.svc".to_owned());
        assert_eq!(parameters("default"), []);
        assert_eq!(parameters("orders=https://orders.shop.svc"), [resource()]);
        assert_eq!(parameters("orders orders:read"), [("scope", "orders:read".to_owned())]);
        let both = "orders=https://orders.shop.svc orders:write orders:read";
        assert_eq!(parameters(both), [resource(), ("scope", "orders:read orders:write".to_owned())]);
        assert_eq!(both.parse::<Wanted>().unwrap().name(), "orders");
    }

    #[test]
    fn several_have_commas_between_and_names_of_their_own() {
        let names =
            |text: &str| Wanted::list(text).map(|tokens| tokens.iter().map(ToString::to_string).collect::<Vec<_>>());
        let two = "orders=https://orders.shop.svc orders:read,stock";
        assert_eq!(names(two).unwrap(), two.split(',').collect::<Vec<_>>());
        assert!(matches!(names("orders,stock,orders=https://orders"), Err(WantedError::Twice)));
        assert!(matches!(names("orders,"), Err(WantedError::Name)));
    }

    #[test]
    fn a_name_is_a_file_name_and_nothing_else() {
        for bad in ["", "=https://a", "../x", "a/b", "A", "-a", "a-", "a.json", "a=", "a=orders", "a ", "a b  c"] {
            assert!(bad.parse::<Wanted>().is_err(), "{bad:?}");
        }
        assert!("n".repeat(63).parse::<Wanted>().is_ok() && "n".repeat(64).parse::<Wanted>().is_err());
    }
}
