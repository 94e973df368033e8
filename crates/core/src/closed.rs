//! Names of closed enums, for metrics, logs and people.
//!
//! Flows in: an enum's variants, each with its name, and variants that hold another such enum. Flows out: `name`, and
//! `names` with every name there is. A variant without a name does not compile, so the two never differ.

/// Gives an enum `name` and `names`.
macro_rules! closed_names {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? } $(, $outer:ident($inner:ident))*) => {
        impl $type {
            /// Every name there is, for metrics whose labels must come from a closed set.
            pub fn names() -> impl Iterator<Item = &'static str> {
                [$($name),+].into_iter()$(.chain($inner::names()))*
            }

            /// A stable name, for metrics, logs and people.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    $(Self::$outer(inner) => inner.name(),)*
                }
            }
        }
    };
}
