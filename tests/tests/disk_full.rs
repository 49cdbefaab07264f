//! A disk that is full is said so, by the name of the file, and the run goes on once there is room.
//!
//! The disk is a small one in memory, in a mount namespace of its own. Where neither the system
//! nor the container lets us have one, the test says so and passes.

use std::fs;
use std::path::Path;
use std::process::Command;

use forage_tests::{RUN_FILE, Scratch, forage};

/// Megabytes of the disk.
const DISK: u64 = 64;

/// Ways to get a mount namespace: as anybody, as the administrator.
const NAMESPACES: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];

/// Fills the disk, trains until that fails, makes room, and trains to the end. What the disk holds
/// then would end with the namespace, so the results are copied.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=$DISK none disk || exit 9
head -c $FILLER /dev/zero > disk/filler || exit 9
"$FORAGE" train run.toml --out disk/run > first.out 2> first.err
echo $? > first.code
rm disk/filler
"$FORAGE" train run.toml --out disk/run --resume > second.out 2> second.err
echo $? > second.code
cp disk/run/metrics.jsonl disk/run/checkpoints/step-000008/model.safetensors .
"#;

fn namespace() -> Option<&'static [&'static str]> {
    let folder = tempfile::tempdir().ok()?;
    NAMESPACES.into_iter().find(|flags| {
        let mut probe = Command::new("unshare");
        probe.args(*flags).args(["mount", "-t", "tmpfs", "none"]).arg(folder.path());
        probe.output().is_ok_and(|it| it.status.success())
    })
}

/// Bytes of all files below a path, in whole pages as a disk in memory counts them.
fn size(path: &Path) -> u64 {
    let metadata = fs::symlink_metadata(path).unwrap();
    if metadata.is_dir() {
        fs::read_dir(path).unwrap().map(|it| size(&it.unwrap().path())).sum()
    } else {
        metadata.len().next_multiple_of(4096)
    }
}

#[test]
fn a_full_disk_is_named_and_survived() {
    let Some(flags) = namespace() else {
        eprintln!("skipped: this system lets us mount no disk of our own to fill");
        return;
    };
    let scratch = Scratch::ready();
    scratch.forage(["train", "run.toml", "--out", "run"]).done();
    let metrics = scratch.read("run/metrics.jsonl");
    let weights = fs::read(scratch.path("run/checkpoints/step-000008/model.safetensors")).unwrap();
    let of = |name: &str| size(&scratch.path(format!("run/{name}")));
    let (plugins, world, report) = (of("plugins"), of("world"), of("report.html"));
    let rest = size(&scratch.path("run")) - plugins - world - report;

    // Room for this much: the copy of the plugin, the world, checkpoints, trajectories and the
    // report are what does not fit, in this order.
    let begun = plugins + world;
    let rooms =
        [plugins / 2, plugins + world / 2, begun + rest / 4, begun + rest * 3 / 4, begun + rest];
    for room in rooms {
        let scratch = Scratch::ready();
        fs::create_dir(scratch.path("disk")).unwrap();
        assert!(room < DISK << 20, "the disk is too small for {room} bytes");
        let status = scratch
            .program("unshare", [flags, &["sh", "-c", SCRIPT]].concat())
            .env("DISK", format!("{DISK}m"))
            .env("FILLER", ((DISK << 20) - room).to_string())
            .env("FORAGE", forage())
            .status()
            .unwrap();
        assert!(status.success(), "the script failed with {status} at {room}");
        let stderr = scratch.read("first.err");
        assert_eq!(scratch.read("first.code"), "3\n", "{room}: {stderr}");
        assert!(stderr.contains("disk/run/") && stderr.contains("No space left"), "{stderr}");
        assert!(stderr.contains("hint: check free space"), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(scratch.read("second.code"), "0\n", "{}", scratch.read("second.err"));
        assert_eq!(scratch.read("metrics.jsonl"), metrics, "{room}");
        assert_eq!(fs::read(scratch.path("model.safetensors")).unwrap(), weights, "{room}");
    }
    assert!(RUN_FILE.contains("steps = 8"), "the last checkpoint has another name");
}
