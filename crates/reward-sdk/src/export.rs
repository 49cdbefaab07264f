//! Export of a [`Reward`](crate::Reward) as a C declaration: the unsafe half of this crate.

#![expect(unsafe_code, reason = "this module is the plugin's side of the C boundary")]

/// Exports a [`Reward`](crate::Reward) from a `cdylib`.
///
/// It is called once in a library. Name and version of the plugin are those of the calling crate.
#[macro_export]
macro_rules! export_reward {
    ($reward:ty) => {
        const _: () = {
            impl $crate::__private::Exported for $reward {
                const NAME: &'static str = env!("CARGO_PKG_NAME");
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            }

            #[unsafe(no_mangle)]
            static FORAGE_REWARD_PLUGIN: $crate::__private::PluginDecl =
                $crate::__private::declare::<$reward>();

            #[unsafe(no_mangle)]
            static FORAGE_REWARD_APPLICABILITY: $crate::__private::ApplicabilityFn =
                $crate::__private::applicability::<$reward>;
        };
    };
}

/// Expansion of [`export_reward!`](crate::export_reward). It is no part of the API.
pub mod __private {
    use std::any::Any;
    use std::cell::Cell;
    use std::ffi::c_void;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::OnceLock;

    use forage_reward_abi::{ABI_MAJOR, ABI_MINOR, Bytes, Header, HostApi, MAGIC, Sink, Status};
    pub use forage_reward_abi::{ApplicabilityFn, PluginDecl};

    use crate::wire::{self, Grade, Group, WIRE_VERSION};
    use crate::{Reward, RewardError};

    /// Reward with the name and version of the crate that exports it.
    pub trait Exported: Reward {
        /// Name of the crate.
        const NAME: &'static str;
        /// Version of the crate.
        const VERSION: &'static str;
    }

    /// Host functions, and the name of the plugin. A library exports one reward.
    static HOST: OnceLock<(HostApi, &'static str)> = OnceLock::new();

    /// Writes one line to the log of the host.
    pub fn log(level: u32, message: &str) {
        if let Some((host, name)) = HOST.get() {
            // SAFETY: the host copies both before it returns, and does not unwind.
            unsafe {
                (host.log)(level, Bytes::new(name.as_bytes()), Bytes::new(message.as_bytes()));
            };
        }
    }

    thread_local! {
        /// Index of the trajectory that this thread scores, for the message of a panic.
        static MEMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Runs `body`, which scores one trajectory. The message of a panic names the member.
    pub fn of_member<T>(member: usize, body: impl FnOnce() -> T) -> T {
        MEMBER.set(Some(member));
        let scored = body();
        MEMBER.set(None);
        scored
    }

    /// Declaration of a reward.
    #[must_use]
    pub const fn declare<R: Exported>() -> PluginDecl {
        PluginDecl {
            header: Header {
                magic: MAGIC,
                abi_major: ABI_MAJOR,
                abi_minor: ABI_MINOR,
                decl_size: size_of::<PluginDecl>(),
            },
            wire_version: WIRE_VERSION,
            panic_unwinds: cfg!(panic = "unwind") as u32,
            name: Bytes::new(R::NAME.as_bytes()),
            version: Bytes::new(R::VERSION.as_bytes()),
            sdk_version: Bytes::new(env!("CARGO_PKG_VERSION").as_bytes()),
            create: create::<R>,
            score: score::<R>,
            destroy: destroy::<R>,
        }
    }

    unsafe extern "C" fn create<R: Exported>(
        host: *const HostApi,
        config: Bytes,
        out: *mut *mut c_void,
        sink: Sink,
    ) -> Status {
        guard(sink, || {
            // SAFETY: the host passes its table, which in this major is at least this long.
            let _ = HOST.set((unsafe { host.read() }, R::NAME));
            // SAFETY: the host keeps `config` alive for this call.
            let config = unsafe { config.as_slice() };
            // Read as a value first: an error would name a position in a text that no user sees.
            let bad = |what: String| Refusal::error(format!("bad configuration: {what}"));
            let config: serde_json::Value =
                serde_json::from_slice(config).map_err(|err| bad(err.to_string()))?;
            let config = serde_path_to_error::deserialize(config).map_err(|err| {
                // An unknown key is named by the error alone.
                let path = err.path().to_string();
                let is_named =
                    path == "." || err.inner().to_string().contains(&format!("`{path}`"));
                bad(if is_named {
                    err.inner().to_string()
                } else {
                    format!("`{path}`: {}", err.inner())
                })
            })?;
            let reward = Box::new(R::new(config)?);
            // SAFETY: the host passes a valid place for one pointer.
            unsafe { out.write(Box::into_raw(reward).cast()) };
            Ok(Vec::new())
        })
    }

    unsafe extern "C" fn score<R: Exported>(
        instance: *const c_void,
        request: Bytes,
        sink: Sink,
    ) -> Status {
        guard(sink, || {
            // SAFETY: `instance` came from `create::<R>`, and `R: Sync`.
            let reward = unsafe { &*instance.cast::<R>() };
            // SAFETY: the host keeps `request` alive for this call.
            let request = unsafe { request.as_slice() };
            let group = Group::from_bytes(request)
                .map_err(|err| Refusal::error(format!("bad request: {err}")))?;
            let grades = match reward.score_group(&group) {
                Ok(grades) => grades,
                Err(err) if err.is_broken => return Err(err.into()),
                Err(err) => vec![Grade::Failed(err.message); group.trajectories.len()],
            };
            wire::check(&group, &grades)
                .map_err(|breach| Refusal(Status::BROKE_CONTRACT, breach.to_string()))?;
            Ok(wire::grades_to_bytes(&grades))
        })
    }

    /// Applicability of an instance to questions: the function behind an [`ApplicabilityFn`].
    ///
    /// # Safety
    ///
    /// The instance came from the declaration of the same reward, and the request lives through the
    /// call.
    pub unsafe extern "C" fn applicability<R: Exported>(
        instance: *const c_void,
        request: Bytes,
        sink: Sink,
    ) -> Status {
        guard(sink, || {
            // SAFETY: `instance` came from `create::<R>`, and `R: Sync`.
            let reward = unsafe { &*instance.cast::<R>() };
            // SAFETY: the host keeps `request` alive for this call.
            let request = unsafe { request.as_slice() };
            let questions = wire::questions_from_bytes(request)
                .map_err(|err| Refusal::error(format!("bad request: {err}")))?;
            let found: Vec<_> = questions.iter().map(|it| reward.applicability(it)).collect();
            Ok(wire::applicability_to_bytes(&found))
        })
    }

    unsafe extern "C" fn destroy<R: Exported>(instance: *mut c_void) {
        // A panic in a destructor is caught and dropped: `destroy` has no way to report it.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: `instance` came from `create::<R>` and is not used again.
            drop(unsafe { Box::from_raw(instance.cast::<R>()) });
        }));
        if let Err(payload) = caught {
            discard(payload);
        }
    }

    /// Failed call: a status other than [`Status::OK`], with its message.
    struct Refusal(Status, String);

    impl Refusal {
        fn error(message: String) -> Self {
            Self(Status::ERROR, message)
        }
    }

    impl From<RewardError> for Refusal {
        fn from(err: RewardError) -> Self {
            Self::error(err.message)
        }
    }

    /// Runs `body`, writes its reply or its error to `sink`, and never unwinds.
    fn guard(sink: Sink, body: impl FnOnce() -> Result<Vec<u8>, Refusal>) -> Status {
        let (status, bytes) = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(bytes)) => (Status::OK, bytes),
            Ok(Err(Refusal(status, message))) => (status, message.into_bytes()),
            Err(payload) => {
                let message = message_of(payload.as_ref());
                let message = match MEMBER.take() {
                    Some(member) => format!("{message}, for member {member}"),
                    None => message,
                };
                discard(payload);
                (Status::PANICKED, message.into_bytes())
            }
        };
        // SAFETY: the host's `write` copies the bytes and does not unwind.
        unsafe { (sink.write)(sink.ctx, Bytes::new(&bytes)) };
        status
    }

    /// Drops the payload of a panic. If that panics again, the second payload is leaked.
    fn discard(payload: Box<dyn Any + Send>) {
        std::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(payload))));
    }

    fn message_of(payload: &(dyn Any + Send)) -> String {
        if let Some(text) = payload.downcast_ref::<&str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "panicked with a value that is not text".to_owned()
        }
    }
}
