//! The `trueup` program; everything is in the library.

fn main() -> std::process::ExitCode {
    trueup::cli::main()
}
