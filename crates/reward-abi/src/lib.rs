//! Binary contract (ABI) between the host, which is the program that trains, and a reward plugin.
//!
//! A plugin is a shared library that exports a static, a [`PluginDecl`], under the name
//! [`DECL_SYMBOL`]. A second one, an [`ApplicabilityFn`] under the name [`APPLICABILITY_SYMBOL`], is
//! optional: a host that finds none does not know to which questions the reward applies, and a host
//! that does not know the name never looks for it, so it is no change of version. Control crosses the boundary as C: integers, pointers and functions. Data
//! crosses it as self-describing bytes, and this crate does not know their content;
//! `forage-reward-sdk` does.
//!
//! Authors of rewards use `forage-reward-sdk` and do not need this crate. A plugin in another
//! language implements the contract below: `include/forage_reward.h` has it in C, and `examples/c`
//! is a complete plugin.
//!
//! # The contract
//!
//! - Everything is `repr(C)`. No Rust type of unspecified layout crosses the boundary.
//! - No allocation changes its owner. Both sides pass [`Bytes`], which live as long as the call
//!   they are passed to, and a reply goes through a [`Sink`] that copies it.
//! - No call unwinds into the other side. A plugin catches its panics and returns
//!   [`Status::PANICKED`]; a plugin that aborts on a panic declares that in `panic_unwinds` and is
//!   rejected.
//! - [`PluginDecl::score`] is called from many threads at once, with one instance.
//!   [`PluginDecl::destroy`] is called once for each instance, after all of its scores.
//! - A loaded library is never unloaded.
//!
//! # Versions
//!
//! There are three version numbers, for three kinds of changes:
//!
//! | number | is bumped when | must be rebuilt |
//! |---|---|---|
//! | [`ABI_MAJOR`] | anything here is changed or taken away | all plugins |
//! | [`ABI_MINOR`] | a field is appended to [`PluginDecl`] or [`HostApi`], or a [`Status`] is added | plugins that want it, after the host |
//! | wire version, in the SDK | a field of the data changes meaning or is taken away | all plugins |
//!
//! The versions of the crates are shown in messages and never compared. A host first reads the
//! [`Header`], which is the same in every version, and accepts plugins of its own major version and
//! of a minor version not above its own. A host reads an appended field only if
//! [`Header::decl_size`] covers it; a plugin does the same with [`HostApi::size`].
//!
//! # Version history
//!
//! - **1.0** The first.

#![no_std]

use core::ffi::c_void;

/// ABI major version. Bumped on any change that an old plugin or an old host would misread.
pub const ABI_MAJOR: u32 = 1;
/// ABI minor version. Bumped when a field is appended to [`PluginDecl`] or [`HostApi`].
pub const ABI_MINOR: u32 = 0;
/// Magic number: the first bytes of every declaration, which tell a wrong file from a stale one.
pub const MAGIC: [u8; 8] = *b"FORAGRWD";
/// Name of the symbol of the declaration, which every plugin exports.
pub const DECL_SYMBOL: &[u8] = b"FORAGE_REWARD_PLUGIN\0";
/// Name of the symbol of an [`ApplicabilityFn`], which a plugin may export besides.
pub const APPLICABILITY_SYMBOL: &[u8] = b"FORAGE_REWARD_APPLICABILITY\0";

/// Says how far the reward applies to each of the serialized questions. It may be called from many
/// threads at once, and calls no server.
pub type ApplicabilityFn =
    unsafe extern "C" fn(instance: *const c_void, request: Bytes, sink: Sink) -> Status;

/// Header of a declaration: the prefix that is the same in every version.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`ABI_MAJOR`] as the plugin was built.
    pub abi_major: u32,
    /// [`ABI_MINOR`] as the plugin was built.
    pub abi_minor: u32,
    /// `size_of::<PluginDecl>()` as the plugin was built.
    pub decl_size: usize,
}

/// Declaration of a plugin, which it exports under [`DECL_SYMBOL`].
#[repr(C)]
#[derive(Debug)]
pub struct PluginDecl {
    /// Header. Nothing else is read before the versions are known to agree.
    pub header: Header,
    /// Version of the serialized request and reply.
    pub wire_version: u32,
    /// 1 if panics unwind in the plugin, 0 if they abort the process.
    pub panic_unwinds: u32,
    /// Name of the plugin's crate, in UTF-8.
    pub name: Bytes,
    /// Version of the plugin's crate. For messages only.
    pub version: Bytes,
    /// Version of the SDK the plugin was built with. For messages only.
    pub sdk_version: Bytes,
    /// Creates an instance from a configuration, a JSON value, and writes it to `out`.
    pub create: unsafe extern "C" fn(
        host: *const HostApi,
        config: Bytes,
        out: *mut *mut c_void,
        sink: Sink,
    ) -> Status,
    /// Scores one serialized group. It may be called from many threads at once.
    pub score: unsafe extern "C" fn(instance: *const c_void, request: Bytes, sink: Sink) -> Status,
    /// Drops the instance.
    pub destroy: unsafe extern "C" fn(instance: *mut c_void),
}

// SAFETY: the declaration is immutable and points only at `'static` data.
#[expect(unsafe_code, reason = "the pointers are to static data")]
unsafe impl Sync for PluginDecl {}

/// Functions that the host offers a plugin. The table lives as long as the process.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HostApi {
    /// `size_of::<HostApi>()` as the host was built.
    pub size: usize,
    /// Writes one log line, from any thread. `level` is 1 (error) to 5 (trace), `target` the
    /// plugin's name. Must not unwind.
    pub log: unsafe extern "C" fn(level: u32, target: Bytes, message: Bytes),
}

/// Borrowed bytes, valid until the call that they were passed to returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// Start of the bytes; may dangle when `len` is zero.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}

impl Bytes {
    /// Borrows `bytes` for the duration of a call.
    pub const fn new(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes themselves.
    ///
    /// # Safety
    ///
    /// The bytes must be alive and unchanged for all of `'a`.
    #[expect(unsafe_code, reason = "both sides of the boundary need it")]
    pub const unsafe fn as_slice<'a>(self) -> &'a [u8] {
        if self.len == 0 {
            // C may pass a null pointer here, which a slice must not have.
            return &[];
        }
        // SAFETY: by the contract of this function.
        unsafe { core::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// Output of a call: its owner copies the bytes before `write` returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// Passed back to `write` untouched.
    pub ctx: *mut c_void,
    /// Appends a copy of `bytes`. Must not unwind.
    pub write: unsafe extern "C" fn(ctx: *mut c_void, bytes: Bytes),
}

/// Status of a call. An integer and not an `enum`: a value that this side does not know must be an
/// error message, not undefined behaviour.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub i32);

impl Status {
    /// Success: the sink holds the reply.
    pub const OK: Self = Self(0);
    /// The plugin returned an error; the sink holds a UTF-8 message.
    pub const ERROR: Self = Self(1);
    /// The plugin panicked and was caught; the sink holds a UTF-8 message.
    pub const PANICKED: Self = Self(2);
    /// The reply breaks the contract, as the SDK of the plugin found; the sink holds a UTF-8
    /// message.
    pub const BROKE_CONTRACT: Self = Self(3);
}

// The layout is the contract: a change here is a change of `ABI_MAJOR`.
#[cfg(target_pointer_width = "64")]
const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Bytes>() == 16);
    assert!(size_of::<Sink>() == 16);
    assert!(size_of::<Status>() == 4);
    assert!(size_of::<Header>() == 24);
    assert!(offset_of!(Header, abi_major) == 8);
    assert!(offset_of!(Header, abi_minor) == 12);
    assert!(offset_of!(Header, decl_size) == 16);
    assert!(offset_of!(PluginDecl, wire_version) == 24);
    assert!(offset_of!(PluginDecl, panic_unwinds) == 28);
    assert!(offset_of!(PluginDecl, name) == 32);
    assert!(offset_of!(PluginDecl, version) == 48);
    assert!(offset_of!(PluginDecl, sdk_version) == 64);
    assert!(offset_of!(PluginDecl, create) == 80);
    assert!(offset_of!(PluginDecl, score) == 88);
    assert!(offset_of!(PluginDecl, destroy) == 96);
    assert!(size_of::<PluginDecl>() == 104);
    assert!(offset_of!(HostApi, log) == 8);
    assert!(size_of::<HostApi>() == 16);
};
