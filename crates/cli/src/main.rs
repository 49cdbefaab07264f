//! The program `forage`: parses the command line, runs the command, and reports its error.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use forage_cli::output::message;
use forage_cli::{commands, exit_code, interrupt, progress};

/// Trains search agents by reinforcement learning.
///
/// Paths are relative to the current folder. Exit codes: 0 success, 1 a bug, 2 wrong command line
/// or run file, 3 an input is missing or unreadable or an output cannot be written, 4 reward
/// plugin, 5 training diverged, 130 interrupted after a checkpoint.
#[derive(Debug, Parser)]
#[command(name = "forage", version)]
enum Command {
    Quickstart(commands::quickstart::Args),
    Train(commands::train::Args),
    Sft(commands::sft::Args),
    Eval(commands::eval::Args),
    Chat(commands::chat::Args),
    Report(commands::report::Args),
    Export(commands::export::Args),
    Reward(commands::reward::Args),
    Data(commands::data::Args),
    Corpus(commands::corpus::Args),
    Index(commands::index::Args),
    Search(commands::search::Args),
    Serve(commands::serve::Args),
    EvalRetrieval(commands::eval_retrieval::Args),
    Synthesize(commands::synthesize::Args),
    World(commands::world::Args),
    Check(commands::check::Args),
}

fn main() -> ExitCode {
    let command = Command::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("FORAGE_LOG")
                .unwrap_or_else(|_| "forage=warn".into()),
        )
        .with_writer(|| progress::LogWriter)
        .with_ansi(std::io::stderr().is_terminal())
        // It would panic where standard error is closed.
        .log_internal_errors(false)
        .init();
    // Other commands end at the first signal.
    let writes_checkpoints =
        matches!(command, Command::Quickstart(_) | Command::Train(_) | Command::Sft(_));
    if writes_checkpoints && let Err(error) = interrupt::listen() {
        message(format_args!("warning: Ctrl-C will not write a checkpoint: {error}"));
    }
    let done = match command {
        Command::Quickstart(args) => commands::quickstart::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Sft(args) => commands::sft::run(&args),
        Command::Eval(args) => commands::eval::run(&args),
        Command::Chat(args) => commands::chat::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Reward(args) => commands::reward::run(&args),
        Command::Data(args) => commands::data::run(&args),
        Command::Corpus(args) => commands::corpus::run(&args),
        Command::Index(args) => commands::index::run(&args),
        Command::Search(args) => commands::search::run(&args),
        Command::Serve(args) => commands::serve::run(&args),
        Command::EvalRetrieval(args) => commands::eval_retrieval::run(&args),
        Command::Synthesize(args) => commands::synthesize::run(&args),
        Command::World(args) => commands::world::run(&args),
        Command::Check(args) => commands::check::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit_code::report(&error),
    }
}
