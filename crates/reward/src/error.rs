//! What can go wrong with a plugin, and what to do about it.

use std::env::consts::DLL_PREFIX;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use forage_reward_sdk::wire::Breach;

/// Why a plugin could not be loaded or could not score.
#[derive(Debug, thiserror::Error)]
#[error("{about}")]
pub struct PluginError {
    about: Box<About>,
    #[source]
    kind: PluginErrorKind,
}

/// What was being done, with what.
#[derive(Debug)]
struct About {
    reward: Option<String>,
    plugin: PathBuf,
    question: Option<String>,
    member: Option<usize>,
}

impl fmt::Display for About {
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
        let about = About { reward: None, plugin: plugin.to_owned(), question: None, member };
        Self { about: Box::new(about), kind }
    }

    pub(crate) fn on_question(mut self, id: &str) -> Self {
        self.about.question = Some(id.to_owned());
        self
    }

    pub(crate) fn in_reward(mut self, name: &str) -> Self {
        self.about.reward = Some(name.to_owned());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &PluginErrorKind {
        &self.kind
    }

    /// The plugin's file, or its name where no file was found.
    pub fn plugin(&self) -> &Path {
        &self.about.plugin
    }

    /// Name of the reward in the run file, where the plugin is used as one.
    pub fn reward(&self) -> Option<&str> {
        self.about.reward.as_deref()
    }

    /// Id of the question that was being scored.
    pub fn question(&self) -> Option<&str> {
        self.about.question.as_deref()
    }

    /// The trajectory that was being scored, where one is to blame.
    pub fn member(&self) -> Option<usize> {
        self.about.member
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let rebuild = |name: &str| format!("`cargo xtask plugin build {name}` builds it");
        let name = crate_name(&self.about.plugin);
        match &self.kind {
            PluginErrorKind::NotFound { .. } => Some(rebuild(&name)),
            PluginErrorKind::NotAPlugin => {
                Some("a plugin is a crate of type `cdylib` that calls `export_reward!`".to_owned())
            }
            PluginErrorKind::AbiMismatch { .. } | PluginErrorKind::WireMismatch { .. } => {
                Some(format!("{} with the SDK of this trainer", rebuild(&name)))
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

/// The kinds of [`PluginError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginErrorKind {
    /// There is no library of that name.
    #[error("no such library; looked for {}", listed(.looked_for))]
    NotFound {
        /// The files that are not there.
        looked_for: Vec<PathBuf>,
    },
    /// The file could not be read.
    #[error("failed to read the library")]
    Read(#[source] io::Error),
    /// The copy could not be written.
    #[error("failed to copy the library to `{to}`", to = .to.display())]
    Copy {
        /// Where to.
        to: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// What the run file says of the reward cannot be.
    #[error("`{key}` {problem}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The dynamic loader refused the file.
    #[error("failed to open the shared library")]
    Open(#[source] libloading::Error),
    /// The library opened, but it is not a reward plugin.
    #[error("not a reward plugin: no `export_reward!` in it")]
    NotAPlugin,
    /// The plugin and the host speak different versions.
    #[error("built for plugin ABI {plugin}, this trainer speaks {host}")]
    AbiMismatch {
        /// The plugin's version.
        plugin: String,
        /// The host's version.
        host: String,
    },
    /// The plugin and the host serialize trajectories differently.
    #[error(
        "reads trajectories of wire version {plugin} (SDK {sdk}), this trainer writes version {host}"
    )]
    WireMismatch {
        /// The plugin's version.
        plugin: u32,
        /// The version of the SDK that the plugin was built with.
        sdk: String,
        /// The host's version.
        host: u32,
    },
    /// A panic in the plugin would end the process.
    #[error("built with `panic = \"abort\"`: a panic in it would end the run without a word")]
    PanicAborts,
    /// The plugin said no: to its configuration, or to the question of how to score.
    #[error("{0}")]
    Refused(String),
    /// The plugin has a bug.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The plugin did not answer in time.
    #[error("gave no answer within {} s", .deadline.as_secs_f64())]
    TooSlow {
        /// What it was given.
        deadline: Duration,
    },
    /// The plugin said of too many trajectories that it could not score them.
    #[error("could not score {n} trajectories, and `failed_limit` is {limit}: {reason}")]
    TooManyFailed {
        /// Trajectories of the run that it could not score.
        n: usize,
        /// How many it may.
        limit: usize,
        /// The first of those in this group.
        member: usize,
        /// Why it could not score that one.
        reason: String,
    },
    /// There is no thread to call the plugin on.
    #[error("failed to start a thread to call it on")]
    Thread(#[source] io::Error),
    /// The plugin answered with something else than grades.
    #[error("answered with something else than grades")]
    BadReply(#[source] rmp_serde::decode::Error),
    /// The plugin answered with grades that no grader may give.
    #[error("broke the plugin contract: {}", .0.message)]
    BrokeContract(Breach),
}

fn listed(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
    quoted.join(", ")
}

/// `exact-match` for itself, for `libexact_match.so`, and for the copies of it.
fn crate_name(plugin: &Path) -> String {
    let stem = plugin.file_stem().unwrap_or_default().to_string_lossy();
    if plugin.extension().is_none() {
        return stem.into_owned();
    }
    // The name of a copy ends in `-` and a hash; that of a library has no `-` of its own.
    let name = stem.split('-').next().unwrap_or_default();
    name.strip_prefix(DLL_PREFIX).unwrap_or(name).replace('_', "-")
}
