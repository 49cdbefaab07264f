//! Errors of plugins, with hints.

use std::env::consts::DLL_PREFIX;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use forage_reward_sdk::wire::Breach;

/// Error of a plugin: it could not be loaded or could not score.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct PluginError {
    context: Box<ErrorContext>,
    #[source]
    kind: PluginErrorKind,
}

/// Context of an error.
#[derive(Debug)]
struct ErrorContext {
    reward: Option<String>,
    plugin: PathBuf,
    question: Option<String>,
    member: Option<usize>,
}

impl fmt::Display for ErrorContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reward {
            Some(name) => write!(f, "reward `{name}`, plugin `{}`", self.plugin.display())?,
            None => write!(f, "reward plugin `{}`", self.plugin.display())?,
        }
        if let Some(id) = &self.question {
            write!(f, ", question `{id}`")?;
        }
        if let Some(member) = self.member {
            write!(f, ", member {member}")?;
        }
        Ok(())
    }
}

impl PluginError {
    pub(crate) fn new(plugin: &Path, kind: PluginErrorKind) -> Self {
        let member = match &kind {
            PluginErrorKind::BrokeContract(breach) => breach.member,
            PluginErrorKind::TooManyFailed { member, .. } => Some(*member),
            _ => None,
        };
        let context =
            ErrorContext { reward: None, plugin: plugin.to_owned(), question: None, member };
        Self { context: Box::new(context), kind }
    }

    pub(crate) fn on_question(mut self, id: &str) -> Self {
        self.context.question = Some(id.to_owned());
        self
    }

    pub(crate) fn in_reward(mut self, name: &str) -> Self {
        self.context.reward = Some(name.to_owned());
        self
    }

    /// Kind of the error.
    pub fn kind(&self) -> &PluginErrorKind {
        &self.kind
    }

    /// File of the plugin, or its name if no file was found.
    pub fn plugin(&self) -> &Path {
        &self.context.plugin
    }

    /// Name of the reward in the run file; `None` for a plugin outside of a run file.
    pub fn reward(&self) -> Option<&str> {
        self.context.reward.as_deref()
    }

    /// Identifier of the question that was scored.
    pub fn question(&self) -> Option<&str> {
        self.context.question.as_deref()
    }

    /// Index of the trajectory in its group, if the error concerns a single one.
    pub fn member(&self) -> Option<usize> {
        self.context.member
    }

    /// Hint on how to fix it, if there is one.
    pub fn hint(&self) -> Option<String> {
        let rebuild = |name: &str| format!("`cargo xtask plugin build {name}` builds it");
        let name = crate_name(&self.context.plugin);
        match &self.kind {
            PluginErrorKind::NotFound { .. } => Some(rebuild(&name)),
            PluginErrorKind::NotAPlugin => {
                Some("a plugin is a crate of type `cdylib` that calls `export_reward!`".to_owned())
            }
            PluginErrorKind::AbiMismatch { .. } | PluginErrorKind::WireMismatch { .. } => {
                Some(format!("{} with the SDK of this Forage", rebuild(&name)))
            }
            PluginErrorKind::PanicAborts => {
                Some("set `panic = \"unwind\"` in the profile that builds it".to_owned())
            }
            PluginErrorKind::TooSlow { .. } => Some(
                "`deadline_s` gives it more time, and `tolerate` lets a run go on without \
                 some grades"
                    .to_owned(),
            ),
            PluginErrorKind::TooManyFailed { .. } => Some(
                "see to what it depends on, such as a server; `failed_limit` allows for more"
                    .to_owned(),
            ),
            PluginErrorKind::Panicked(_)
            | PluginErrorKind::BadReply(_)
            | PluginErrorKind::BrokeContract(_) => {
                Some(format!("a bug of the plugin: `cargo test -p {name}` is where to find it"))
            }
            _ => None,
        }
    }
}

/// Kind of a [`PluginError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginErrorKind {
    /// There is no library of this name.
    #[error("no such library; looked for {}", listed(.looked_for))]
    NotFound {
        /// Files that were looked for.
        looked_for: Vec<PathBuf>,
    },
    /// The file could not be read.
    #[error("failed to read the library")]
    Read(#[source] io::Error),
    /// The copy of the library could not be written.
    #[error("failed to copy the library to `{to}`", to = .to.display())]
    Copy {
        /// Path of the copy.
        to: PathBuf,
        /// Error of the file system.
        source: io::Error,
    },
    /// A setting in the run file is invalid.
    #[error("`{key}` {problem}")]
    Setting {
        /// Key of the setting.
        key: &'static str,
        /// Problem with its value.
        problem: String,
    },
    /// The dynamic loader rejected the file.
    #[error("failed to open the shared library")]
    Open(#[source] libloading::Error),
    /// The library opened, but it is not a reward plugin.
    #[error("not a reward plugin: no `export_reward!` in it")]
    NotAPlugin,
    /// The plugin was built for another ABI version.
    #[error("built for plugin ABI {plugin}, this Forage speaks {host}")]
    AbiMismatch {
        /// ABI version of the plugin.
        plugin: String,
        /// ABI version of the host.
        host: String,
    },
    /// The plugin was built for another wire version.
    #[error(
        "reads trajectories of wire version {plugin} (SDK {sdk}), this Forage writes version {host}"
    )]
    WireMismatch {
        /// Wire version of the plugin.
        plugin: u32,
        /// Version of the SDK that the plugin was built with.
        sdk: String,
        /// Wire version of the host.
        host: u32,
    },
    /// The plugin was built with `panic = "abort"`: a panic would end the process.
    #[error("built with `panic = \"abort\"`: a panic in it would end the run without a word")]
    PanicAborts,
    /// The plugin returned an error: for its configuration, or for a group.
    #[error("{0}")]
    Refused(String),
    /// The plugin panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The plugin missed its deadline.
    #[error("gave no answer within {} s", .deadline.as_secs_f64())]
    TooSlow {
        /// Deadline of the call.
        deadline: Duration,
    },
    /// The plugin could not score more trajectories than `failed_limit`.
    #[error("could not score {n} trajectories, and `failed_limit` is {limit}: {reason}")]
    TooManyFailed {
        /// Number of trajectories of the run that it could not score.
        n: usize,
        /// `failed_limit` of the reward.
        limit: usize,
        /// Index of the first such trajectory in its group.
        member: usize,
        /// Reason for that trajectory.
        reason: String,
    },
    /// The thread for the call could not be started.
    #[error("failed to start a thread to call it on")]
    Thread(#[source] io::Error),
    /// The reply of the plugin is not a list of grades.
    #[error("answered with something else than grades")]
    BadReply(#[source] rmp_serde::decode::Error),
    /// The reply of the plugin breaks the contract, such as a reward that is not finite.
    #[error("broke the plugin contract: {}", .0.message)]
    BrokeContract(Breach),
}

fn listed(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    quoted.join(", ")
}

/// Name of the crate of a plugin: `exact-match` for `exact-match`, for `libexact_match.so` and for
/// copies of it.
fn crate_name(plugin: &Path) -> String {
    let stem = plugin.file_stem().unwrap_or_default().to_string_lossy();
    if plugin.extension().is_none() {
        return stem.into_owned();
    }
    // The file name of a copy ends in `-` and a hash; that of a library has no `-`.
    let name = stem.split('-').next().unwrap_or_default();
    name.strip_prefix(DLL_PREFIX).unwrap_or(name).replace('_', "-")
}
