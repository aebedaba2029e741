//! The kinds of phases. Each knows the contract and the islands, and no other kind.

mod command;
mod config_file;
mod cpu_governor;
mod db_pool;
mod db_settings;
mod integration_tests;
mod process;
mod readiness;
mod service;
mod tune;

pub use command::Command;
pub use config_file::ConfigFile;
pub use cpu_governor::CpuGovernor;
pub use db_pool::DbPool;
pub use db_settings::DbSettings;
pub use integration_tests::IntegrationTests;
pub use process::Process;
pub use readiness::Readiness;
pub use service::ServiceStartup;
pub use tune::Tune;
