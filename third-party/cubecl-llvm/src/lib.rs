//! Stand-in for CubeCL's LLVM backend: no kernel is compiled through LLVM here. `README.md` says
//! why, and when to drop it.
//!
//! Types that only a compiled kernel would have hold an [`Infallible`], so that there are none.

use core::convert::Infallible;
use core::ffi::c_char;
use core::fmt;

use cubecl_core::Compiler;
use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_environment::backtrace::BackTrace;
use cubecl_runtime::compiler::CompilationError;
use cubecl_runtime::kernel::BufferIOAttr;

/// NVIDIA's intermediate language.
pub mod nvptx {
    /// Versions of it.
    pub mod ptx_version {
        use core::convert::Infallible;
        use core::fmt;

        /// A version; there is none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(Infallible);

        impl PtxVersion {
            /// The version that a driver reads: none.
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {}
            }
        }
    }
}

/// What all targets share.
pub mod shared {
    /// What kernels may use.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// Kinds of GPUs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA's.
            Nvptx,
        }

        /// Leaves a device what it has: kernels do not come through here.
        pub fn restrict_features(_: &mut DeviceProperties, _: GpuTarget) {}
    }
}

/// What LLVM compiles for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA's GPUs.
    #[default]
    Nvptx,
}

/// The compiler; it refuses every kernel.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What it compiles for.
    pub target: LlvmTarget,
}

/// What it is told.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// AMD's architecture; there is none.
    pub arch: Option<Infallible>,
    /// NVIDIA's architecture.
    pub sm_arch: Option<SmArch>,
    /// NVIDIA's intermediate language; there is none.
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    /// Whether arguments are constants of the grid.
    pub grid_constants: bool,
}

/// A compiled kernel for NVIDIA's GPUs.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// Its text.
    pub ptx: Vec<c_char>,
    /// Its name.
    pub entrypoint: String,
    /// What it was made of.
    pub ir: String,
    /// Bytes of shared memory.
    pub shared_memory_size: usize,
    /// What it reads and writes.
    pub io: Vec<BufferIOAttr>,
}

/// A compiled kernel.
#[derive(Clone)]
pub enum PlironArtifact {
    /// For NVIDIA's GPUs.
    NvptxCode(NvptxModule),
    /// For others; there is none.
    None(Infallible),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NvptxCode(it) => f.write_str(&it.ir),
            Self::None(it) => match *it {},
        }
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn buffer_io(_: &Self::Representation) -> Option<Vec<BufferIOAttr>> {
        None
    }

    fn compile(
        &mut self,
        _: KernelDefinition,
        _: &Self::CompilationOptions,
    ) -> Result<Self::Representation, CompilationError> {
        let reason = "this program was built without LLVM".into();
        Err(CompilationError::Generic { reason, backtrace: BackTrace::capture() })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}
