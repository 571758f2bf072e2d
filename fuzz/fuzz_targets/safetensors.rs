//! Files of safetensors.
#![no_main]

use deberta_model::checkpoint::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::safetensors(bytes);
});
