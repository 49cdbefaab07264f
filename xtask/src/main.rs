//! Commands of the repository: `cargo xtask <command>` builds, checks and starts everything here.
//!
//! Commands of the product are handed to the `forage` binary with their arguments untouched; see
//! [`product`]. Commands for the repository are one line of cargo each; see [`checks`]. This
//! crate links no other crate of the workspace, so that it compiles in seconds.

mod build;
mod checks;
mod device;
mod oracles;
mod plugin;
mod product;
mod reproduce;
mod run_file;
mod tidy;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cargo_metadata::{Metadata, MetadataCommand};
use clap::{Parser, Subcommand};
use xshell::Shell;

/// Builds, checks and launches everything in this repository
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Subcommands in the order of the help: the product, then plugins, then the repository.
#[derive(Debug, PartialEq, Subcommand)]
enum Command {
    /// Train the built-in search agent, end to end
    #[command(disable_help_flag = true)]
    Quickstart(PassedOn),
    /// Train by reinforcement learning, as a run file says
    #[command(disable_help_flag = true)]
    Train(PassedOn),
    /// Warm-start a model on demonstrations, as a run file says
    #[command(disable_help_flag = true)]
    Sft(PassedOn),
    /// Measure a model on questions
    #[command(disable_help_flag = true)]
    Eval(PassedOn),
    /// Read questions of published data sets
    #[command(disable_help_flag = true)]
    Data(PassedOn),
    /// Compare questions with an index: are their passages and answers in it?
    #[command(disable_help_flag = true)]
    Corpus(PassedOn),
    /// Build a search index from a corpus
    #[command(disable_help_flag = true)]
    Index(PassedOn),
    /// Search an index
    #[command(disable_help_flag = true)]
    Search(PassedOn),
    /// Answer searches over HTTP
    #[command(disable_help_flag = true)]
    Serve(PassedOn),
    /// Measure retrieval: recall, MRR, nDCG and MAP
    #[command(disable_help_flag = true)]
    EvalRetrieval(PassedOn),
    /// Ask a trained model and watch it search
    #[command(disable_help_flag = true)]
    Chat(PassedOn),
    /// Write the report of a run again
    #[command(disable_help_flag = true)]
    Report(PassedOn),
    /// Write a model into a folder that other programs load, adapters merged
    #[command(disable_help_flag = true)]
    Export(PassedOn),
    /// Generate training questions of a given difficulty from a world or a corpus
    #[command(disable_help_flag = true)]
    Synthesize(PassedOn),
    /// Reproduce the claim of a paper by its experiment: `e-grpo` or `stepsearch`
    #[command(disable_help_flag = true)]
    Reproduce(PassedOn),
    /// Generate a world: passages and questions
    #[command(disable_help_flag = true)]
    World(PassedOn),
    /// Check a run file without training
    #[command(disable_help_flag = true)]
    Check(PassedOn),
    /// Try a reward on stored trajectories, or compare two
    #[command(disable_help_flag = true)]
    Reward(PassedOn),
    /// Start, check or build a reward plugin
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Run all tests, or those of one device; arguments go to the test runner
    #[command(disable_help_flag = true)]
    Test {
        /// Compare `wgpu`, `cuda:N` or `vulkan:N` with the CPU, and run nothing else
        #[arg(long, value_name = "NAME")]
        device: Option<String>,
        #[command(flatten)]
        passed_on: PassedOn,
    },
    /// Run the benchmarks; arguments go to `cargo bench`
    #[command(disable_help_flag = true)]
    Bench(PassedOn),
    /// Format the code
    Fmt {
        /// Fail where something would change, and change nothing
        #[arg(long)]
        check: bool,
    },
    /// Run clippy; a warning is an error
    Lint,
    /// Check layers, circles of imports, the map, prints, module docs and sizes
    Tidy,
    /// Build the API documentation; a warning is an error
    Docs,
    /// Run the tests of the plugin boundary under valgrind
    Valgrind,
    /// Compile the program for all devices: CUDA, wgpu and Vulkan; takes long
    CheckDevices,
    /// Compare with other programs: transformers, peft, sentence-transformers, scikit-learn
    Oracles {
        /// A Python that has `tests/oracles/requirements.txt`; installed into `target` otherwise,
        /// which takes some gigabytes
        #[arg(long, value_name = "FILE")]
        python: Option<PathBuf>,
    },
    /// Run every check, cheapest first, tests last
    Ci,
}

/// Arguments that belong to the program we start, `--help` included.
#[derive(Debug, Default, PartialEq, clap::Args)]
struct PassedOn {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Returning the error from `main` would add a backtrace where `RUST_BACKTRACE` is set.
            for (depth, link) in error.chain().enumerate() {
                let prefix = if depth == 0 { "error" } else { "caused by" };
                eprintln!("{prefix}: {link}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs a command in the folder of the workspace.
fn run(command: Command) -> anyhow::Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(root());
    match command {
        Command::Quickstart(it) => product::start(&shell, "quickstart", &it.arguments),
        Command::Train(it) => product::start(&shell, "train", &it.arguments),
        Command::Sft(it) => product::start(&shell, "sft", &it.arguments),
        Command::Eval(it) => product::start(&shell, "eval", &it.arguments),
        Command::Data(it) => product::start(&shell, "data", &it.arguments),
        Command::Corpus(it) => product::start(&shell, "corpus", &it.arguments),
        Command::Index(it) => product::start(&shell, "index", &it.arguments),
        Command::Search(it) => product::start(&shell, "search", &it.arguments),
        Command::Serve(it) => product::start(&shell, "serve", &it.arguments),
        Command::EvalRetrieval(it) => product::start(&shell, "eval-retrieval", &it.arguments),
        Command::Chat(it) => product::start(&shell, "chat", &it.arguments),
        Command::Report(it) => product::start(&shell, "report", &it.arguments),
        Command::Export(it) => product::start(&shell, "export", &it.arguments),
        Command::Synthesize(it) => product::start(&shell, "synthesize", &it.arguments),
        Command::Reproduce(it) => reproduce::run(&shell, &it.arguments),
        Command::World(it) => product::start(&shell, "world", &it.arguments),
        Command::Check(it) => product::start(&shell, "check", &it.arguments),
        Command::Reward(it) => product::start(&shell, "reward", &it.arguments),
        Command::Plugin(command) => plugin::run(&shell, command),
        Command::Test { device: None, passed_on } => checks::test(&shell, &passed_on.arguments),
        Command::Test { device: Some(device), passed_on } => {
            device::test(&shell, &device, &passed_on.arguments)
        }
        Command::Bench(it) => checks::bench(&shell, &it.arguments),
        Command::Fmt { check: false } => checks::format(&shell),
        Command::Fmt { check: true } => checks::check_format(&shell),
        Command::Lint => checks::lint(&shell),
        Command::Tidy => tidy::run(&shell),
        Command::Docs => checks::docs(&shell),
        Command::Valgrind => checks::valgrind(&shell),
        Command::CheckDevices => checks::check_devices(&shell),
        Command::Oracles { python } => oracles::run(&shell, python),
        Command::Ci => checks::ci(&shell),
    }
}

/// The folder of the workspace: that of the manifest which cargo runs, or which we were built from
/// where we are started without cargo.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
    let mut root = PathBuf::from(manifest.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()));
    root.pop();
    root
}

/// Metadata of the workspace: its members and the folder that cargo builds in.
fn metadata() -> anyhow::Result<Metadata> {
    MetadataCommand::new().current_dir(root()).no_deps().exec().context("`cargo metadata` failed")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Command {
        let words = std::iter::once("xtask").chain(line.split_whitespace());
        Arguments::try_parse_from(words).unwrap_or_else(|err| panic!("`{line}`: {err}")).command
    }

    fn passed_on(words: &[&str]) -> PassedOn {
        PassedOn { arguments: words.iter().map(OsString::from).collect() }
    }

    fn test(device: Option<&str>, words: &[&str]) -> Command {
        Command::Test { device: device.map(str::to_owned), passed_on: passed_on(words) }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn arguments_of_the_product_are_not_read_here() {
        let cases = [
            ("train", Command::Train(passed_on(&[]))),
            ("train --help", Command::Train(passed_on(&["--help"]))),
            ("eval -h", Command::Eval(passed_on(&["-h"]))),
            (
                "train run.toml --set optimizer.lr=3e-5 --resume",
                Command::Train(passed_on(&["run.toml", "--set", "optimizer.lr=3e-5", "--resume"])),
            ),
            (
                "quickstart --from-scratch --seed 7",
                Command::Quickstart(passed_on(&["--from-scratch", "--seed", "7"])),
            ),
            ("search idx who -- -k", Command::Search(passed_on(&["idx", "who", "--", "-k"]))),
            (
                "plugin check format --set mode=validity",
                Command::Plugin(plugin::Command::Check {
                    name: "format".to_owned(),
                    arguments: ["--set", "mode=validity"].map(OsString::from).to_vec(),
                }),
            ),
            ("bench --bench x -- y", Command::Bench(passed_on(&["--bench", "x", "--", "y"]))),
            ("test -E test(a)", test(None, &["-E", "test(a)"])),
            ("test --help", test(None, &["--help"])),
            ("test --device wgpu", test(Some("wgpu"), &[])),
            ("test --device cuda:0 --nocapture", test(Some("cuda:0"), &["--nocapture"])),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), expected, "`{line}`");
        }
    }

    #[test]
    fn arguments_of_the_repository_are() {
        let new = |template| plugin::Command::New { name: "x".to_owned(), template };
        for (line, template) in [
            ("plugin new x", plugin::Template::Outcome),
            ("plugin new x --template group", plugin::Template::Group),
        ] {
            assert_eq!(parse(line), Command::Plugin(new(template)));
        }
        assert_eq!(parse("check-devices"), Command::CheckDevices);
        assert_eq!(parse("valgrind"), Command::Valgrind);
        assert_eq!(parse("oracles"), Command::Oracles { python: None });
        let python = Some(PathBuf::from("x/python"));
        assert_eq!(parse("oracles --python x/python"), Command::Oracles { python });
        assert_eq!(parse("fmt"), Command::Fmt { check: false });
        assert_eq!(parse("fmt --check"), Command::Fmt { check: true });
        for line in ["", "lint --fast", "fmt x", "plugin", "plugin new", "trian run.toml"] {
            let words = std::iter::once("xtask").chain(line.split_whitespace());
            assert!(Arguments::try_parse_from(words).is_err(), "`{line}` should be refused");
        }
    }
}
