//! `trueup guard`: what a run starts beside itself, so that its processes end with it.

use std::io;

use super::args::GuardArgs;
use super::exit::{ExitCode, Failure};
use crate::host::leash;

pub(super) fn guard(options: &GuardArgs) -> Result<ExitCode, Failure> {
    leash::guard(&options.mark, &mut io::stdin().lock())?;
    Ok(ExitCode::Success)
}
