//! The program as its users meet it: the real binary, in folders and on trees of the test's own.
//!
//! Nothing here touches a setting of the machine under test: phases that change the host always get `--sysroot`.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start the program and make the files that it reads"
)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what can't be is a failed test")]

mod cache;
mod command;
mod config_file;
mod crash;
mod db_settings;
mod documents;
mod engine;
mod faults;
mod gate;
mod governor;
mod host;
mod house;
mod language;
mod persist;
mod plan;
mod postgres;
mod powd;
mod process;
mod record;
mod reports;
mod resume;
mod rollback;
mod secrets;
mod settings;
mod shell;
mod signals;
mod texts;
mod trust;
mod verify;
mod whole;
