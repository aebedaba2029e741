//! `trueup powd mint`.

use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};

use super::rules::{invalid, keys, target};
use crate::cli::args::{MintArgs, MintFormat};
use crate::cli::exit::{ExitCode, Failure};
use crate::clock::Clock;
use crate::diagnostic::Diagnostic;
use crate::powd::altcha::derive::{self, Parameters};
use crate::powd::altcha::{v1, v2};
use crate::powd::hashcash;
use crate::powd::header::Header;
use crate::powd::mine::{ChallengeMiner, mine_header, mine_litecoin_header};
use crate::powd::rules::{Bounds, Keys};

/// How long keys of ALTCHA v2 are.
const KEY_LENGTH: usize = 32;

pub(super) fn mint(options: &MintArgs) -> Result<ExitCode, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match options.format {
        MintFormat::Challenge => {
            let mut miner = ChallengeMiner::random(options.bits);
            for _ in 0..options.count {
                let proof = miner.next().ok_or_else(|| nothing("no nonce gives so many bits"))?;
                serde_json::to_writer(&mut out, &proof)?;
                writeln!(out)?;
            }
        }
        MintFormat::Hashcash => {
            let resource = options.resource.as_deref();
            let resource =
                resource.ok_or_else(|| missing("resource", "name for whom the stamp is"))?;
            for _ in 0..options.count {
                let rand = hex::encode(rand::random::<[u8; 8]>());
                let stamp = hashcash::mint(resource, options.bits, Clock::system().now(), &rand);
                writeln!(out, "{}", stamp.map_err(|error| invalid("powd::mint", &error))?)?;
            }
        }
        MintFormat::AltchaV1 | MintFormat::AltchaV2 => altcha(options, &mut out)?,
        MintFormat::Bitcoin | MintFormat::Litecoin => headers(options, &mut out)?,
    }
    out.flush()?;
    Ok(ExitCode::Success)
}

fn headers(options: &MintArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (bits, _) = target(&options.target)?;
    let mine = match options.format {
        MintFormat::Litecoin => mine_litecoin_header,
        _ => mine_header,
    };
    let mut previous = [0; 32];
    for _ in 0..options.count {
        let header: Header = mine(previous, rand::random(), bits)
            .ok_or_else(|| nothing("no nonce gives a digest below the target"))?;
        previous = header.digest();
        if options.raw {
            out.write_all(&header.0)?;
        } else {
            writeln!(out, "{}", hex::encode(header.0))?;
        }
    }
    Ok(())
}

fn altcha(options: &MintArgs, out: &mut impl Write) -> Result<(), Failure> {
    let key = options.key.clone().ok_or_else(|| missing("key", "name the key to sign with"))?;
    let keys = keys(&[key])?;
    for _ in 0..options.count {
        let expires_at = expires_at(options)?;
        let text = match options.format {
            MintFormat::AltchaV1 => first(options, &keys, expires_at)?,
            _ => second(options, &keys, expires_at)?,
        };
        writeln!(out, "{text}")?;
    }
    Ok(())
}

fn expires_at(options: &MintArgs) -> Result<Timestamp, Failure> {
    let span = SignedDuration::try_from(options.expires.0).ok();
    let at = span.and_then(|span| Clock::system().now().checked_add(span).ok());
    at.ok_or_else(|| nothing("there is no such time"))
}

fn first(options: &MintArgs, keys: &Keys, expires_at: Timestamp) -> Result<String, Failure> {
    let algorithm = v1::Algorithm::named(&options.algorithm)
        .ok_or_else(|| unknown(options, &v1::Algorithm::ALL.map(v1::Algorithm::name)))?;
    let wanted = v1::Wanted { algorithm, max_number: options.max_number, expires_at };
    let challenge = v1::issue(&wanted, keys).ok_or_else(|| nothing("there is no such time"))?;
    if options.unsolved {
        return Ok(challenge.json().to_string());
    }
    let solved = challenge.solve().ok_or_else(|| nothing("no number solves it"))?;
    Ok(solved.encode())
}

fn second(options: &MintArgs, keys: &Keys, expires_at: Timestamp) -> Result<String, Failure> {
    let algorithm = derive::Algorithm::named(&options.algorithm)
        .ok_or_else(|| unknown(options, &derive::Algorithm::ALL.map(derive::Algorithm::name)))?;
    let parameters = Parameters {
        algorithm,
        cost: options.cost,
        memory_cost: options.memory_cost,
        parallelism: options.parallelism,
        key_length: KEY_LENGTH,
    };
    let key_prefix = options.key_prefix.clone();
    let wanted = v2::Wanted { parameters, key_prefix, expires_at, data: None };
    let bounds = Bounds::default();
    if parameters.within(&bounds).is_err() || options.key_prefix.len() > 2 * KEY_LENGTH {
        return Err(nothing("one of its numbers is out of range, or it would take too long"));
    }
    let challenge = v2::issue(&wanted, keys)
        .ok_or_else(|| nothing("the key's prefix must be lower-case hex"))?;
    if options.unsolved {
        return Ok(challenge.json().to_string());
    }
    let solved = challenge.solve(&bounds).ok_or_else(|| nothing("no counter solves it"))?;
    Ok(solved.encode())
}

fn unknown(options: &MintArgs, names: &[&str]) -> Failure {
    let told = format!("`{}` is no algorithm of this format", options.algorithm);
    let help = format!("write one of: {}", names.join(", "));
    Failure::from(Diagnostic::error("powd::mint", told).help(help)).exit(ExitCode::Invalid)
}

fn missing(option: &str, help: &str) -> Failure {
    let told = format!("`--{option}` is missing");
    Failure::from(Diagnostic::error("powd::mint", told).help(help)).exit(ExitCode::Invalid)
}

fn nothing(why: &str) -> Failure {
    let told = format!("could not make the proof: {why}");
    let help = "`trueup powd mint --help` tells what can be made";
    Diagnostic::error("powd::mint", told).help(help).into()
}
