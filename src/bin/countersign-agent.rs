//! `countersign agent` by itself: in a pod of somebody else's most of the agent's memory would be the rest of the binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::agent_main()
}
