//! Files that once broke a loader, or would: each must be refused by name, or work.

use super::*;

/// What a bad file is called in its folder: `NAME` of `bad/NAME/…`.
const KINDS: [&str; 4] = ["spm.model", "vocab.json", "merges.txt", "tokenizer.json"];

#[test]
fn bad_files_are_refused_or_work() {
    let mut count = 0;
    for kind in KINDS {
        for entry in fs::read_dir(fixture("bad").join(kind)).unwrap() {
            let bad = entry.unwrap().path();
            let dir = TempDir::new().unwrap();
            for name in ["vocab.json", "merges.txt"] {
                if kind == "vocab.json" || kind == "merges.txt" {
                    fs::copy(fixture("bpe").join(name), dir.path().join(name)).unwrap();
                }
            }
            fs::copy(&bad, dir.path().join(kind)).unwrap();
            if let Err(error) = Tokenizer::open(dir.path()) {
                let place = dir.path().display().to_string();
                assert!(
                    error.to_string().contains(&place),
                    "{}: {error}",
                    bad.display()
                );
            }
            exercise(&dir.path().join(kind));
            count += 1;
        }
    }
    assert!(count >= 30, "only {count} bad files");
}
