//! What can be typed about proofs of work: the service, and what is done with proofs without it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::database::DatabaseUrl;
use crate::powd::rules::MAX_NUMBER;
use crate::unit::{Bytes, Span};

pub(super) const VERIFY_CODES: &str = "\
Exit codes:
  0  every proof is accepted, or the whole chain is valid
  1  one is not, or the input can't be read
  2  wrong usage, or a key that can't be read

A line is a proof: JSON as the service takes it, a payload of ALTCHA in base64
or decoded, a hashcash stamp, or a header of 160 hex digits:
  trueup powd verify --resource foo --at 2004-04-28T12:00:00Z - <<'END'
  1:20:040428:foo::0298b26853c8ebb3:beca0
  END";

pub(super) const MINT_EXAMPLES: &str = "\
Examples:
  trueup powd mint hashcash --resource mail.example.org --bits 20
  trueup powd mint altcha-v2 --key file:/etc/altcha.key --unsolved
  trueup powd mint bitcoin --count 100 --raw > chain.bin";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct PowdArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<PowdCommand>,

    #[command(flatten)]
    pub(in crate::cli) serve: ServeArgs,
}

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum PowdCommand {
    /// Serve verification over HTTP, as `trueup powd` without a command does.
    Serve(ServeArgs),
    /// Verify proofs, one a line, or a chain of headers.
    #[command(after_long_help = VERIFY_CODES)]
    Verify(VerifyProofsArgs),
    /// Make proofs, one a line, as `verify` takes them.
    #[command(after_long_help = MINT_EXAMPLES)]
    Mint(MintArgs),
    /// Measure how many proofs of each format are verified in a second, on one CPU and on all.
    Bench(BenchArgs),
}

/// What proofs are held to.
#[derive(Debug, Args)]
pub(in crate::cli) struct RulesArgs {
    /// Bits of work that a header, a challenge or a stamp must claim.
    #[arg(long, value_name = "BITS", default_value_t = 16)]
    pub(in crate::cli) difficulty: u8,

    /// For whom hashcash stamps are taken. May be given more than once; without it none is.
    #[arg(long = "resource", value_name = "NAME")]
    pub(in crate::cli) resources: Vec<String>,

    /// The key of ALTCHA's challenges: `file:PATH`, `env:NAME` or `systemd-credential:NAME`. Twice while keys are
    /// changed, the newest first; without it none is taken.
    #[arg(long = "key", value_name = "SOURCE")]
    pub(in crate::cli) keys: Vec<String>,

    /// The key by which derived keys of ALTCHA v2 are signed, where its issuer does that; as `--key`.
    #[arg(long = "derived-key", value_name = "SOURCE")]
    pub(in crate::cli) derived_keys: Vec<String>,

    /// Largest number of an ALTCHA v1 proof.
    #[arg(long, value_name = "N", default_value_t = MAX_NUMBER)]
    pub(in crate::cli) max_number: u64,

    /// Most memory that checking one proof may take.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub(in crate::cli) max_memory: Bytes,

    /// Most CPU time that checking one proof may take, as estimated from what it asks for.
    #[arg(long, value_name = "DURATION", default_value = "250ms")]
    pub(in crate::cli) max_time: Span,

    /// The easiest target of a header, as nBits in hex; that of its main network unless told.
    #[arg(long, value_name = "NBITS")]
    pub(in crate::cli) limit: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8645")]
    pub(in crate::cli) listen: SocketAddr,

    /// Listen elsewhere than on loopback, without encryption.
    #[arg(long)]
    pub(in crate::cli) public: bool,

    /// Where proofs are recorded: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`.
    #[arg(
        long,
        value_name = "URL",
        env = "TRUEUP_DATABASE_URL",
        default_value = "sqlite://results/trueup.db",
        hide_env_values = true
    )]
    pub(in crate::cli) database: DatabaseUrl,

    /// Table of the record; it is made when missing.
    #[arg(long, value_name = "TABLE", default_value = "powd_proofs")]
    pub(in crate::cli) ledger: String,

    /// Connections to the database.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(in crate::cli) pool_size: u32,

    /// Threads that verify; as many as usable CPUs unless told.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) threads: Option<usize>,

    /// Most proofs in one transaction.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(in crate::cli) batch_size: usize,

    /// Longest wait of a proof for others to share its transaction.
    #[arg(long, value_name = "DURATION", default_value = "1ms")]
    pub(in crate::cli) linger: Span,

    /// Most requests waiting to be verified; beyond it the answer is 429.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(in crate::cli) queue: usize,

    #[command(flatten)]
    pub(in crate::cli) rules: RulesArgs,

    /// CPUs to run on, such as 0,2-3.
    #[arg(long, value_name = "LIST")]
    pub(in crate::cli) cpus: Option<String>,

    /// Niceness to run at, from -20 to 19.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(in crate::cli) nice: Option<i32>,

    /// Limit of open files.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) open_files: Option<u64>,

    /// Stop when standard input ends: the process that holds it open has gone.
    #[arg(long)]
    pub(in crate::cli) stop_with_stdin: bool,
}

/// What a line is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LineForm {
    /// Whatever it looks like.
    Auto,
    /// JSON, as the service takes it.
    Json,
    /// A header of Bitcoin, in hex.
    Bitcoin,
    /// A header of Litecoin, in hex.
    Litecoin,
    /// A stamp.
    Hashcash,
    /// A payload of ALTCHA, in base64 or decoded.
    Altcha,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyProofsArgs {
    /// Where the proofs are; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub(in crate::cli) file: PathBuf,

    /// What the lines are.
    #[arg(long, value_enum, default_value = "auto")]
    pub(in crate::cli) format: LineForm,

    /// The file is a chain of raw Bitcoin headers, 80 bytes each: verify each, and that it names the one before it.
    #[arg(long, conflicts_with = "format")]
    pub(in crate::cli) headers: bool,

    /// Verify as of this moment, and not as of now.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) at: Option<jiff::Timestamp>,

    #[command(flatten)]
    pub(in crate::cli) rules: RulesArgs,

    /// Print it as JSON, one object a line.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// What can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum MintFormat {
    /// A plain challenge with its nonce.
    Challenge,
    /// A stamp.
    Hashcash,
    /// A challenge of ALTCHA, version 1, solved.
    AltchaV1,
    /// A challenge of ALTCHA, version 2, solved.
    AltchaV2,
    /// Headers of a Bitcoin chain, each after the one before.
    Bitcoin,
    /// The same of Litecoin.
    Litecoin,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MintArgs {
    /// What to make.
    #[arg(value_name = "FORMAT", value_enum)]
    pub(in crate::cli) format: MintFormat,

    /// How many.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(in crate::cli) count: u64,

    /// Bits of work of a challenge or a stamp.
    #[arg(long, value_name = "BITS", default_value_t = 16)]
    pub(in crate::cli) bits: u8,

    /// The target of headers, as nBits in hex: an easy one unless told.
    #[arg(long, value_name = "NBITS", default_value = "207fffff")]
    pub(in crate::cli) target: String,

    /// Write headers as they are, 80 bytes each, and not in hex.
    #[arg(long)]
    pub(in crate::cli) raw: bool,

    /// For whom a stamp is.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) resource: Option<String>,

    /// The key to sign ALTCHA's challenges with: `file:PATH`, `env:NAME` or `systemd-credential:NAME`.
    #[arg(long, value_name = "SOURCE")]
    pub(in crate::cli) key: Option<String>,

    /// The hash of ALTCHA v1, or the function of v2.
    #[arg(long, value_name = "NAME", default_value = "SHA-256")]
    pub(in crate::cli) algorithm: String,

    /// Up to where the number of ALTCHA v1 is.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(in crate::cli) max_number: u64,

    /// The `cost` of ALTCHA v2: rounds, or scrypt's N.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(in crate::cli) cost: u64,

    /// The `memoryCost` of ALTCHA v2: KiB of Argon2id, or scrypt's r.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) memory_cost: Option<u64>,

    /// The `parallelism` of ALTCHA v2.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) parallelism: Option<u64>,

    /// What the derived key of ALTCHA v2 is to begin with, in lower-case hex.
    #[arg(long, value_name = "HEX", default_value = "00")]
    pub(in crate::cli) key_prefix: String,

    /// For how long ALTCHA's challenges count.
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub(in crate::cli) expires: Span,

    /// Print ALTCHA's challenges as a page is given them, not solved.
    #[arg(long)]
    pub(in crate::cli) unsolved: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BenchArgs {
    /// How long to measure each.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub(in crate::cli) duration: Span,

    /// Only those whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) only: Option<String>,

    /// Threads of the second figure; as many as usable CPUs unless told, and with 1 there is none.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) threads: Option<usize>,

    /// Print it as JSON.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
