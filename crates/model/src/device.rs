//! Devices by name, at run time: `cpu`, `cuda:N`, `wgpu`, `vulkan:N`.
//!
//! Which kinds there are is decided when the program is built, by cargo features; which devices of
//! a kind are there, when it runs. A device is only opened once it is known to be there: the
//! libraries below panic where their driver is missing.

use std::fmt;

#[cfg(any(feature = "cuda", feature = "wgpu", feature = "vulkan"))]
use burn::tensor::DeviceType;
use burn::tensor::{Device, FloatDType};

/// Device that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name is not one of a device.
    #[error("`{0}` names no device: names are `cpu`, `cuda:N`, `wgpu` and `vulkan:N`")]
    Unknown(String),
    /// The program was built without this kind of device.
    #[error("this program was built without the cargo feature `{feature}`; devices found: {found}")]
    NotBuilt {
        /// Cargo feature to build with.
        feature: &'static str,
        /// Devices that can be used instead.
        found: String,
    },
    /// There is no such device.
    #[error("no such device: {missing}; devices found: {found}")]
    NotThere {
        /// Driver or library that may be missing.
        missing: &'static str,
        /// Devices that can be used instead.
        found: String,
    },
}

/// Kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeviceKind {
    Cpu,
    Cuda,
    Wgpu,
    Vulkan,
}

impl DeviceKind {
    const ALL: [Self; 4] = [Self::Cpu, Self::Cuda, Self::Wgpu, Self::Vulkan];

    /// Name of the kind, and of the cargo feature that builds it.
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
        }
    }

    fn missing(self) -> &'static str {
        match self {
            Self::Cpu => "there is one `cpu`",
            Self::Cuda => "is there an NVIDIA card with its driver (`libcuda`) and NVRTC?",
            Self::Wgpu | Self::Vulkan => "is there a graphics driver, such as Mesa's for Vulkan?",
        }
    }

    /// Devices of the kind that are there; `None` where it was not built.
    fn devices(self) -> Option<Vec<Device>> {
        match self {
            Self::Cpu => Some(vec![Device::flex()]),
            #[cfg(feature = "cuda")]
            Self::Cuda => Some(Device::enumerate(DeviceType::Cuda).into_vec()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(Device::enumerate(DeviceType::Wgpu).into_vec()),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Some(Device::enumerate(DeviceType::Vulkan).into_vec()),
            #[cfg(not(all(feature = "cuda", feature = "wgpu", feature = "vulkan")))]
            _ => None,
        }
    }
}

/// Opens a device by name: `cpu`, `cuda:N`, `wgpu` or `vulkan:N`. Default: N = 0.
///
/// # Errors
///
/// A name that is none, a kind that was not built, and a device that is not there.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    let unknown = || DeviceError::Unknown(name.to_owned());
    let (kind, number) = match name.split_once(':') {
        Some((kind, number)) => (kind, Some(number.parse::<usize>().map_err(|_| unknown())?)),
        None => (name, None),
    };
    let kind = DeviceKind::ALL.into_iter().find(|it| it.name() == kind).ok_or_else(unknown)?;
    let Some(devices) = kind.devices() else {
        return Err(DeviceError::NotBuilt { feature: kind.name(), found: Found.to_string() });
    };
    let missing = kind.missing();
    let device = devices.into_iter().nth(number.unwrap_or(0));
    device.ok_or_else(|| DeviceError::NotThere { missing, found: Found.to_string() })
}

/// Names of all devices that can be used.
pub fn devices() -> Vec<String> {
    let named = |kind: DeviceKind| {
        let n = kind.devices().map_or(0, |it| it.len());
        (0..n).map(move |idx| match kind {
            DeviceKind::Cpu => kind.name().to_owned(),
            _ => format!("{}:{idx}", kind.name()),
        })
    };
    DeviceKind::ALL.into_iter().flat_map(named).collect()
}

/// Whether a device is the CPU.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Whether a device supports a compute type for matrix products. All support f32. The CPU is said
/// not to support others: it would convert to f32, slower and less exact than f32 itself.
pub fn can_compute(device: &Device, compute: FloatDType) -> bool {
    compute == FloatDType::F32 || (!is_cpu(device) && device.supports_dtype(compute))
}

/// Names of [`devices`], for messages.
struct Found;

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = devices().iter().map(|it| format!("`{it}`")).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_found_by_name_or_it_is_said_what_is_missing() {
        assert_eq!(device("cpu"), Ok(Device::flex()));
        assert_eq!(device("cpu:0"), Ok(Device::flex()));
        assert!(devices().contains(&"cpu".to_owned()));
        for name in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu:0:0"] {
            assert_eq!(device(name), Err(DeviceError::Unknown(name.to_owned())));
        }
        assert!(can_compute(&Device::flex(), FloatDType::F32));
        assert!(!can_compute(&Device::flex(), FloatDType::BF16));
        assert!(matches!(device("cpu:1"), Err(DeviceError::NotThere { .. })));
        for name in ["cuda:9", "wgpu:9", "vulkan:9"] {
            let error = device(name).unwrap_err();
            let feature = name.split_once(':').unwrap().0;
            match &error {
                DeviceError::NotBuilt { feature: found, .. } => assert_eq!(*found, feature),
                DeviceError::NotThere { .. } => {}
                DeviceError::Unknown(_) => panic!("{error}"),
            }
            assert!(error.to_string().contains("devices found: `cpu`"), "{error}");
        }
    }
}
