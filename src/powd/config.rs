//! What the service is told: where it listens, where it records, and how much it does at a time.
//!
//! Checked as a whole before anything is opened; every mistake is reported at once. Where the values come from is
//! not known here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::batch::Batching;
use super::ledger::TableName;
use super::rules::Rules;
use super::wire::MAX_PROOFS;
use super::worker::Capacity;
use crate::database::{DatabaseUrl, PoolSize};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::supervisor::Notifier;

/// From where the service may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// From this host only; another address is a mistake.
    #[default]
    Loopback,
    /// From wherever the address can be reached; it has been asked for. There is no encryption and no login.
    Network,
}

/// How the service is to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether `listen` may be another than a loopback address.
    pub reach: Reach,
    /// Where the ledger is.
    pub database: DatabaseUrl,
    /// The ledger's table.
    pub ledger: TableName,
    /// Connections to the database: 1 to 1024.
    pub pool_size: u32,
    /// Threads that check proofs: 1 to 1024.
    pub threads: usize,
    /// Proofs at which a batch is written at once: 1 to 65536.
    pub batch_size: usize,
    /// How long a batch waits for more after its first proof: up to 1 s; zero takes what is there.
    pub linger: Duration,
    /// Proofs that may be admitted and not answered yet: 1 to 1048576. A request that alone holds more is refused.
    pub queue: usize,
    /// What proofs are held to; their difficulty is 1 to 64 bits.
    pub rules: Rules,
    /// Who is told that the service is ready, and that it stops.
    pub notifier: Notifier,
}

impl Config {
    /// The defaults: loopback, a free port, 16 bits, and sizes for a small host.
    #[must_use]
    pub fn new(database: DatabaseUrl) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            reach: Reach::Loopback,
            database,
            ledger: TableName::default(),
            pool_size: 4,
            threads: 2,
            batch_size: 256,
            linger: Duration::ZERO,
            queue: 4096,
            rules: Rules::new(16),
            notifier: Notifier::silent(),
        }
    }

    /// Checks all of it.
    ///
    /// # Errors
    /// Every value that is out of range, with the range.
    pub fn validate(&self) -> Result<(), Diagnostics> {
        let mut wrong = Vec::new();
        if self.reach == Reach::Loopback && !self.listen.ip().is_loopback() {
            let message = format!("{} can be reached from other hosts", self.listen);
            let help = "listen on a loopback address such as 127.0.0.1:0, or allow other hosts explicitly: the \
                        service has no encryption and no login";
            wrong.push(Diagnostic::error("powd::listen", message).help(help));
        }
        let ranges = [
            ("powd::pool_size", "connections", u64::from(self.pool_size), 1024),
            ("powd::threads", "threads", self.threads as u64, 1024),
            ("powd::batch_size", "proofs in a batch", self.batch_size as u64, 65_536),
            ("powd::queue", "waiting proofs", self.queue as u64, 1 << 20),
            ("powd::difficulty", "bits of difficulty", u64::from(self.rules.difficulty), 64),
        ];
        for (code, what, value, most) in ranges {
            if !(1..=most).contains(&value) {
                let help = format!("write a number from 1 to {most}");
                wrong.push(
                    Diagnostic::error(code, format!("{value} {what} can't be had")).help(help),
                );
            }
        }
        if self.linger > Duration::from_secs(1) {
            let message = format!("a batch can't linger for {} s", self.linger.as_secs_f64());
            wrong.push(
                Diagnostic::error("powd::linger", message).help("write a duration up to `1s`"),
            );
        }
        if wrong.is_empty() { Ok(()) } else { Err(Diagnostics(wrong)) }
    }

    /// When a batch is full.
    #[must_use]
    pub fn batching(&self) -> Batching {
        Batching { size: self.batch_size, linger: self.linger }
    }

    /// How much is checked at a time.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        Capacity { threads: self.threads, queue: self.queue }
    }

    /// The size of the ledger's pool.
    #[must_use]
    pub fn pool(&self) -> PoolSize {
        PoolSize::exactly(self.pool_size)
    }

    /// How many proofs a request may hold: what the wire allows, and never more than the queue has room for.
    #[must_use]
    pub fn max_proofs(&self) -> usize {
        MAX_PROOFS.min(self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new("sqlite://x.db".parse().unwrap())
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(config().validate(), Ok(()));
    }

    #[test]
    fn every_value_out_of_range_is_reported_at_once() {
        let wrong = Config {
            listen: "0.0.0.0:80".parse().unwrap(),
            pool_size: 0,
            threads: 0,
            batch_size: 0,
            queue: 0,
            rules: Rules::new(65),
            linger: Duration::from_secs(2),
            ..config()
        };
        let Err(Diagnostics(found)) = wrong.validate() else { panic!("all wrong") };
        let codes: Vec<&str> = found.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(
            codes,
            [
                "powd::listen",
                "powd::pool_size",
                "powd::threads",
                "powd::batch_size",
                "powd::queue",
                "powd::difficulty",
                "powd::linger"
            ]
        );
        assert!(found.iter().all(|diagnostic| diagnostic.help.is_some()));
    }

    #[test]
    fn another_address_than_loopback_must_be_asked_for() {
        let open = Config { listen: "[::]:0".parse().unwrap(), ..config() };
        assert!(open.validate().is_err());
        assert!(Config { reach: Reach::Network, ..open }.validate().is_ok());
        assert!(Config { listen: "[::1]:0".parse().unwrap(), ..config() }.validate().is_ok());
    }
}
