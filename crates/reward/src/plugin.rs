//! Loading and calling of plugins: all unsafe code of this crate.

#![expect(unsafe_code, reason = "this module is the host's side of the C boundary")]

use std::ffi::c_void;
use std::fs;
use std::mem;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use forage_reward_abi::{
    ABI_MAJOR, ABI_MINOR, APPLICABILITY_SYMBOL, ApplicabilityFn, Bytes, DECL_SYMBOL, Header,
    HostApi, MAGIC, PluginDecl, Sink, Status,
};
use forage_reward_sdk::wire::{self, Applicability, Breach, Grade, Group, Question, WIRE_VERSION};

use crate::workers::{CallFailure, Workers};
use crate::{PluginError, PluginErrorKind};

/// Default deadline for scoring one group.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Loaded reward plugin with its configuration.
#[derive(Debug)]
pub struct Plugin {
    path: PathBuf,
    deadline: Duration,
    instance: Arc<Instance>,
    workers: Workers,
}

/// Instance that `create` returned. It outlives every call, also an abandoned one.
#[derive(Debug)]
struct Instance {
    decl: &'static PluginDecl,
    /// Absent in plugins of older SDKs.
    applicability: Option<ApplicabilityFn>,
    pointer: NonNull<c_void>,
}

// SAFETY: the contract of `forage-reward-abi` lets any thread call `score`, at once; the SDK holds
// plugin authors to it with `Reward: Send + Sync`.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Plugin {
    /// Loads a plugin: opens the library, checks its declaration and creates an instance with this
    /// configuration.
    ///
    /// This runs code of the file, which must be one that the user would run: see the front page of
    /// the crate. The library stays loaded until the process ends. Default deadline: 60 seconds.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened, is no plugin or was built for another version, and a
    /// configuration that the plugin rejects.
    pub fn load(path: &Path, config: &serde_json::Value) -> Result<Self, PluginError> {
        let fail = |kind| PluginError::new(path, kind);
        // A bare file name would be looked for where the system keeps its libraries.
        let file = fs::canonicalize(path).map_err(|err| fail(PluginErrorKind::Read(err)))?;
        // SAFETY: the user chose to run this file, and answers for its initializers.
        let library = unsafe { libloading::Library::new(file) }
            .map_err(|err| fail(PluginErrorKind::Open(err)))?;
        // Never closed: Rust's thread-locals and statics do not survive `dlclose`.
        let library = mem::ManuallyDrop::new(library);
        // SAFETY: nothing is read through the pointer before `check` has seen the magic.
        let decl = *unsafe { library.get::<*const PluginDecl>(DECL_SYMBOL) }
            .map_err(|_| fail(PluginErrorKind::NotAPlugin))?;
        let decl = check(decl).map_err(fail)?;
        // SAFETY: a static of this name is an `ApplicabilityFn`, by the contract of the ABI.
        let applicability = unsafe { library.get::<*const ApplicabilityFn>(APPLICABILITY_SYMBOL) };
        // SAFETY: as above; the library is never closed.
        let applicability = applicability.ok().map(|symbol| unsafe { **symbol });
        Self::create(path, decl, applicability, config)
    }

    fn create(
        path: &Path,
        decl: &'static PluginDecl,
        applicability: Option<ApplicabilityFn>,
        config: &serde_json::Value,
    ) -> Result<Self, PluginError> {
        let fail = |kind| PluginError::new(path, kind);
        let mut pointer = ptr::null_mut();
        let config = config.to_string();
        collect(|sink| {
            // SAFETY: all arguments live through the call, and `HOST_API` for ever.
            unsafe {
                (decl.create)(
                    &raw const HOST_API,
                    Bytes::new(config.as_bytes()),
                    &raw mut pointer,
                    sink,
                )
            }
        })
        .map_err(fail)?;
        let pointer = NonNull::new(pointer)
            .ok_or_else(|| fail(breach("it was created without an instance")))?;
        let instance = Arc::new(Instance { decl, applicability, pointer });
        let workers = Workers::default();
        Ok(Self { path: path.to_owned(), deadline: DEADLINE, instance, workers })
    }

    /// The same plugin with another deadline for scoring one group.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Scores a group: one grade for each trajectory, in their order. All numbers are finite, and
    /// there is a step reward for each executed search or for none.
    ///
    /// The plugin is called on a thread of its own, which is reused. A call that misses its
    /// deadline cannot be stopped: it is abandoned, and the result is [`PluginErrorKind::TooSlow`].
    ///
    /// # Errors
    ///
    /// A plugin that returns an error, panics, breaks the contract or misses its deadline.
    pub fn score(&self, group: &Group) -> Result<Vec<Grade>, PluginError> {
        self.score_bytes(group, &Arc::new(group.to_bytes()))
    }

    /// Scores a group that is serialized already.
    pub(crate) fn score_bytes(
        &self,
        group: &Group,
        request: &Arc<Vec<u8>>,
    ) -> Result<Vec<Grade>, PluginError> {
        self.ask(request)
            .and_then(|grades| {
                // The SDK checks this too, but a plugin can be written without it.
                wire::check(group, &grades).map_err(PluginErrorKind::BrokeContract)?;
                Ok(grades)
            })
            .map_err(|kind| PluginError::new(&self.path, kind).on_question(&group.question.id))
    }

    /// Applicability to each question, in their order. It is unknown for a plugin of an older SDK.
    ///
    /// # Errors
    ///
    /// A plugin that returns an error, panics, breaks the contract or misses its deadline.
    pub fn applicability(&self, questions: &[Question]) -> Result<Vec<Applicability>, PluginError> {
        let request = wire::questions_to_bytes(questions);
        let n = questions.len();
        let instance = Arc::clone(&self.instance);
        self.call(move || instance.applicability(&request, n))
            .map_err(|kind| PluginError::new(&self.path, kind))
    }

    fn ask(&self, request: &Arc<Vec<u8>>) -> Result<Vec<Grade>, PluginErrorKind> {
        let (instance, request) = (Arc::clone(&self.instance), Arc::clone(request));
        self.call(move || instance.ask(&request))
    }

    /// Calls the plugin on a worker, until the deadline.
    fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, PluginErrorKind> + Send + 'static,
    ) -> Result<T, PluginErrorKind> {
        self.workers.run(self.deadline, call).unwrap_or_else(|failure| {
            Err(match failure {
                CallFailure::NoThread(err) => PluginErrorKind::Thread(err),
                CallFailure::Deadline => PluginErrorKind::TooSlow { deadline: self.deadline },
                CallFailure::Panicked => {
                    PluginErrorKind::Panicked("in the thread it was called on".to_owned())
                }
            })
        })
    }

    /// Name of the plugin's crate.
    pub fn name(&self) -> String {
        text_of(self.instance.decl.name)
    }

    /// Version of the plugin's crate.
    pub fn version(&self) -> String {
        text_of(self.instance.decl.version)
    }

    /// File that the plugin was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Instance {
    fn ask(&self, request: &[u8]) -> Result<Vec<Grade>, PluginErrorKind> {
        let reply = collect(|sink| {
            // SAFETY: the instance is ours until `drop`; `request` lives through the call.
            unsafe { (self.decl.score)(self.pointer.as_ptr(), Bytes::new(request), sink) }
        })?;
        wire::grades_from_bytes(&reply).map_err(PluginErrorKind::BadReply)
    }

    fn applicability(
        &self,
        request: &[u8],
        n_questions: usize,
    ) -> Result<Vec<Applicability>, PluginErrorKind> {
        let Some(ask) = self.applicability else {
            return Ok(vec![Applicability::default(); n_questions]);
        };
        let reply = collect(|sink| {
            // SAFETY: the instance is ours until `drop`; `request` lives through the call.
            unsafe { ask(self.pointer.as_ptr(), Bytes::new(request), sink) }
        })?;
        let found = wire::applicability_from_bytes(&reply).map_err(PluginErrorKind::BadReply)?;
        if found.len() != n_questions {
            let message = format!("{} replies for {n_questions} questions", found.len());
            return Err(breach(&message));
        }
        Ok(found)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `create` and is not used again.
        unsafe { (self.decl.destroy)(self.pointer.as_ptr()) }
    }
}

/// Checks the declaration of a plugin: magic, versions and panic mode.
fn check(decl: *const PluginDecl) -> Result<&'static PluginDecl, PluginErrorKind> {
    if decl.is_null() {
        return Err(PluginErrorKind::NotAPlugin);
    }
    // SAFETY: the symbol exists; at least the header is there in every version. It is aligned in
    // a plugin, but this may not be one.
    let header = unsafe { decl.cast::<Header>().read_unaligned() };
    if header.magic != MAGIC || !decl.is_aligned() {
        return Err(PluginErrorKind::NotAPlugin);
    }
    if header.abi_major != ABI_MAJOR
        || header.abi_minor > ABI_MINOR
        || header.decl_size < size_of::<PluginDecl>()
    {
        return Err(PluginErrorKind::AbiMismatch {
            plugin: format!("{}.{}", header.abi_major, header.abi_minor),
            host: format!("{ABI_MAJOR}.{ABI_MINOR}"),
        });
    }
    // SAFETY: the versions agree, so all fields are there; the library is never closed.
    let decl = unsafe { &*decl };
    if decl.wire_version != WIRE_VERSION {
        return Err(PluginErrorKind::WireMismatch {
            plugin: decl.wire_version,
            sdk: text_of(decl.sdk_version),
            host: WIRE_VERSION,
        });
    }
    if decl.panic_unwinds == 0 {
        return Err(PluginErrorKind::PanicAborts);
    }
    Ok(decl)
}

/// Text in a declaration that was checked.
fn text_of(bytes: Bytes) -> String {
    // SAFETY: what a declaration points at is static data of a library that is never closed.
    String::from_utf8_lossy(unsafe { bytes.as_slice() }).into_owned()
}

/// Breach of the contract that concerns no single trajectory.
fn breach(message: &str) -> PluginErrorKind {
    PluginErrorKind::BrokeContract(Breach { member: None, message: message.to_owned() })
}

/// Runs `call` with a sink, and converts its status to a result.
fn collect(call: impl FnOnce(Sink) -> Status) -> Result<Vec<u8>, PluginErrorKind> {
    unsafe extern "C" fn write(ctx: *mut c_void, bytes: Bytes) {
        // SAFETY: `ctx` is the vector below, which outlives the call.
        let buffer = unsafe { &mut *ctx.cast::<Vec<u8>>() };
        // SAFETY: the plugin keeps `bytes` alive until this returns.
        buffer.extend_from_slice(unsafe { bytes.as_slice() });
    }
    let mut buffer: Vec<u8> = Vec::new();
    let status = call(Sink { ctx: (&raw mut buffer).cast(), write });
    let text = |buffer: Vec<u8>| String::from_utf8_lossy(&buffer).into_owned();
    match status {
        Status::OK => Ok(buffer),
        Status::ERROR => Err(PluginErrorKind::Refused(text(buffer))),
        Status::PANICKED => Err(PluginErrorKind::Panicked(text(buffer))),
        Status::BROKE_CONTRACT => Err(breach(&text(buffer))),
        Status(other) => Err(breach(&format!("it returned status {other}"))),
    }
}

static HOST_API: HostApi = HostApi { size: size_of::<HostApi>(), log };

unsafe extern "C" fn log(level: u32, target: Bytes, message: Bytes) {
    // SAFETY: the plugin keeps both alive until this returns.
    let (plugin, message) = unsafe { (target.as_slice(), message.as_slice()) };
    let plugin = String::from_utf8_lossy(plugin);
    let message = String::from_utf8_lossy(message);
    // A log that panics (a closed pipe) must not unwind into the plugin.
    let caught = catch_unwind(|| match level {
        1 => tracing::error!(%plugin, "{message}"),
        2 => tracing::warn!(%plugin, "{message}"),
        3 => tracing::info!(%plugin, "{message}"),
        4 => tracing::debug!(%plugin, "{message}"),
        _ => tracing::trace!(%plugin, "{message}"),
    });
    mem::forget(caught);
}

#[cfg(test)]
mod tests {
    use forage_reward_sdk::wire::{Question, Score, Trajectory};
    use serde_json::json;

    use super::*;

    /// Reply of a plugin that was written without the SDK, to every request.
    struct Answer(Status, Vec<u8>);

    /// The instance is the address of an [`Answer`], which the configuration holds.
    unsafe extern "C" fn create(
        _: *const HostApi,
        config: Bytes,
        out: *mut *mut c_void,
        _: Sink,
    ) -> Status {
        // SAFETY: the host keeps `config` alive for this call.
        let config = unsafe { config.as_slice() };
        let address: usize = std::str::from_utf8(config).unwrap().parse().unwrap();
        // SAFETY: the host passes a valid place for one pointer.
        unsafe { out.write(ptr::with_exposed_provenance_mut(address)) };
        Status::OK
    }

    unsafe extern "C" fn score(instance: *const c_void, _: Bytes, sink: Sink) -> Status {
        // SAFETY: it came from `create`, and the test keeps the answer alive.
        let Answer(status, bytes) = unsafe { &*instance.cast::<Answer>() };
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        for part in [first, rest] {
            // SAFETY: this is the sink of this call.
            unsafe { (sink.write)(sink.ctx, Bytes::new(part)) };
        }
        *status
    }

    unsafe extern "C" fn destroy(_: *mut c_void) {}

    static DECL: PluginDecl = PluginDecl {
        header: Header {
            magic: MAGIC,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            decl_size: size_of::<PluginDecl>(),
        },
        wire_version: WIRE_VERSION,
        panic_unwinds: 1,
        name: Bytes::new(b"foreign"),
        version: Bytes::new(b""),
        sdk_version: Bytes::new(b""),
        create,
        score,
        destroy,
    };

    fn ask(answer: &Answer) -> Result<Vec<Grade>, PluginError> {
        let address = ptr::from_ref(answer).expose_provenance();
        let plugin = Plugin::create(
            Path::new("foreign"),
            check(&raw const DECL).unwrap(),
            None,
            &json!(address),
        )?;
        let trajectory = Trajectory { member: 5, ..Trajectory::default().search("x", []) };
        let question = Question::new("?", []);
        plugin.score(&Group { question, trajectories: vec![trajectory], step: None })
    }

    #[test]
    fn answers_are_checked_here_too() {
        let graded = |grades: &[Grade]| Answer(Status::OK, wire::grades_to_bytes(grades));
        let fine = || Grade::from(Score::new(1.0).steps([0.5]));
        assert_eq!(ask(&graded(&[fine()])).unwrap(), [fine()]);

        let text = |status: i32| Answer(Status(status), b"no \xff".to_vec());
        for (answer, member, message) in [
            (graded(&[]), None, "broke the plugin contract: 0 grades for 1 trajectories"),
            (
                graded(&[fine(), fine()]),
                None,
                "broke the plugin contract: 2 grades for 1 trajectories",
            ),
            (
                graded(&[Score::new(f64::INFINITY).into()]),
                Some(5),
                "broke the plugin contract: a reward of inf",
            ),
            (
                graded(&[Score::new(0.0).steps([0.0, 0.0]).into()]),
                Some(5),
                "broke the plugin contract: 2 step values for 1 searches",
            ),
            (text(0), None, "answered with something else than grades"),
            (Answer(Status::OK, Vec::new()), None, "answered with something else than grades"),
            (text(1), None, "no \u{fffd}"),
            (text(2), None, "panicked: no \u{fffd}"),
            (text(3), None, "broke the plugin contract: no \u{fffd}"),
            (text(-7), None, "broke the plugin contract: it returned status -7"),
        ] {
            let err = ask(&answer).unwrap_err();
            assert_eq!((err.kind().to_string().as_str(), err.member()), (message, member));
        }
    }
}
