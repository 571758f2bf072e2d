//! Memory that saving takes beside the network.
//!
//! A program of its own, so that nothing else asks for memory meanwhile.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test helpers")]

use burn::backend::Flex;
use deberta_model::checkpoint::{
    Compatibility, FloatType, SaveOptions, WeightsFormat, load_model, save_model,
};
use deberta_model::{DebertaConfig, DebertaModel};

/// Largest memory of the process so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim_end_matches("kB").trim();
    1024 * kilobytes.parse::<usize>().unwrap()
}

#[test]
fn saving_needs_no_second_copy_of_the_word_table() {
    let config = DebertaConfig::v3(80_000, 256, 1, 4);
    let model = config.init::<Flex>(0, &Default::default()).unwrap();
    // Parameters are drawn when they are asked for.
    let table = model.embeddings.word_embeddings.weight.val();
    let table_bytes = 4 * table.shape().num_elements();
    drop(table);
    let dir = tempfile::tempdir().unwrap();
    for format in [WeightsFormat::Safetensors, WeightsFormat::PyTorch] {
        for dtype in [FloatType::F32, FloatType::Bf16] {
            let options = SaveOptions::new().format(format).dtype(dtype);
            // Forgets the peak of what was before.
            std::fs::write("/proc/self/clear_refs", "5").unwrap();
            let before = peak();
            save_model(&model, &config, dir.path(), &options).unwrap();
            let taken = peak().saturating_sub(before);
            assert!(taken < table_bytes / 2, "{format:?} {dtype}: {taken} bytes");
            if dtype == FloatType::F32 {
                // Written in pieces and read at once.
                let device = Default::default();
                let (read, _) =
                    load_model::<Flex>(dir.path(), Compatibility::default(), &device).unwrap();
                let words = |model: &DebertaModel<Flex>| {
                    model.embeddings.word_embeddings.weight.val().into_data()
                };
                assert!(words(&read) == words(&model));
            }
        }
    }
}
