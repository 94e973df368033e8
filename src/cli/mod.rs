//! The command line: one file a subcommand, each only wiring.
//!
//! Exit codes: 0 fine, 1 the answer is no or the run failed, 2 wrong usage.

mod controller;
mod crd;
mod demo;
mod fetch;
mod issuer;
mod options;
mod process;
mod roles;
mod standalone;
mod token;
mod verifier;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

/// Every call between services carries a token that is checked in microseconds
///
/// Countersign is an OAuth 2.0 authorization server, a Kubernetes operator and an authorization webhook in one binary.
/// Begin with `countersign demo`, which shows the whole life of a client and needs nothing else.
#[derive(Parser, Debug)]
#[command(name = "countersign", version, arg_required_else_help = true, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Demo(demo::Demo),
    Standalone(Box<standalone::Standalone>),
    Controller(Box<controller::Controller>),
    Issuer(Box<issuer::Issuer>),
    Verifier(Box<verifier::Verifier>),
    Token(token::Token),
    Crd(crd::Crd),
    /// Print a completion script for a shell
    Completion {
        shell: clap_complete::Shell,
    },
}

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    match install_cryptography().and_then(|()| run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do where standard error is closed too.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo(demo) => block_on(demo.run()),
        Command::Standalone(standalone) => block_on(standalone.run()),
        Command::Controller(controller) => block_on(controller.run()),
        Command::Issuer(issuer) => block_on(issuer.run()),
        Command::Verifier(verifier) => block_on(verifier.run()),
        Command::Crd(crd) => crd.run(),
        Command::Token(token) => block_on(token.run()),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut CommandLine::command(), "countersign", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// One cryptography library for everything that speaks TLS in this process.
fn install_cryptography() -> Result<()> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| anyhow::anyhow!("another cryptography library is installed already"))
}

fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }
}
