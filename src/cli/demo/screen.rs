//! What the demo shows: numbered steps, what happened, and the command that does the same by hand.

use std::fmt::Display;
use std::io::{Write as _, stdout};

use crate::cli::colour::Colour;

/// Writes to standard output, with colour where that is a terminal.
pub(super) struct Screen {
    colour: Colour,
    step: u32,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { colour: Colour::of_stdout(), step: 0 }
    }

    /// A new step.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        line(&format!("\n{}", self.paint("1;36", format_args!("{}. {title}", self.step))));
    }

    /// What happened.
    #[expect(clippy::unused_self, reason = "said on the screen like the rest")]
    pub(super) fn happened(&self, text: &str) {
        line(&format!("   {text}"));
    }

    /// What went as it should.
    pub(super) fn good(&self, text: &str) {
        line(&format!("   {} {text}", self.paint("32", "✓")));
    }

    /// How to do it by hand.
    pub(super) fn by_hand(&self, commands: &str) {
        for command in commands.lines() {
            line(&self.paint("2", format_args!("   $ {command}")));
        }
    }

    fn paint(&self, code: &str, text: impl Display) -> String {
        self.colour.paint(code, text)
    }
}

/// A closed pipe is the reader's way to say that it has seen enough; the scenario goes on.
fn line(text: &str) {
    drop(writeln!(stdout(), "{text}"));
}
