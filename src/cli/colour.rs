//! Colour for people: only where standard output is a terminal.

use std::fmt::Display;
use std::io::IsTerminal as _;

/// Paints text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Colour(bool);

impl Colour {
    /// As standard output is.
    pub(super) fn of_stdout() -> Self {
        Self(std::io::stdout().is_terminal())
    }

    /// None.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(false)
    }

    /// The text in the colour of an SGR code such as `1;36`.
    pub(super) fn paint(self, code: &str, text: impl Display) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
