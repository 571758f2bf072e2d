//! `vocab.json` and `merges.txt`, with a byte 0xff between them, which neither can hold.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut files = bytes.splitn(2, |byte| *byte == 0xff);
    let [vocab, merges] = [(); 2].map(|()| files.next().unwrap_or_default());
    deberta_data_fuzz::open_and_encode(&[("vocab.json", vocab), ("merges.txt", merges)]);
});
