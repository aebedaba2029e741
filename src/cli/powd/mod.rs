//! `trueup powd`: the service, and what is done with proofs without it.

mod bench;
mod mint;
mod rules;
mod serve;
mod verify;

use super::args::{PowdArgs, PowdCommand};
use super::exit::{ExitCode, Failure};

pub(super) fn powd(options: &PowdArgs) -> Result<ExitCode, Failure> {
    match &options.command {
        None => serve::serve(&options.serve),
        Some(PowdCommand::Serve(options)) => serve::serve(options),
        Some(PowdCommand::Verify(options)) => verify::verify(options),
        Some(PowdCommand::Mint(options)) => mint::mint(options),
        Some(PowdCommand::Bench(options)) => bench::bench(options),
    }
}
