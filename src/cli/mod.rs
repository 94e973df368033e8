//! The command line: one file a subcommand, each only wiring.
//!
//! Exit codes: 0 fine, 1 the answer is no or the run failed, 2 wrong usage, 141 the reader closed the pipe.

mod accept_restore;
mod admission;
mod agent;
mod ca_file;
mod certificates;
mod check;
mod client_keys;
mod cluster;
mod colour;
mod controller;
mod crd;
mod demo;
mod explain;
mod fetch;
mod issuer;
mod manifests;
mod migrate;
mod options;
mod out;
mod process;
mod roles;
mod standalone;
mod store;
mod token;
mod told;
mod traces;
mod usage;
mod verifier;
mod wiring;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

use self::out::Closed;
use self::usage::Usage;

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
    Admission(Box<admission::Admission>),
    Agent(Box<agent::Agent>),
    Check(check::Check),
    Explain(Box<explain::Explain>),
    Token(token::Token),
    Crd(crd::Crd),
    AcceptRestore(accept_restore::AcceptRestore),
    Migrate(migrate::Migrate),
    /// Print a completion script for a shell
    ///
    /// For bash, in this shell: `source <(countersign completion bash)`.
    Completion {
        /// The shell to print it for
        shell: clap_complete::Shell,
    },
}

/// The command line of `countersign-agent`.
#[derive(Parser, Debug)]
#[command(name = "countersign-agent", version, max_term_width = 110)]
struct AgentLine {
    #[command(flatten)]
    agent: agent::Agent,
}

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    finish(install_cryptography().and_then(|()| run(command)))
}

/// Runs the agent, and nothing else is linked: what `countersign agent` does, in a fraction of the memory.
pub fn agent_main() -> ExitCode {
    let AgentLine { agent } = AgentLine::parse();
    let ended = install_cryptography().and_then(|()| agent::block_on(agent.run()));
    finish(ended.map(|()| ExitCode::SUCCESS))
}

/// The exit code, after what went wrong was said.
fn finish(ended: Result<ExitCode>) -> ExitCode {
    match ended {
        Ok(code) => code,
        Err(error) if error.is::<Closed>() => ExitCode::from(out::CLOSED),
        Err(error) => {
            // Nothing is left to do where standard error is closed too.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            if !error.is::<Usage>() {
                return ExitCode::FAILURE;
            }
            drop(writeln!(std::io::stderr(), "\nFor more information, try '--help'."));
            ExitCode::from(2)
        }
    }
}

/// Exit code 1 without a message is for commands whose answer is no.
fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Check(check) => check.run(),
        Command::Explain(explain) => explain.run(),
        Command::Migrate(migrate) => migrate.run(),
        other => serve(other).map(|()| ExitCode::SUCCESS),
    }
}

fn serve(command: Command) -> Result<()> {
    match command {
        Command::Check(_) | Command::Explain(_) | Command::Migrate(_) => Ok(()),
        Command::Demo(demo) => block_on(demo.run()),
        Command::Standalone(standalone) => block_on(standalone.run()),
        Command::Controller(controller) => block_on(controller.run()),
        Command::Issuer(issuer) => block_on(issuer.run()),
        Command::Verifier(verifier) => block_on(verifier.run()),
        Command::Admission(admission) => block_on(admission.run()),
        Command::Agent(agent) => agent::block_on(agent.run()),
        Command::Crd(crd) => crd.run(),
        Command::AcceptRestore(accept) => block_on(accept.run()),
        Command::Token(token) => block_on(token.run()),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "countersign", &mut script);
            out::print(&String::from_utf8(script).context("the script is no text")?)
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
    use clap::Arg;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    /// What is missing in the help about a flag.
    fn lacks(flag: &Arg) -> Option<&'static str> {
        let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string).unwrap_or_default();
        let twin = flag.get_env().and_then(|name| name.to_str());
        let takes_value = flag.get_action().takes_values();
        let told = !flag.get_default_values().is_empty() || flag.is_required_set() || help.contains("default");
        if help.is_empty() {
            Some("what it does")
        } else if !twin.is_some_and(|name| name.starts_with("COUNTERSIGN_")) {
            Some("its variable")
        } else if takes_value && !told {
            Some("its default")
        } else {
            let raw = flag.get_id().as_str().to_uppercase();
            let names = flag.get_value_names().unwrap_or_default();
            (takes_value && names.iter().any(|name| **name == *raw && raw.contains('_'))).then_some("what its value is")
        }
    }

    #[test]
    fn each_flag_says_what_it_does_its_default_and_its_variable() {
        let mut missing = Vec::new();
        for command in CommandLine::command().get_subcommands() {
            let flags = command.get_arguments().filter(|arg| !arg.is_positional());
            for flag in flags.filter(|flag| !flag.get_id().as_str().starts_with("test_clock")) {
                let lack = lacks(flag).map(|what| format!("{} --{}: {what}", command.get_name(), flag.get_id()));
                missing.extend(lack);
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn each_command_shows_an_example() {
        for command in CommandLine::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.matches("countersign ").count() > help.matches("Usage: countersign ").count(), "{help}");
        }
    }
}
