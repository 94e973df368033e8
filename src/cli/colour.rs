//! Colour for people: only where what is written to is a terminal. And no colour, cursor or line of anybody else's.

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

    /// As standard error is.
    pub(super) fn of_stderr() -> Self {
        Self(std::io::stderr().is_terminal())
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

/// The codes `paint` is called with, and the end of each.
const CODES: [&str; 8] = ["0", "1", "2", "31", "33", "1;31", "1;32", "1;33"];

/// A line without control characters but those of `paint`: what came from a token, a URL or a file must not write lines, move
/// the cursor or ring the bell.
pub(super) fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    for (at, character) in line.char_indices() {
        let code = line.get(at + 1..).and_then(|rest| rest.strip_prefix('[')?.split_once('m'));
        let is_ours = character == '\x1b' && code.is_some_and(|(code, _)| CODES.contains(&code));
        if character.is_control() && !is_ours {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_writes_no_line_and_moves_no_cursor() {
        assert_eq!(plain("c\nALLOWED \x1b[2J\u{7}\u{9b}m"), "c\\nALLOWED \\u{1b}[2J\\u{7}\\u{9b}m");
        let painted = Colour(true).paint("1;31", "DENIED");
        assert_eq!(plain(&painted), painted);
    }
}
