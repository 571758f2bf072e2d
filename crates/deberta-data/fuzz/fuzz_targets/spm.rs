//! `spm.model`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| deberta_data_fuzz::open_and_encode(&[("spm.model", bytes)]));
