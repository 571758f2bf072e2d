//! Pickles and storages, as they follow the header of PyTorch's older format.
#![no_main]

use deberta_model::checkpoint::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::pickle(bytes);
});
