//! The program: hands its arguments to the command line and exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    cairn::cli::main()
}
