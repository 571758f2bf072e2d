//! What the fuzz targets have in common: a folder of files, opened and used.

use std::fs;
use std::path::PathBuf;

use deberta_data::tokenizer::{SequenceConfig, Tokenize, Tokenizer};

const TEXTS: [&str; 3] = [
    "",
    " kano  mito\t[MASK] tora",
    "e\u{301}ﬁ①語👍🏽\0\u{10ffff} aab abab [CLS]<<ENT>>",
];

/// Opens a folder with these files; if it opens, it must encode.
pub fn open_and_encode(files: &[(&str, &[u8])]) {
    let dir = folder();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).expect("the folder can be written");
    }
    let tokenizer = match Tokenizer::open(&dir) {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            let (error, dir) = (error.to_string(), dir.display().to_string());
            assert!(error.contains(&dir), "the file is not named: {error}");
            return;
        }
    };
    for text in TEXTS {
        let Ok(encoding) = tokenizer.encode(text) else {
            continue;
        };
        let chars = text.chars().count();
        assert_eq!(
            encoding.ids,
            tokenizer.encode_ids(text).expect("it was encoded")
        );
        let inside = |(from, to): &(usize, usize)| from <= to && *to <= chars;
        assert!(
            encoding.offsets.iter().all(inside),
            "{:?}",
            encoding.offsets
        );
        tokenizer.decode(&encoding.ids);
        let sequence = SequenceConfig::default().assemble(&tokenizer, &encoding, Some(&encoding));
        assert_eq!(
            sequence.expect("nothing is cut").len(),
            2 * encoding.ids.len() + 3
        );
    }
}

/// A folder for this process; memory if the system has some to spare.
fn folder() -> PathBuf {
    let root = Some(PathBuf::from("/dev/shm")).filter(|root| root.is_dir());
    let root = root.unwrap_or_else(std::env::temp_dir);
    let dir = root.join(format!("deberta-fuzz-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("the folder can be made");
    dir
}
