//! Tokenizer and shards, made once and found again.

use std::path::Path;

use deberta_data::corpus::{Corpus, CorpusOptions, HeldOut, OnBadRow, Part};
use deberta_data::packing::{BuildReason, PackError, PackMode, PackOptions, PackedCorpus};
use deberta_data::tokenizer::{Tokenize, Tokenizer, TrainTokenizerConfig};

use super::{PretrainError, PretrainJob, Progress, Stage, start};

/// Folder of a trained tokenizer inside a run folder.
const TOKENIZER_DIR: &str = "tokenizer";
/// Folder of the shards inside a run folder.
const SHARDS_DIR: &str = "shards";

/// Opens the tokenizer of the job or of the checkpoint that it starts from, or trains one on the
/// corpus unless the run already did.
pub(super) fn tokenizer(
    job: &PretrainJob,
    run_dir: &Path,
    resume: bool,
    progress: &mut dyn Progress,
) -> Result<Tokenizer, PretrainError> {
    let dir = run_dir.join(TOKENIZER_DIR);
    if let (Some(model), false) = (&job.init, resume && dir.is_dir()) {
        let tokenizer = Tokenizer::open(&start::folder(model, &mut ())?)?;
        // A resumed run needs no checkpoint but its own.
        tokenizer.save(&dir)?;
        return Ok(tokenizer);
    }
    if let Some(path) = &job.tokenizer.path {
        return Ok(Tokenizer::open(path)?);
    }
    if resume && dir.is_dir() {
        return Ok(Tokenizer::open(&dir)?);
    }
    progress.stage(Stage::TrainTokenizer);
    let [corpus, _] = corpora(job)?;
    let total = corpus.total_bytes();
    let mut documents = corpus.documents();
    let (mut failure, mut has_text) = (None, false);
    let lines = std::iter::from_fn(|| match documents.next()? {
        Ok(document) => {
            progress.bytes(documents.bytes_read(), total);
            has_text |= !document.text.trim().is_empty();
            Some(document.text)
        }
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    let config = TrainTokenizerConfig {
        vocab_size: job.tokenizer.vocab_size,
        kind: job.tokenizer.kind,
    };
    let trained = Tokenizer::train(&config, lines);
    if let Some(error) = failure {
        return Err(error.into());
    }
    if !has_text {
        return Err(too_little_text(job, "training"));
    }
    let trained = trained?;
    trained.save(&dir)?;
    Ok(trained)
}

fn too_little_text(job: &PretrainJob, part: &'static str) -> PretrainError {
    PretrainError::TooLittleText {
        part,
        seq_len: job.packing.seq_len,
        held_out_every: job.corpus.held_out_every,
    }
}

/// Opens the packed corpus, or packs it: text to train on, and held out.
pub(super) fn shards(
    job: &PretrainJob,
    run_dir: &Path,
    tokenizer: &Tokenizer,
    progress: &mut dyn Progress,
) -> Result<[PackedCorpus; 2], PretrainError> {
    let [train, held_out] = corpora(job)?;
    let dir = run_dir.join(SHARDS_DIR);
    let mut pack = |part: &'static str, name: &str, corpus: &Corpus, stage| {
        progress.stage(stage);
        match pack(job, &dir.join(name), corpus, tokenizer, progress) {
            Err(PretrainError::Packing(PackError::Empty { .. })) => Err(too_little_text(job, part)),
            Ok(packed) if packed.is_empty() => Err(too_little_text(job, part)),
            packed => packed,
        }
    };
    Ok([
        pack("training", "train", &train, Stage::PackTraining)?,
        pack("held-out", "held-out", &held_out, Stage::PackHeldOut)?,
    ])
}

fn pack(
    job: &PretrainJob,
    dir: &Path,
    corpus: &Corpus,
    tokenizer: &dyn Tokenize,
    progress: &mut dyn Progress,
) -> Result<PackedCorpus, PretrainError> {
    let options = PackOptions {
        mode: if job.packing.document_boundaries {
            PackMode::DocumentBoundaries
        } else {
            PackMode::Concatenate
        },
        ..PackOptions::new(job.packing.seq_len)
    };
    let packed = PackedCorpus::build_or_open(dir, corpus, tokenizer, &options, &mut |done| {
        progress.bytes(done.bytes_done, done.bytes_total);
    })?;
    match packed.built_because() {
        None | Some(BuildReason::Missing) => {}
        Some(reason) => progress.note(&format!("{}: packed anew, {reason}", dir.display())),
    }
    let skipped = packed.stats().skipped;
    if skipped.total() > 0 {
        progress.note(&skipped.to_string());
    }
    Ok(packed)
}

/// Text to train on, and held out.
fn corpora(job: &PretrainJob) -> Result<[Corpus; 2], PretrainError> {
    let settings = &job.corpus;
    if settings.paths.is_empty() {
        return Ok([
            Corpus::synthetic(settings.synthetic),
            Corpus::synthetic_held_out(settings.synthetic),
        ]);
    }
    let options = CorpusOptions {
        text_field: settings.text_field.clone(),
        on_bad_row: if settings.skip_bad_rows {
            OnBadRow::Skip
        } else {
            OnBadRow::Fail
        },
        ..CorpusOptions::default()
    };
    let train = Corpus::open(&settings.paths, options.clone())?;
    if !settings.held_out_paths.is_empty() {
        let held_out = Corpus::open(&settings.held_out_paths, options)?;
        return Ok([train, held_out]);
    }
    let split = HeldOut {
        every: settings.held_out_every,
        ..HeldOut::default()
    };
    let held_out = train.clone().with_part(Part::HeldOut(split));
    Ok([train.with_part(Part::Train(split)), held_out])
}
