//! The real binary, in a fresh folder.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use forage_cli::exit_code::Code;
use serde_json::Value;
use tempfile::TempDir;

use crate::{RUN_FILE, Shape, write_model};

/// The binary that was built together with the tests: `target/<profile>/forage`, with the plugins
/// beside it.
pub fn forage() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("tests are in `target/*/deps`");
    let library =
        |name: &str| format!("{}{name}{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX);
    let files =
        [format!("forage{}", env::consts::EXE_SUFFIX), library("exact_match"), library("format")];
    for file in &files {
        let path = folder.join(file);
        assert!(
            path.is_file(),
            "`{}` is not built, and no test depends on it: run the tests with `cargo xtask test`, \
             which builds the binary and the plugins first",
            path.display()
        );
    }
    folder.join(&files[0])
}

/// What a command that has ended wrote.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

#[expect(clippy::return_self_not_must_use, reason = "often the check is all that is wanted")]
impl Output {
    /// The output of a command that did what it was asked to.
    #[track_caller]
    pub fn done(self) -> Self {
        self.ended(0)
    }

    /// The output of a command that ended with this exit code, and without a panic.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// The output of a command that was interrupted.
    #[track_caller]
    pub fn interrupted(self) -> Self {
        self.ended(Code::Interrupted as i32)
    }
}

/// A fresh folder in which commands are run.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// An empty folder.
    #[expect(clippy::new_without_default, reason = "a folder on disk is no default value")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("the system has room for temporary files");
        Self { folder }
    }

    /// A folder with a small random model in `model` and [`RUN_FILE`] as `run.toml`.
    pub fn ready() -> Self {
        let scratch = Self::new();
        write_model(&scratch.path("model"), Shape::default());
        scratch.write("run.toml", RUN_FILE);
        scratch
    }

    /// A path in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders it is in.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        let folder = path.parent().expect("the file is in the folder");
        fs::create_dir_all(folder).expect("a fresh folder can be written");
        fs::write(path, text).expect("a fresh folder can be written");
    }

    /// Reads a file as text.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|err| panic!("`{name}`: {err}"))
    }

    /// The rows of a JSONL file.
    #[track_caller]
    pub fn rows(&self, name: &str) -> Vec<Value> {
        let row = |line| serde_json::from_str(line).unwrap_or_else(|err| panic!("`{name}`: {err}"));
        self.read(name).lines().map(row).collect()
    }

    /// A command that has not been started, with nothing of the caller's settings.
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        self.program(forage(), arguments)
    }

    /// Another command in the folder.
    pub fn program(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("FORAGE_PLUGINS")
            .env_remove("FORAGE_LOG")
            .env_remove("RUST_BACKTRACE")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    pub fn forage(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        end_of(self.command(arguments).spawn().expect("the binary starts"))
    }

    /// Runs the binary to its end, with nobody who reads its standard output: every write fails.
    pub fn forage_unread(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        let (reader, writer) = io::pipe().expect("the system has room for a pipe");
        drop(reader);
        let mut command = self.command(arguments);
        end_of(command.stdout(writer).spawn().expect("the binary starts"))
    }

    /// Runs the binary to its end, with a text on its standard input.
    pub fn forage_with_input(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: &str,
    ) -> Output {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A few lines fit into the pipe, whether they are read or not.
        stdin.write_all(input.as_bytes()).expect("the pipe has room");
        drop(stdin);
        end_of(child)
    }
}

/// Waits for the end of a command.
pub fn end_of(child: Child) -> Output {
    let output = child.wait_with_output().expect("a child can be waited for");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Sends a signal, such as `INT`, to a command.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(status.is_ok_and(|it| it.success()), "the command has ended before the signal came");
}
