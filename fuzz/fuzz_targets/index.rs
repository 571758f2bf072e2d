//! The list of the parts of a model.
#![no_main]

use deberta_model::checkpoint::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::index(bytes);
});
