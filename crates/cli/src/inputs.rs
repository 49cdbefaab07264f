//! Inputs that an output would replace.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::exit_code::{Code, Failure};

/// Refuses an output that is one of the inputs, or a file in a folder of them, also by way of links.
pub fn keep<'a>(
    inputs: impl IntoIterator<Item = &'a Path>,
    flag: &str,
    output: &Path,
) -> Result<()> {
    let written = resolved(output);
    let lost = inputs.into_iter().find(|input| {
        let read = resolved(input);
        written == read || (output.exists() && input.is_dir() && written.starts_with(&read))
    });
    let Some(lost) = lost else { return Ok(()) };
    let message =
        format!("`{flag} {}` would replace `{}`, which is read", output.display(), lost.display());
    Err(Failure::new(Code::Usage, message).hint(format!("give `{flag}` another file")).into())
}

/// Path without links; of a file that is not there, that of its folder with its name.
fn resolved(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().unwrap_or_else(|_| {
        let path = absolute();
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        folder.zip(path.file_name()).map_or(path.clone(), |(folder, name)| folder.join(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("many")).unwrap();
        for name in ["a", "many/b"] {
            std::fs::write(at(name), "x").unwrap();
        }
        let inputs = [at("a"), at("many")];
        let check = |output: &str| keep(inputs.iter().map(PathBuf::as_path), "--out", &at(output));
        for output in ["a", "many/../a", "many/b", "many"] {
            assert!(check(output).unwrap_err().to_string().contains("would replace"), "{output}");
        }
        for output in ["c", "many/c", "new/c"] {
            check(output).unwrap();
        }
        // Two outputs of one name.
        keep([at("c").as_path()], "--corpus", &at("many/../c")).unwrap_err();
    }
}
