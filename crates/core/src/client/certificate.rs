//! What a client's certificate must say, and what a certificate says (RFC 8705 section 2.1.2).
//!
//! Flows in: `certificate` of a method `MutualTls`; names read from a certificate that chains to an authority the issuer trusts.
//! Flows out: whether they are equal. Names are compared as they are: no wildcard stands for another name, no case of a URI is
//! folded, and a name no comparison can be sure of is nobody's.

use std::fmt;
use std::str::FromStr;

/// The one name by which a client's certificate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// A URI among the subject alternative names (RFC 5280 section 4.2.1.6).
    SanUri(String),
    /// A DNS name among them.
    SanDns(String),
    /// The subject.
    SubjectDn(DistinguishedName),
}

/// The names of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The URIs among its subject alternative names.
    pub uris: Vec<String>,
    /// The DNS names among them.
    pub dns: Vec<String>,
    /// Its subject, where it could be read.
    pub subject: Option<DistinguishedName>,
}

/// A distinguished name: relative ones in the order of the certificate, each a set of attribute types and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<(Oid, String)>>);

/// An attribute type, as its encoded object identifier.
type Oid = Vec<u8>;

/// Why a text is no distinguished name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a distinguished name as RFC 4514 writes it, such as CN=checkout,O=shop")]
pub struct NotDistinguished;

/// The attribute types of RFC 4514 section 3, and those certificates often have.
const TYPES: [(&str, &[u8]); 11] = [
    ("CN", &[0x55, 4, 3]),
    ("SERIALNUMBER", &[0x55, 4, 5]),
    ("C", &[0x55, 4, 6]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("STREET", &[0x55, 4, 9]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
    ("EMAILADDRESS", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
];
/// More relative names than any certificate has.
const MAX_RELATIVE: usize = 32;

const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `UTF8String`, `PrintableString`, `IA5String`: what a value may be written as and still be text without a doubt.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

// === impl CertificateName ===

impl CertificateName {
    /// Whether the certificate has this name.
    pub fn is_of(&self, names: &CertificateNames) -> bool {
        match self {
            Self::SanUri(uri) => names.uris.iter().any(|name| name == uri),
            Self::SanDns(dns) => names.dns.iter().any(|name| name.eq_ignore_ascii_case(dns)),
            Self::SubjectDn(subject) => names.subject.as_ref() == Some(subject),
        }
    }
}

// === impl DistinguishedName ===

impl DistinguishedName {
    /// Reads the content of a certificate's `subject` (RFC 5280 section 4.1.2.6): DER without its outermost tag. `None` for an
    /// empty one, and where a value is text in no certain way.
    pub fn from_der(mut bytes: &[u8]) -> Option<Self> {
        let mut relative = Vec::new();
        while !bytes.is_empty() {
            let (mut set, rest) = take(bytes, SET)?;
            let mut attributes = Vec::new();
            while !set.is_empty() {
                let (attribute, more) = take(set, SEQUENCE)?;
                let (oid, value) = take(attribute, OBJECT_IDENTIFIER)?;
                let tag = *value.first().filter(|tag| TEXTS.contains(tag))?;
                let (text, nothing) = take(value, tag)?;
                if !nothing.is_empty() {
                    return None;
                }
                attributes.push((oid.to_vec(), std::str::from_utf8(text).ok()?.to_owned()));
                set = more;
            }
            relative.push(attributes);
            bytes = rest;
        }
        Self::of(relative)
    }

    fn of(mut relative: Vec<Vec<(Oid, String)>>) -> Option<Self> {
        let good = |attributes: &Vec<(Oid, String)>| !attributes.is_empty();
        let some = !relative.is_empty() && relative.len() <= MAX_RELATIVE && relative.iter().all(good);
        for attributes in &mut relative {
            attributes.sort();
        }
        some.then_some(Self(relative))
    }
}

impl FromStr for DistinguishedName {
    type Err = NotDistinguished;

    /// Reads what RFC 4514 writes: the last relative name of the certificate first.
    fn from_str(text: &str) -> Result<Self, NotDistinguished> {
        let mut relative = Vec::new();
        for part in split(text, ',') {
            let attributes: Result<Vec<_>, _> = split(part, '+').into_iter().map(attribute).collect();
            relative.push(attributes?);
        }
        relative.reverse();
        Self::of(relative).ok_or(NotDistinguished)
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SanUri(_) => "sanUri",
            Self::SanDns(_) => "sanDns",
            Self::SubjectDn(_) => "subjectDn",
        })
    }
}

/// The parts between separators that no backslash stands before.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut escaped) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        if letter == separator && !escaped {
            parts.extend(text.get(from..at));
            from = at + letter.len_utf8();
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.extend(text.get(from..));
    parts
}

/// `CN=checkout`.
fn attribute(text: &str) -> Result<(Oid, String), NotDistinguished> {
    let (kind, value) = text.trim_start_matches(' ').split_once('=').ok_or(NotDistinguished)?;
    let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind));
    let (_, oid) = known.ok_or(NotDistinguished)?;
    Ok((oid.to_vec(), unescape(value)?))
}

/// Undoes what RFC 4514 section 2.4 escapes. A value in hexadecimal (`#…`) is none here.
fn unescape(value: &str) -> Result<String, NotDistinguished> {
    if value.is_empty() || value.starts_with(['#', ' ']) || (value.ends_with(' ') && !value.ends_with("\\ ")) {
        return Err(NotDistinguished);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                let next = rest.next().ok_or(NotDistinguished)?;
                let digits = hex(next).zip(rest.clone().next().and_then(hex));
                match digits {
                    Some((high, low)) => {
                        rest.next();
                        bytes.push((high << 4) | low);
                    }
                    None if b" \"#+,;<=>\\".contains(&next) => bytes.push(next),
                    None => return Err(NotDistinguished),
                }
            }
            b'"' | b';' | b'<' | b'>' | 0 => return Err(NotDistinguished),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| NotDistinguished)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The content of the element with this tag that begins here, and what comes after it (DER: one way to write a length).
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let (length, rest) = rest.split_first().filter(|(length, _)| **length > 0x7f)?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The subject `C=DE, O=shop, CN=checkout+UID=7`, as openssl encodes it.
    fn der() -> Vec<u8> {
        let attribute = |oid: &[u8], tag: u8, text: &str| {
            let value = [&[tag, u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
            let content = [&[OBJECT_IDENTIFIER, u8::try_from(oid.len()).expect("short")], oid, &value].concat();
            [&[SEQUENCE, u8::try_from(content.len()).expect("short")], &content[..]].concat()
        };
        let set = |content: Vec<u8>| [&[SET, u8::try_from(content.len()).expect("short")], &content[..]].concat();
        let both = [attribute(TYPES[0].1, 0x0c, "checkout"), attribute(TYPES[9].1, 0x13, "7")].concat();
        [set(attribute(TYPES[2].1, 0x13, "DE")), set(attribute(TYPES[6].1, 0x0c, "shop")), set(both)].concat()
    }

    #[test]
    fn a_subject_is_equal_to_what_rfc_4514_writes_for_it() {
        let subject = DistinguishedName::from_der(&der());
        for text in
            ["CN=checkout+UID=7,O=shop,C=DE", "uid=7+cn=checkout, o=shop, c=DE", "CN=check\\6fut+UID=7,O=shop,C=DE"]
        {
            assert_eq!(text.parse().ok(), subject, "{text}");
        }
        for text in ["CN=checkout+UID=7,O=shop", "C=DE,O=shop,CN=checkout+UID=7", "CN=Checkout+UID=7,O=shop,C=DE"] {
            assert_ne!(text.parse().ok(), subject, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_distinguished_name_is_refused() {
        for text in [
            "", "checkout", "CN=", "CN=a,", ",CN=a", "XY=a", "CN=#0c01", "CN=a\\", "CN=a\\x", "CN=a;O=b", "CN= a",
            "CN=a ", "CN=a+", "CN=\\ff",
        ] {
            assert_eq!(text.parse::<DistinguishedName>(), Err(NotDistinguished), "{text}");
        }
        let escaped: DistinguishedName = "CN=a\\,b\\+c\\=d\\ ".parse().expect("a name");
        assert_eq!(escaped.0[0][0].1, "a,b+c=d ");
    }

    #[test]
    fn bytes_that_are_no_certain_subject_are_none() {
        let good = der();
        assert!(DistinguishedName::from_der(&good).is_some());
        assert_eq!(DistinguishedName::from_der(&[]), None);
        for cut in 1..good.len() {
            assert_ne!(DistinguishedName::from_der(&good[..cut]), DistinguishedName::from_der(&good), "{cut}");
        }
        let at = good.iter().position(|byte| *byte == 0x0c).expect("a text");
        for tag in [0x14, 0x1e, 0x04] {
            let mut other = good.clone();
            other[at] = tag;
            assert_eq!(DistinguishedName::from_der(&other), None, "{tag:#x}");
        }
    }

    #[test]
    fn a_name_is_that_of_the_certificate_and_no_other() {
        let names = CertificateNames {
            uris: vec!["spiffe://cluster.local/ns/shop/sa/checkout".to_owned()],
            dns: vec!["Checkout.shop.svc".to_owned(), "*.web.svc".to_owned()],
            subject: DistinguishedName::from_der(&der()),
        };
        let uri = |text: &str| CertificateName::SanUri(text.to_owned());
        let dns = |text: &str| CertificateName::SanDns(text.to_owned());
        let subject = |text: &str| CertificateName::SubjectDn(text.parse().expect("a name"));
        for name in [
            uri("spiffe://cluster.local/ns/shop/sa/checkout"),
            dns("checkout.shop.svc"),
            subject("CN=checkout+UID=7,O=shop,C=DE"),
        ] {
            assert!(name.is_of(&names), "{name:?}");
        }
        for name in [
            uri("spiffe://cluster.local/ns/shop/sa/Checkout"),
            uri("spiffe://cluster.local/ns/shop/sa/checkout/"),
            uri("spiffe://cluster.local/ns/shop/sa/check"),
            uri("checkout.shop.svc"),
            dns("a.web.svc"),
            dns("shop.svc"),
            subject("CN=checkout"),
        ] {
            assert!(!name.is_of(&names), "{name:?}");
            assert!(!name.is_of(&CertificateNames::default()), "{name:?}");
        }
    }
}
