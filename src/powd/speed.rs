//! How many proofs of each format are verified in a second.
//!
//! Proofs are made beforehand, all are right, and each is checked whole, as if it had just been read; so what is
//! measured is the price of a right one. Knows nothing of reading and recording.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::altcha::derive::{self, Parameters};
use super::altcha::{Payload, v1, v2};
use super::bitcoin;
use super::hashcash;
use super::header::{Header, Target};
use super::mine::{ChallengeMiner, mine_header, mine_litecoin_header};
use super::proof::{Proof, verify};
use super::rules::{Keys, Rules};
use crate::clock::Clock;

/// Different proofs of a format that is cheap to check.
const MANY: usize = 1024;

/// Different proofs of one that is not.
const FEW: usize = 8;

/// The target of the headers: every second digest is enough.
const EASY: u32 = 0x207f_ffff;

/// What is verified.
pub struct Case {
    /// Its name.
    pub name: String,
    work: Work,
}

enum Work {
    /// Each proof with its name under which it counts once.
    Proofs(Vec<Proof>),
    /// Headers one at a time, without that name.
    Headers(Vec<Header>),
    /// The same, handed over together.
    Together(Vec<Header>),
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Proofs that were verified.
    pub verified: u64,
    /// How long it took.
    pub took: Duration,
}

impl Measured {
    /// Proofs verified in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.verified as f64 / self.took.as_secs_f64()
    }
}

/// Proofs could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("could not make the proofs of {0}")]
pub struct Unmade(&'static str);

/// What the proofs are held to.
fn rules() -> Result<Rules, Unmade> {
    let easy = Target::from_compact(EASY).ok_or(Unmade("headers"))?;
    let keys = Keys::new(vec![b"a key of no importance".to_vec()]);
    Ok(Rules {
        bitcoin_limit: easy,
        litecoin_limit: easy,
        resources: std::sync::Arc::new([RESOURCE.to_owned()].into()),
        keys: keys.map_err(|_| Unmade("ALTCHA"))?,
        ..Rules::new(1)
    })
}

/// For whom the stamps are.
const RESOURCE: &str = "mail.example.org";

/// What is measured, made anew.
pub struct Bench {
    rules: Rules,
    now: Timestamp,
    clock: Clock,
    /// All of them.
    pub cases: Vec<Case>,
}

impl Bench {
    /// Makes the proofs of those whose name contains `only`.
    ///
    /// # Errors
    /// When they can't be made.
    pub fn new(clock: Clock, only: &str) -> Result<Self, Unmade> {
        let mut bench = Self { rules: rules()?, now: clock.now(), clock, cases: Vec::new() };
        let mut add = |name: &str, make: &dyn Fn(&Self) -> Result<Work, Unmade>| {
            if name.contains(only) {
                let work = make(&bench)?;
                bench.cases.push(Case { name: name.to_owned(), work });
            }
            Ok(())
        };
        add("bitcoin, one header", &|_| headers().map(Work::Headers))?;
        add("bitcoin, headers together", &|_| headers().map(Work::Together))?;
        add("bitcoin, header and name", &|_| {
            let headers = headers()?.into_iter();
            Ok(Work::Proofs(headers.map(|header| Proof::Bitcoin { header }).collect()))
        })?;
        add("challenge", &|_| Ok(Work::Proofs(ChallengeMiner::random(8).take(MANY).collect())))?;
        add("litecoin", &|_| {
            let mine = || mine_litecoin_header([0; 32], rand::random(), EASY);
            let headers: Option<Vec<_>> = (0..FEW).map(|_| mine()).collect();
            let headers = headers.ok_or(Unmade("litecoin"))?.into_iter();
            Ok(Work::Proofs(headers.map(|header| Proof::Litecoin { header }).collect()))
        })?;
        add("hashcash", &|bench| bench.stamps())?;
        for algorithm in v1::Algorithm::ALL {
            let name = format!("altcha_v1 {}", algorithm.name());
            add(&name, &|bench| bench.first(algorithm))?;
        }
        for (told, algorithm, cost, memory_cost) in [
            ("cost 1000", derive::Algorithm::Sha(derive::Hash::Sha256), 1000, None),
            ("cost 1000", derive::Algorithm::Pbkdf2(derive::Hash::Sha256), 1000, None),
            ("cost 1000", derive::Algorithm::Pbkdf2(derive::Hash::Sha512), 1000, None),
            ("N 16384 r 8", derive::Algorithm::Scrypt, 16384, Some(8)),
            ("1 MiB cost 1", derive::Algorithm::Argon2id, 1, Some(1024)),
        ] {
            let name = format!("altcha_v2 {} {told}", algorithm.name());
            let parameters =
                Parameters { algorithm, cost, memory_cost, parallelism: None, key_length: 32 };
            add(&name, &|bench| bench.second(parameters))?;
        }
        Ok(bench)
    }

    fn expires_at(&self) -> Timestamp {
        self.now.saturating_add(SignedDuration::from_hours(1)).unwrap_or(self.now)
    }

    fn stamps(&self) -> Result<Work, Unmade> {
        let stamp = |number: usize| hashcash::mint(RESOURCE, 8, self.now, &format!("{number:x}"));
        let stamps: Result<Vec<_>, _> = (0..MANY).map(stamp).collect();
        let stamps = stamps.map_err(|_| Unmade("hashcash"))?.into_iter();
        Ok(Work::Proofs(stamps.map(|stamp| Proof::Hashcash { stamp }).collect()))
    }

    fn first(&self, algorithm: v1::Algorithm) -> Result<Work, Unmade> {
        let wanted = v1::Wanted { algorithm, max_number: 100, expires_at: self.expires_at() };
        let solved = || v1::issue(&wanted, &self.rules.keys)?.solve();
        payloads(MANY, || Some(Payload::V1(Box::new(solved()?))))
    }

    fn second(&self, parameters: Parameters) -> Result<Work, Unmade> {
        let key_prefix = "0".to_owned();
        let wanted =
            v2::Wanted { parameters, key_prefix, expires_at: self.expires_at(), data: None };
        let solved = || v2::issue(&wanted, &self.rules.keys)?.solve(&self.rules.bounds);
        payloads(FEW, || Some(Payload::V2(Box::new(solved()?))))
    }

    /// How many of a case are verified on so many threads in about so long.
    #[must_use]
    pub fn measure(&self, case: &Case, threads: usize, duration: Duration) -> Measured {
        let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let started = self.clock.instant();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        done.fetch_add(self.round(case), Ordering::Relaxed);
                        // Whoever sees first that it is time, tells the others.
                        if self.clock.instant().saturating_duration_since(started) >= duration {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let took = self.clock.instant().saturating_duration_since(started);
        Measured { verified: done.into_inner(), took }
    }

    /// Verifies all of a case's proofs once, and answers how many were right.
    #[must_use]
    pub fn round(&self, case: &Case) -> u64 {
        let right = match &case.work {
            Work::Proofs(proofs) => {
                let checked =
                    proofs.iter().map(|one| verify(black_box(one), &self.rules, self.now));
                checked.flatten().count()
            }
            Work::Headers(headers) => {
                let checked = headers.iter().map(|one| bitcoin::check(black_box(one), &self.rules));
                checked.flatten().count()
            }
            Work::Together(headers) => {
                let checked = bitcoin::check_all(black_box(headers), &self.rules);
                checked.iter().filter(|checked| checked.is_ok()).count()
            }
        };
        right as u64
    }
}

fn headers() -> Result<Vec<Header>, Unmade> {
    let mine = || mine_header([0; 32], rand::random(), EASY);
    (0..MANY).map(|_| mine()).collect::<Option<_>>().ok_or(Unmade("bitcoin"))
}

fn payloads(count: usize, solved: impl Fn() -> Option<Payload>) -> Result<Work, Unmade> {
    let payloads: Option<Vec<Proof>> = (0..count).map(|_| solved().map(Proof::from)).collect();
    payloads.map(Work::Proofs).ok_or(Unmade("ALTCHA"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_that_is_measured_is_right() {
        for only in ["bitcoin", "challenge", "hashcash", "altcha_v1 SHA-1", "altcha_v2 SHA-256"] {
            let bench = Bench::new(Clock::system(), only).unwrap();
            assert!(!bench.cases.is_empty(), "{only}");
            for case in &bench.cases {
                let proofs = match &case.work {
                    Work::Proofs(proofs) => proofs.len(),
                    Work::Headers(headers) | Work::Together(headers) => headers.len(),
                };
                assert_eq!(bench.round(case), proofs as u64, "{}", case.name);
                assert!(bench.measure(case, 2, Duration::ZERO).rate() > 0.0);
            }
        }
    }
}
