//! Runs survive being killed, interrupted, damaged, and short of disk space.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use deberta_train::checkpoint::CheckpointStore;
use deberta_train::run::read_metrics;

use crate::child::{Orders, Outcome, Task};

/// Weights of 20 steps in one process, which nothing disturbed.
fn undisturbed() -> &'static [u8] {
    static WEIGHTS: OnceLock<Vec<u8>> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        let run = tempfile::tempdir().unwrap();
        let orders = Orders::new(run.path());
        assert!(orders.run().completed);
        orders.weights()
    })
}

fn steps(run_dir: &Path) -> Vec<usize> {
    CheckpointStore::open(run_dir, 2).unwrap().steps().unwrap()
}

/// A run of 20 steps is killed while step 15 is being prepared (a step has two micro-batches),
/// after the checkpoint of step 10, which lies in the middle of the second epoch.
#[track_caller]
fn kill_after_step_10(run_dir: &Path) {
    Orders {
        barrier: Some(30),
        ..Orders::new(run_dir)
    }
    .start()
    .kill();
    assert_eq!(steps(run_dir), [10]);
}

/// Continues a run to step 20 and compares its weights, bit for bit.
#[track_caller]
fn check_resume(run_dir: &Path, from: usize) -> Outcome {
    let orders = Orders {
        resume: true,
        ..Orders::new(run_dir)
    };
    let outcome = orders.run();
    assert_eq!(outcome.error, None);
    assert_eq!((outcome.resumed_from, outcome.step), (Some(from), 20));
    assert!(orders.weights() == undisturbed(), "the weights differ");
    outcome
}

#[test]
fn the_same_run_twice_gives_the_same_weights() {
    let run = tempfile::tempdir().unwrap();
    let orders = Orders::new(run.path());
    orders.run();
    assert!(orders.weights() == undisturbed());
    let other = Orders {
        steps: 19,
        ..Orders::new(tempfile::tempdir().unwrap().keep().as_path())
    };
    other.run();
    assert!(
        other.weights() != undisturbed(),
        "the comparison must be able to fail"
    );
    fs::remove_dir_all(&other.run_dir).unwrap();
}

#[test]
fn a_killed_run_continues_bit_for_bit() {
    let run = tempfile::tempdir().unwrap();
    kill_after_step_10(run.path());
    check_resume(run.path(), 10);
}

/// Two networks, and tokens that are drawn at random: the log of its evaluations is the same, too.
#[test]
fn a_killed_run_of_replaced_token_detection_continues_bit_for_bit() {
    let [whole, killed] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let orders = |run: &tempfile::TempDir| Orders {
        task: Task::ReplacedTokens,
        ..Orders::new(run.path())
    };
    assert!(orders(&whole).run().completed);
    Orders {
        barrier: Some(30),
        ..orders(&killed)
    }
    .start()
    .kill();
    assert_eq!(steps(killed.path()), [10]);
    let resumed = Orders {
        resume: true,
        ..orders(&killed)
    };
    let outcome = resumed.run();
    assert_eq!((outcome.resumed_from, outcome.step), (Some(10), 20));
    assert!(resumed.weights() == orders(&whole).weights());
    let evaluations = |run: &tempfile::TempDir| {
        let mut lines = read_metrics(run.path()).unwrap();
        lines.retain(|line| line.split == "valid");
        lines
    };
    assert_eq!(evaluations(&killed), evaluations(&whole));
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_anew() {
    let run = tempfile::tempdir().unwrap();
    Orders {
        barrier: Some(8),
        ..Orders::new(run.path())
    }
    .start()
    .kill();

    let orders = Orders {
        resume: true,
        ..Orders::new(run.path())
    };
    assert_eq!(orders.run().resumed_from, None);
    assert!(orders.weights() == undisturbed());
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_ends_properly() {
    let run = tempfile::tempdir().unwrap();
    let orders = Orders {
        barrier: Some(30),
        ..Orders::new(run.path())
    };
    orders.start().interrupt();

    let outcome = orders.outcome();
    assert!(!outcome.completed && outcome.error.is_none());
    assert!(
        (11..20).contains(&outcome.step),
        "stopped at step {}",
        outcome.step
    );
    assert_eq!(steps(run.path()), [10, outcome.step]);
    check_resume(run.path(), outcome.step);
}

#[test]
fn of_a_damaged_checkpoint_the_previous_is_used() {
    for damage in [truncate as fn(&Path), flip_a_bit] {
        let run = tempfile::tempdir().unwrap();
        Orders::new(run.path()).run();
        let newest = run.path().join("checkpoints/step-0000020/model.mpk");
        damage(&newest);

        let outcome = check_resume(run.path(), 10);
        assert_eq!(outcome.rejected.len(), 1);
        let message = &outcome.rejected[0];
        assert!(
            message.starts_with(&format!("{} is damaged", newest.display())),
            "{message}"
        );
    }
}

#[test]
fn the_reason_is_told_why_a_checkpoint_is_not_used() {
    let run = tempfile::tempdir().unwrap();
    Orders::new(run.path()).run();
    let manifest = run.path().join("checkpoints/step-0000020/manifest.json");
    fs::remove_file(&manifest).unwrap();

    let outcome = check_resume(run.path(), 10);
    let message = &outcome.rejected[0];
    let (what, why) = message.rsplit_once(": ").unwrap();
    assert_eq!(what, format!("cannot access {}", manifest.display()));
    assert!(!why.is_empty());
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, &bytes).unwrap();
}

#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_more_loses_nothing() {
    let run = tempfile::tempdir().unwrap();
    kill_after_step_10(run.path());
    let saved = fs::read(run.path().join("checkpoints/step-0000010/model.mpk")).unwrap();

    // Enough for the log and the configuration, but not for the 30 kB of the model.
    let orders = Orders {
        resume: true,
        ..Orders::new(run.path())
    };
    assert!(saved.len() > 16 * 1024);
    let outcome = orders.run_with_file_limit(16);
    assert_eq!(
        outcome.error.as_deref(),
        Some("cannot save or restore the run")
    );
    assert_eq!(steps(run.path()), [10]);
    assert_eq!(
        fs::read_dir(run.path().join("checkpoints"))
            .unwrap()
            .count(),
        1
    );
    let still = fs::read(run.path().join("checkpoints/step-0000010/model.mpk")).unwrap();
    assert!(still == saved);

    // With room again, the run ends as if nothing had happened.
    check_resume(run.path(), 10);
}

/// A small file system in memory, unmounted when dropped.
#[cfg(target_os = "linux")]
struct SmallDisk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    /// `None` if this user may not mount.
    fn mount(kib: usize) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Self::command(
            &["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"],
            &dir,
        );
        mounted.then(|| Self(dir))
    }

    fn resize(&self, kib: usize) {
        assert!(Self::command(
            &["-o", &format!("remount,size={kib}k")],
            &self.0
        ));
    }

    fn command(arguments: &[&str], dir: &tempfile::TempDir) -> bool {
        let output = Command::new("mount")
            .args(arguments)
            .arg(dir.path())
            .output();
        output.is_ok_and(|output| output.status.success())
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount(1024) else {
        println!("skipped: no permission to mount a tmpfs");
        return;
    };
    let run = disk.0.path();
    kill_after_step_10(run);
    let used_kib = fs::read_dir(run.join("checkpoints/step-0000010"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len() as usize)
        .sum::<usize>()
        / 1024;
    // Room for half of another checkpoint.
    disk.resize(used_kib * 3 / 2 + 64);

    let outcome = Orders {
        resume: true,
        ..Orders::new(run)
    }
    .run();
    assert_eq!(
        outcome.error.as_deref(),
        Some("cannot save or restore the run")
    );
    assert_eq!(steps(run), [10]);

    disk.resize(1024);
    check_resume(run, 10);
}
