//! `application/x-www-form-urlencoded` read strictly (RFC 6749 section 3.2 and appendix B).
//!
//! Flows in: a whole body of bounded size. Flows out: parameters by name, each at most once, empty ones as if absent. A
//! broken escape or text that is not UTF-8 refuses the form, since two readers could take it for two things.

use std::borrow::Cow;

/// More parameters than any request of ours has.
const MAX_PARAMETERS: usize = 64;
/// Parameters that RFC 8707 and RFC 8693 let appear several times; what several of them mean is the grant's to say.
const REPEATABLE: [&str; 2] = ["audience", "resource"];

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the request has too many parameters")]
    TooMany,
    #[error("a parameter appears more than once")]
    Repeated,
    #[error("a parameter is not form-encoded UTF-8")]
    Encoding,
}

/// The parameters of a request. Shown without their values: some are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    /// Reads the whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, FormError> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(8);
        for part in body.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(FormError::TooMany);
            }
            let equals = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
            let (name, value) = part.split_at(equals);
            let name = decode(name)?;
            if pairs.iter().any(|(known, _)| *known == name) && !REPEATABLE.contains(&&*name) {
                return Err(FormError::Repeated);
            }
            pairs.push((name, decode(value.get(1..).unwrap_or_default())?));
        }
        Ok(Self(pairs))
    }

    /// The parameter's value; `None` where it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a parameter that may repeat.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, value)| known == name && !value.is_empty()).map(|(_, value)| &**value)
    }
}

impl std::fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Undoes form encoding: `+` is a space, `%XX` a byte, the whole UTF-8 without NUL.
pub fn decode(text: &[u8]) -> Result<Cow<'_, str>, FormError> {
    let plain = text.iter().all(|byte| !matches!(byte, b'%' | b'+' | 0));
    if plain {
        return std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| FormError::Encoding);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next())? << 4 | hex(rest.next())?,
            byte => *byte,
        });
    }
    if bytes.contains(&0) {
        return Err(FormError::Encoding);
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| FormError::Encoding)
}

fn hex(digit: Option<&u8>) -> Result<u8, FormError> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(FormError::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_absent() {
        let form = Form::parse(b"grant_type=client_credentials&scope=a+b&client_secret=%3a%25%2B&state=&flag").unwrap();
        assert_eq!(form.get("grant_type"), Some("client_credentials"));
        assert_eq!(form.get("scope"), Some("a b"));
        assert_eq!(form.get("client_secret"), Some(":%+"));
        assert_eq!((form.get("state"), form.get("flag"), form.get("other")), (None, None, None));
    }

    #[test]
    fn a_parameter_twice_is_refused_unless_it_may_repeat() {
        for body in ["scope=a&scope=a", "scope=&scope=a", "x=1&x=2", "scope=a&%73cope=b"] {
            assert_eq!(Form::parse(body.as_bytes()).unwrap_err(), FormError::Repeated, "{body}");
        }
        let form = Form::parse(b"resource=a&resource=b").unwrap();
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn broken_encodings_are_refused() {
        for body in ["a=%ZZ", "a=%4", "a=%", "%zz=a", "a=%ff", "a=%00", "a=\0"] {
            assert_eq!(Form::parse(body.as_bytes()).unwrap_err(), FormError::Encoding, "{body}");
        }
        assert_eq!(Form::parse(b"a=\xff").unwrap_err(), FormError::Encoding);
    }

    #[test]
    fn many_parameters_are_refused() {
        let body: Vec<String> = (0..10_000).map(|n| format!("p{n}=1")).collect();
        assert_eq!(Form::parse(body.join("&").as_bytes()).unwrap_err(), FormError::TooMany);
    }

    #[test]
    fn values_are_not_shown() {
        assert_eq!(format!("{:?}", Form::parse(b"client_secret=hunter2").unwrap()), r#"["client_secret"]"#);
    }
}
