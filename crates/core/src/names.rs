//! The strings that mean something, each a validated type.
//!
//! Flows in: text from manifests, tokens and requests, once, at the edge. Flows out: cheap clones (`Arc<str>`) that
//! compare, hash and print as their text. Anything holding one of these types holds a well-formed value.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} {rule}")]
pub struct NameError {
    /// What the text should have been, as a reader of a manifest calls it.
    pub kind: &'static str,
    /// The text, cut to 64 characters.
    pub value: String,
    /// What is expected instead.
    pub rule: &'static str,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, max $max:literal, $rule:literal, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most bytes such a name may have.
            pub const MAX: usize = $max;

            /// Reads the text, or says what is wrong with it.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if !text.is_empty() && text.len() <= Self::MAX && check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { kind: $kind, value: text.chars().take(64).collect(), rule: $rule })
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    )*};
}

names! {
    /// An OAuth client identifier (RFC 6749 section 2.2). Never holds `:`, which separates the parts of a person's subject.
    /// There is room for `<namespace>.<name>` of every OAuthClient: 63 characters, a point and 200.
    ClientId, "clientId", max 264, "must be 1 to 264 of A-Z a-z 0-9 . _ ~ -",
        |t| t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b));
    /// The resource server a token is for (RFC 7519 section 4.1.3, RFC 8707 section 2): an absolute URI without a fragment.
    Audience, "audience", max 512, "must be an absolute URI without a fragment, such as https://orders.shop.svc", is_absolute_uri;
    /// One scope token (RFC 6749 section 3.3).
    ScopeName, "scope", max 128, "must be 1 to 128 printable ASCII characters without space, \" or \\", is_scope_token;
    /// A key identifier: the RFC 7638 SHA-256 thumbprint, base64url without padding.
    KeyId, "kid", max 43, "must be a 43 character base64url thumbprint",
        |t| t.len() == 43 && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    /// A Kubernetes namespace (RFC 1123 label).
    Namespace, "namespace", max 63, "must be a lower case RFC 1123 label", is_dns_label;
    /// The name of a Kubernetes object (RFC 1123 subdomain).
    ObjectName, "name", max 253, "must be a lower case RFC 1123 subdomain", is_dns_subdomain;
    /// The name of an installation (`--issuer-name`, `spec.issuer`).
    IssuerName, "issuer", max 63, "must be a lower case RFC 1123 label", is_dns_label;
    /// The UID the API server gave an object.
    Uid, "uid", max 64, "must be 1 to 64 of A-Z a-z 0-9 -", |t| t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    /// A token's unique identifier (`jti`, RFC 7519 section 4.1.7).
    TokenId, "jti", max 128, "must be 1 to 128 printable ASCII characters", |t| t.bytes().all(|b| (0x21..0x7f).contains(&b));
}

fn is_scope_token(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// How long it may be is each name's own: the API server bounds a subdomain as a whole, not its labels.
fn is_dns_label(text: &str) -> bool {
    !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(|label| !label.is_empty() && is_dns_label(label))
}

fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !rest.is_empty()
        && rest.bytes().all(|b| (0x21..0x7f).contains(&b) && !b"#\"<>\\^`{|}".contains(&b))
}

/// A namespaced object, printed `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectRef {
    /// Where the object lies.
    pub namespace: Namespace,
    /// What it is called there.
    pub name: ObjectName,
}

impl ObjectRef {
    /// Reads both halves.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        Ok(Self { namespace: Namespace::new(namespace)?, name: ObjectName::new(name)? })
    }
}

impl FromStr for ObjectRef {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((namespace, name)) = text.split_once('/') else {
            return Err(NameError {
                kind: "object",
                value: text.chars().take(64).collect(),
                rule: "must be namespace/name",
            });
        };
        Self::new(namespace, name)
    }
}

impl TryFrom<String> for ObjectRef {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ObjectRef> for String {
    fn from(object: ObjectRef) -> Self {
        object.to_string()
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_accept_their_form_and_nothing_else() {
        for (good, bad) in [
            (ClientId::new("shop.checkout").is_ok(), ClientId::new("ldap:anna").is_ok()),
            (Audience::new("https://orders.shop.svc").is_ok(), Audience::new("orders").is_ok()),
            (Audience::new("urn:example:orders").is_ok(), Audience::new("https://orders#x").is_ok()),
            (ScopeName::new("orders:read").is_ok(), ScopeName::new("orders read").is_ok()),
            (Namespace::new("shop").is_ok(), Namespace::new("Shop").is_ok()),
            (ObjectName::new("a.b-c").is_ok(), ObjectName::new("a..b").is_ok()),
            (ObjectName::new(&"n".repeat(253)).is_ok(), ObjectName::new(&"n".repeat(254)).is_ok()),
            (Namespace::new(&"n".repeat(63)).is_ok(), Namespace::new(&"n".repeat(64)).is_ok()),
            (TokenId::new("abc").is_ok(), TokenId::new("a b").is_ok()),
        ] {
            assert!(good && !bad);
        }
        assert!(ClientId::new(&format!("{}.{}", "n".repeat(63), "c".repeat(200))).is_ok());
        assert!(ClientId::new(&"a".repeat(265)).is_err());
        assert!(ClientId::new("").is_err());
    }

    #[test]
    fn an_error_names_the_field_and_the_rule() {
        let error = Namespace::new("Shop").expect_err("upper case is refused");
        assert_eq!(error.to_string(), "namespace \"Shop\" must be a lower case RFC 1123 label");
    }

    #[test]
    fn an_object_reads_back_as_it_prints() {
        let object: ObjectRef = "shop/checkout".parse().expect("a good reference");
        assert_eq!(object.to_string(), "shop/checkout");
        assert!("shop".parse::<ObjectRef>().is_err());
    }
}
