//! `config.json`, up to the configurations of a network and of a head.
#![no_main]

use deberta_model::checkpoint::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::config(bytes);
});
