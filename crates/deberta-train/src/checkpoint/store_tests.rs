//! Tests of the checkpoint store: damage, full disks, tidying.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::checkpoint::Best;
use crate::checkpoint::storage::NewFile;

fn checkpoint(step: usize) -> Checkpoint {
    let mut state = TrainState::start(7, 100);
    state.step = step;
    state.cursor = state.cursor.advance(step * 8, state.epoch_len);
    Checkpoint {
        state,
        config: serde_json::json!({ "peak_lr": 3e-4, "steps": 20 }),
    }
}

fn model(step: usize) -> Vec<u8> {
    (0..300).map(|byte| (byte * step % 251) as u8).collect()
}

fn optimizer(step: usize) -> Vec<u8> {
    vec![step as u8; 200]
}

fn save(store: &CheckpointStore, checkpoint: &Checkpoint) -> Result<PathBuf, CheckpointError> {
    let step = checkpoint.state.step;
    store.save(
        checkpoint,
        |file| file.write_all(&model(step)),
        |file| file.write_all(&optimizer(step)),
    )
}

fn save_step(store: &CheckpointStore, step: usize) -> PathBuf {
    save(store, &checkpoint(step)).unwrap()
}

/// A checkpoint that can be loaded, and its records.
#[track_caller]
fn check_loaded(store: &CheckpointStore, step: usize) {
    assert_eq!(store.load(step).unwrap(), checkpoint(step));
    let read = |name| fs::read(store.path(step).join(name)).unwrap();
    assert_eq!(
        (read(MODEL), read(OPTIMIZER)),
        (model(step), optimizer(step))
    );
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn what_is_saved_is_loaded() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 2).unwrap();
    let path = save_step(&store, 12);

    assert_eq!(path, run.path().join("checkpoints/step-0000012"));
    assert_eq!(files(&path).len(), 5);
    check_loaded(&store, 12);
    assert!(store.latest_valid().unwrap().unwrap().rejected.is_empty());
}

#[test]
fn an_empty_store_has_nothing_to_restore() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 2).unwrap();
    assert!(store.latest_valid().unwrap().is_none());
}

#[test]
fn the_newest_and_the_best_are_kept() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 2).unwrap();
    for step in [1, 2, 3, 4, 5] {
        let mut checkpoint = checkpoint(step);
        checkpoint.state.best = Some(Best {
            step: step.min(2),
            loss_nats: 1.0,
            score: None,
        });
        save(&store, &checkpoint).unwrap();
    }
    assert_eq!(store.steps().unwrap(), [2, 4, 5]);
}

#[test]
fn what_is_newer_than_the_run_makes_way_for_what_it_saves() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 1).unwrap();
    save_step(&store, 400);
    let damaged = fs::read_dir(store.path(400)).unwrap();
    fs::create_dir(store.path(600)).unwrap();
    for file in damaged.map(|it| it.unwrap()) {
        fs::copy(file.path(), store.path(600).join(file.file_name())).unwrap();
    }
    // So the run goes on from step 400.
    let restored = store.latest_valid().unwrap().unwrap();
    assert_eq!(restored.path, store.path(400));
    save_step(&store, 500);
    assert_eq!(store.steps().unwrap(), [500]);
    assert!(store.latest_valid().unwrap().unwrap().rejected.is_empty());
}

#[test]
fn saving_a_step_again_replaces_it() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 2).unwrap();
    save_step(&store, 3);
    let (changed, empty) = (vec![9; 10], |_: &mut dyn Write| Ok(()));
    let write = |file: &mut dyn Write| file.write_all(&changed);
    let path = store.save(&checkpoint(3), write, empty).unwrap();

    assert_eq!(store.load(3).unwrap(), checkpoint(3));
    assert_eq!(fs::read(path.join(MODEL)).unwrap(), changed);
    assert_eq!(files(&run.path().join("checkpoints")).len(), 1);
}

#[test]
fn leftovers_of_a_killed_save_are_ignored_and_removed() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 2).unwrap();
    save_step(&store, 3);
    let leftover = run.path().join("checkpoints/.tmp-step-0000004");
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join(MODEL), b"half").unwrap();

    assert_eq!(
        store.latest_valid().unwrap().unwrap().checkpoint,
        checkpoint(3)
    );
    drop(store);
    CheckpointStore::open(run.path(), 2).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn a_folder_is_opened_once_at_a_time_and_nothing_of_it_removed() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 2).unwrap();
    save_step(&store, 3);
    let half = run.path().join("checkpoints/.tmp-step-0000004");
    fs::create_dir(&half).unwrap();

    let error = CheckpointStore::open(run.path(), 2).err().unwrap();
    assert!(matches!(&error, CheckpointError::InUse { path } if path == run.path()));
    assert!(half.exists());
    assert_eq!(saved_steps(run.path()).unwrap(), [3]);

    drop(store);
    assert!(CheckpointStore::open(run.path(), 2).is_ok());
    assert!(saved_steps(&run.path().join("none")).unwrap().is_empty());
}

#[test]
fn every_truncation_is_refused_and_the_previous_checkpoint_used() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 3).unwrap();
    save_step(&store, 10);
    let newest = save_step(&store, 20);

    for file in files(&newest) {
        let whole = fs::read(&file).unwrap();
        // The manifest ends with a newline, which JSON does not need.
        let shortest = whole.len() - 2;
        for length in [0, whole.len() / 2, shortest] {
            fs::write(&file, &whole[..length]).unwrap();
            let restored = store.latest_valid().unwrap().unwrap();
            assert_eq!(restored.checkpoint, checkpoint(10));
            assert_eq!(restored.rejected.len(), 1);
        }
        fs::write(&file, &whole).unwrap();
    }
    check_loaded(&store, 20);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 3).unwrap();
    let dir = save_step(&store, 20);

    for file in files(&dir) {
        let whole = fs::read(&file).unwrap();
        for position in 0..whole.len() {
            for bit in [0, 5] {
                let mut flipped = whole.clone();
                flipped[position] ^= 1 << bit;
                fs::write(&file, &flipped).unwrap();
                // A blank of the manifest may turn into another blank, which changes nothing.
                match store.load(20) {
                    Ok(loaded) => assert_eq!(loaded, checkpoint(20), "{}", file.display()),
                    Err(error) => assert!(error.to_string().contains(&*dir.to_string_lossy())),
                }
            }
        }
        fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn the_message_names_the_file_and_what_is_wrong() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 3).unwrap();
    let dir = save_step(&store, 20);
    let model = dir.join(MODEL);
    fs::write(&model, [0; 17]).unwrap();

    let message = store.load(20).unwrap_err().to_string();
    assert_eq!(
        message,
        format!("{} is damaged: 17 bytes instead of 300", model.display())
    );

    fs::write(&model, [0; 300]).unwrap();
    let message = store.load(20).unwrap_err().to_string();
    assert!(message.starts_with(&format!("{} is damaged: its SHA-256 is", model.display())));

    let error = store.latest_valid().unwrap_err();
    assert!(matches!(error, CheckpointError::NoneValid { count: 1, .. }));
}

#[test]
fn a_checkpoint_under_the_wrong_name_is_refused() {
    let run = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(run.path(), 3).unwrap();
    let dir = save_step(&store, 20);
    fs::rename(&dir, store.path(30)).unwrap();

    let error = store.load(30).unwrap_err();
    assert!(matches!(
        error,
        CheckpointError::Step {
            expected: 30,
            found: 20,
            ..
        }
    ));
}

/// A disk with room for so many more bytes, which then says what a full one says.
struct FullDisk(Arc<AtomicUsize>);

impl Storage for FullDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let (room, file) = (Arc::clone(&self.0), File::create(path)?);
        Ok(Box::new(FullFile { room, file }))
    }
}

struct FullFile {
    room: Arc<AtomicUsize>,
    file: File,
}

impl Write for FullFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.load(Ordering::Relaxed);
        let fits = bytes.len().min(room);
        self.room.store(room - fits, Ordering::Relaxed);
        match fits {
            // A real `ENOSPC`, from the operating system.
            0 if !bytes.is_empty() => File::create("/dev/full")?.write(b"x"),
            _ => self.file.write(&bytes[..fits]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewFile for FullFile {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing_that_was_written() {
    let run = tempfile::tempdir().unwrap();
    let mut store = CheckpointStore::open(run.path(), 1).unwrap();
    save_step(&store, 10);
    let room = Arc::new(AtomicUsize::new(0));
    store.storage = Box::new(FullDisk(Arc::clone(&room)));

    for bytes in [0, 150, 300, 450, 520, 600, 900] {
        room.store(bytes, Ordering::Relaxed);
        let error = save(&store, &checkpoint(20)).unwrap_err();
        let CheckpointError::Io { source, .. } = &error else {
            panic!("{error} is not about the disk");
        };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            store.latest_valid().unwrap().unwrap().checkpoint,
            checkpoint(10)
        );
        assert_eq!(
            files(&run.path().join("checkpoints")).len(),
            1,
            "the remains must be gone"
        );
    }

    // As soon as there is room again, saving works.
    room.store(usize::MAX, Ordering::Relaxed);
    save_step(&store, 20);
    assert_eq!(store.steps().unwrap(), [20]);
}
