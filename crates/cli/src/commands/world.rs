//! `forage world`: writes the generated world of a run file.

use std::path::PathBuf;

use anyhow::Result;

use crate::environment::{generate, write_world};
use crate::exit_code::{Code, Failure};
use crate::output::print_line;
use crate::run_file::{RunFile, Source};

/// Write the corpus, the questions and the index of a run file's world.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run file with a `[world]` section.
    pub run_file: PathBuf,
    /// Folder to write; it must not exist.
    #[arg(long)]
    pub out: PathBuf,
    /// Change a key of the run file, for example `--set seed=2`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let config = RunFile::read(&args.run_file, &args.edits)?.config;
    let Source::World(section) = &config.source else {
        return Err(Failure::new(
            Code::Usage,
            format!("`{}` has no `[world]` section", args.run_file.display()),
        )
        .hint("`configs/quickstart.toml` has one")
        .into());
    };
    if args.out.exists() {
        return Err(Failure::new(Code::Usage, format!("`{}` exists already", args.out.display()))
            .hint("name a folder that does not exist")
            .into());
    }
    let world = generate(section, config.seed)?;
    write_world(&world, section, config.seed, &args.out)?;
    print_line(format_args!("{} passages in {}", world.passages().len(), args.out.display()))?;
    Ok(())
}
