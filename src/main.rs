//! Start-up only: the command line decides what this process is.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::main()
}
