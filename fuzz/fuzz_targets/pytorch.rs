//! Files of `torch.save` in either format.
#![no_main]

use deberta_model::checkpoint::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::pytorch(bytes);
});
