//! Words a field chooses from.
//!
//! Flows in: a string. Flows out: a variant, or `Unknown` for a word of a later version. `Unknown` is kept out of the
//! schema, is written back as it was read, and makes the element that holds it deny.

macro_rules! choice {
    ($($(#[$doc:meta])* $name:ident $(default $default:ident)? { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A word of a later version: what holds it denies.
            Unknown(String),
        }

        impl $name {
            /// The word.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(word) => word,
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Unknown(word),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer).map(Self::from)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($text),+] })
            }
        }

        $(impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        })?
    )+};
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    choice! {
        /// A state.
        State default On {
            /// On.
            On = "On",
            /// Off.
            Off = "Off",
        }
    }

    #[test]
    fn a_word_of_a_later_version_is_kept_as_it_was() {
        let state: State = serde_json::from_str("\"Dimmed\"").expect("any word reads");
        assert_eq!(state, State::Unknown("Dimmed".to_owned()));
        assert_eq!(serde_json::to_string(&state).expect("prints"), "\"Dimmed\"");
        assert_eq!(State::default(), State::from("On".to_owned()));
        assert_eq!(State::Off.to_string(), "Off");
    }

    #[test]
    fn the_schema_does_not_name_unknown() {
        let schema = schemars::schema_for!(State);
        assert_eq!(schema.get("enum"), Some(&serde_json::json!(["On", "Off"])));
    }
}
