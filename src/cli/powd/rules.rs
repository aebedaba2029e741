//! What proofs are held to, from what was typed; and the keys, from where they are.

use std::path::Path;
use std::sync::Arc;

use crate::cli::args::RulesArgs;
use crate::cli::exit::{ExitCode, Failure};
use crate::diagnostic::Diagnostic;
use crate::powd::hashcash::resources;
use crate::powd::header::Target;
use crate::powd::rules::{Bounds, Keys, Rules};
use crate::secret::{Secrets, Source};

pub(super) fn rules(options: &RulesArgs) -> Result<Rules, Failure> {
    let mut rules = Rules::new(options.difficulty);
    let named = resources(&options.resources);
    rules.resources = Arc::new(named.map_err(|error| invalid("powd::resource", &error))?);
    rules.keys = keys(&options.keys)?;
    rules.derived_keys = keys(&options.derived_keys)?;
    rules.max_number = options.max_number;
    rules.bounds = Bounds { memory: options.max_memory.0, time: options.max_time.0 };
    if let Some(limit) = &options.limit {
        let (_, limit) = target(limit)?;
        (rules.bitcoin_limit, rules.litecoin_limit) = (limit, limit);
    }
    Ok(rules)
}

/// A target, and its nBits.
pub(super) fn target(text: &str) -> Result<(u32, Target), Failure> {
    let bits = Some(text).filter(|text| text.len() == 8 && !text.starts_with('+'));
    let bits = bits.and_then(|text| u32::from_str_radix(text, 16).ok());
    let found = bits.and_then(|bits| Some((bits, Target::from_compact(bits)?)));
    found.ok_or_else(|| {
        let told = format!("`{text}` is not the nBits of a target");
        let help = "write 8 hex digits, such as 1d00ffff";
        Failure::from(Diagnostic::error("powd::target", told).help(help)).exit(ExitCode::Invalid)
    })
}

/// The keys that are read from these sources.
pub(super) fn keys(sources: &[String]) -> Result<Keys, Failure> {
    let values: Result<Vec<Vec<u8>>, Failure> = sources.iter().map(|source| key(source)).collect();
    Keys::new(values?).map_err(|error| invalid("powd::key", &error))
}

fn key(text: &str) -> Result<Vec<u8>, Failure> {
    let wrong = |told: String| {
        let help = "name where the key is: `file:PATH`, `env:NAME` or `systemd-credential:NAME`";
        Failure::from(Diagnostic::error("powd::key", told).help(help)).exit(ExitCode::Invalid)
    };
    // What was typed may be the key itself, so it is not repeated.
    let Some((way, name)) = text.split_once(':') else {
        return Err(wrong("a key is not typed, but read from somewhere".to_owned()));
    };
    let source = Source::new(way, name).map_err(|error| wrong(error.to_string()))?;
    let environment = |name: &str| std::env::var(name).ok();
    let reading = Secrets::read([source.clone()], Path::new(""), &environment);
    match reading.missing.first() {
        Some((source, why)) => Err(wrong(format!("could not read the key from {source}: {why}"))),
        None => Ok(reading.secrets.reveal(&source.marker()).into_owned().into_bytes()),
    }
}

/// What was typed and can't be.
pub(super) fn invalid(code: &'static str, error: &dyn std::error::Error) -> Failure {
    Failure::because(code, error).exit(ExitCode::Invalid)
}
