//! Tests that compare a device with the CPU: `cargo xtask test --device <name>`.
//!
//! The driver of the device is looked for first, since its kernels take a quarter of an hour to
//! build.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure};
use xshell::{Shell, cmd};

use crate::metadata;

/// Folders with the manifests of Vulkan drivers.
const VULKAN_FOLDERS: [&str; 3] =
    ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/// Variables with the path of a Vulkan driver.
const VULKAN_VARIABLES: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/// Hint for computers without a Vulkan driver: one in software.
const SOFTWARE_VULKAN: &str = "\
    on Debian and Ubuntu `apt-get install libvulkan1 mesa-vulkan-drivers` installs Mesa, whose \
    llvmpipe needs no graphics card (tested: Mesa 25, which on Debian 12 is in \
    `bookworm-backports`)";

/// Runs the tests of a device; `arguments` are passed on to them, such as `--nocapture`.
pub(crate) fn test(shell: &Shell, device: &str, arguments: &[OsString]) -> anyhow::Result<()> {
    let feature = feature(device)?;
    check(feature)?;
    let command = cmd!(
        shell,
        "cargo test --package forage-model --features {feature} --test devices -- {arguments...}"
    );
    let command = command.env("FORAGE_TEST_DEVICE", device);
    if env::var_os("XDG_RUNTIME_DIR").is_some() {
        return Ok(command.run()?);
    }
    // Nobody is logged in, as in a container; graphics libraries want the folder all the same.
    let folder = metadata()?.target_directory.join("tmp/runtime");
    shell.create_dir(&folder)?;
    Ok(command.env("XDG_RUNTIME_DIR", folder).run()?)
}

/// Cargo feature that a device needs.
fn feature(device: &str) -> anyhow::Result<&'static str> {
    let (kind, number) = device.split_once(':').unwrap_or((device, "0"));
    match ["cuda", "wgpu", "vulkan"].into_iter().find(|it| *it == kind) {
        Some(feature) if number.parse::<usize>().is_ok() => Ok(feature),
        _ => bail!(
            "`{device}` names no device to test: names are `wgpu`, `cuda:N` and `vulkan:N`; \
             `cpu` is what `cargo xtask test` runs on"
        ),
    }
}

/// Fails where the feature has no driver or card.
fn check(feature: &str) -> anyhow::Result<()> {
    if feature == "cuda" {
        ensure!(
            succeeds("nvidia-smi", "--list-gpus") == Some(true),
            "`nvidia-smi --list-gpus` finds no card: CUDA needs an NVIDIA card, its driver, and \
             NVRTC, which on Debian and Ubuntu `apt-get install nvidia-cuda-toolkit` installs"
        );
    } else if cfg!(target_os = "linux") {
        // Elsewhere `wgpu` is at home on other interfaces, which come with the system.
        ensure!(
            succeeds("vulkaninfo", "--summary").unwrap_or_else(has_vulkan_driver),
            "no driver of Vulkan works here: {SOFTWARE_VULKAN}"
        );
    }
    Ok(())
}

/// Whether a program succeeds; `None` where it cannot be started.
fn succeeds(program: &str, argument: &str) -> Option<bool> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().ok().map(|it| it.success())
}

/// Whether a Vulkan driver is installed or named.
fn has_vulkan_driver() -> bool {
    let is_named = VULKAN_VARIABLES.iter().any(|name| env::var_os(name).is_some());
    let is_there = |folder: &str| {
        let mut entries = Path::new(folder).read_dir().into_iter().flatten().flatten();
        entries.any(|entry| entry.path().extension().is_some_and(|suffix| suffix == "json"))
    };
    is_named || VULKAN_FOLDERS.iter().any(|folder| is_there(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_name_their_feature() {
        for (name, expected) in [
            ("wgpu", Some("wgpu")),
            ("wgpu:1", Some("wgpu")),
            ("cuda:0", Some("cuda")),
            ("vulkan:12", Some("vulkan")),
            ("cpu", None),
            ("cuda:", None),
            ("cuda:x", None),
            ("metal:0", None),
            ("", None),
        ] {
            assert_eq!(feature(name).ok(), expected, "`{name}`");
        }
    }
}
