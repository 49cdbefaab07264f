//! Experiments: `cargo xtask reproduce <paper>` builds what a design needs and hands over to
//! `benchmarks/claims/run.py`, which makes its runs and its page.

use std::ffi::OsString;
use std::process::Command;

use xshell::Shell;

use crate::product;

/// Runs the design that is named among the arguments, which the script reads.
pub(crate) fn run(shell: &Shell, arguments: &[OsString]) -> anyhow::Result<()> {
    let designs = arguments.iter().filter_map(|name| {
        let path = format!("benchmarks/claims/{}/design.toml", name.to_str()?);
        shell.read_file(path).ok()
    });
    let binary =
        product::built(shell, &designs.flat_map(|text| plugins(&text)).collect::<Vec<_>>())?;
    let mut script = Command::new("python3");
    script.current_dir(shell.current_dir()).arg("benchmarks/claims/run.py").args(arguments);
    script.arg("--forage").arg(&binary);
    product::set_environment(shell, &mut script)?;
    product::replace_this_process(script, "python3")
}

/// Plugins that a design says it uses.
fn plugins(text: &str) -> Vec<String> {
    let Ok(design) = text.parse::<toml::Table>() else { return Vec::new() };
    let names = design.get("plugins").and_then(toml::Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_design_names_its_plugins() {
        for (text, expected) in [
            (
                "plugins = ['entity-match', 'process']\n[quick]\nseeds = 3\n",
                &["entity-match", "process"][..],
            ),
            ("plugins = 3", &[]),
            ("plugins = [", &[]),
        ] {
            assert_eq!(plugins(text), expected, "{text}");
        }
    }
}
