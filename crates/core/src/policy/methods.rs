//! Sets of HTTP methods.
//!
//! Flows in: the names in a match. Flows out: one word whose bits are tested per request.

/// The methods a match is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Methods(u16);

const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
/// Every method that is not known shares a bit, which only [`Methods::ANY`] has.
const OTHER: u16 = 1 << KNOWN.len();

impl Methods {
    /// Every method, also those nobody has heard of.
    pub const ANY: Self = Self((OTHER << 1) - 1);
    /// No method.
    pub const NONE: Self = Self(0);

    /// Reads names such as `GET`; an empty list means every method. The error is the name that is unknown.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut methods = Self::NONE;
        for name in names {
            match Self::of(name) {
                Self(OTHER) => return Err(name),
                method => methods = methods.union(method),
            }
        }
        Ok(if methods == Self::NONE { Self::ANY } else { methods })
    }

    /// The set of this one method, as it came with a request.
    pub fn of(method: &str) -> Self {
        let known = KNOWN.iter().zip(0..).find(|(name, _)| **name == method);
        Self(known.map_or(OTHER, |(_, bit)| 1 << bit))
    }

    /// The names of its methods, in the order of RFC 9110; none for [`Methods::ANY`], as a match says it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let some = self != Self::ANY;
        KNOWN.iter().zip(0..).filter(move |(_, bit)| some && self.0 & (1 << bit) != 0).map(|(name, _)| *name)
    }

    /// Methods of either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a method.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_methods_named_and_an_empty_list_means_every_method() {
        let read = Methods::from_names(["GET", "HEAD"]).expect("known methods");
        assert!(read.intersects(Methods::of("GET")) && read.intersects(Methods::of("HEAD")));
        assert!(!read.intersects(Methods::of("DELETE")) && !read.intersects(Methods::of("PURGE")));
        assert_eq!(Methods::from_names([]), Ok(Methods::ANY));
        assert!(KNOWN.into_iter().chain(["PURGE"]).all(|method| Methods::ANY.intersects(Methods::of(method))));
    }

    #[test]
    fn an_unknown_or_lower_case_name_is_refused() {
        assert_eq!(Methods::from_names(["GET", "get"]), Err("get"));
        assert_eq!(Methods::from_names(["PURGE"]), Err("PURGE"));
    }
}
