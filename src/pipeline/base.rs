//! What every pipeline is made of: tokenizer, network and device, and the way texts take to numbers.

use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use deberta_data::batching::{BatchLimit, LengthBatches};
use deberta_data::tokenizer::{
    Encoding, Sequence, SequenceConfig, Tokenize, Tokenizer, TokenizerError, Truncation,
};
use deberta_model::attention::AttentionMask;
use deberta_model::config::AbsolutePositions;
use deberta_model::{DebertaBackend, DebertaConfig, DebertaInput};
use rayon::prelude::*;

use super::PipelineError;
use super::windows::Characters;
use crate::VocabularyMismatch;
use crate::sequence_length::usual_length;

/// What SentencePiece writes for a space.
const SPACE_MARK: &str = "\u{2581}";

/// Tokenizer, network and device.
#[derive(Debug)]
pub(super) struct Base<B: Backend, M> {
    pub(super) tokenizer: Tokenizer,
    pub(super) model: M,
    pub(super) config: DebertaConfig,
    pub(super) device: B::Device,
    /// Most tokens of a sequence, markers included.
    pub(super) max_length: usize,
    pub(super) limit: BatchLimit,
}

/// What the rows of a network's output belong to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows {
    /// `[batch, …]`
    OfSequences,
    /// `[batch, seq_len, …]`
    OfTokens,
}

impl<B: DebertaBackend, M> Base<B, M> {
    /// Puts together what was loaded from `dir`.
    pub(super) fn new(
        dir: &Path,
        (model, config): (M, DebertaConfig),
        device: &B::Device,
    ) -> Result<Self, PipelineError> {
        let tokenizer = open_tokenizer(dir, &config)?;
        Ok(Self {
            max_length: usual_length(&tokenizer, &config),
            tokenizer,
            model,
            config,
            device: device.clone(),
            limit: BatchLimit::default(),
        })
    }

    /// How sequences of at most `max_length` tokens are made.
    pub(super) fn sequences(&self, truncation: Truncation, stride: usize) -> SequenceConfig {
        SequenceConfig {
            max_length: Some(self.max_length),
            truncation,
            stride,
            ..SequenceConfig::default()
        }
    }

    /// Encodes texts on all cores, in the order given.
    pub(super) fn encode(&self, texts: &[&str]) -> Result<Vec<Encoding>, PipelineError> {
        let tokenizer = &self.tokenizer;
        in_parallel(texts, |_, text| tokenizer.encode(text))
    }

    /// Whether a token of a window is the first of a word for the tokenizer's model, which never looks
    /// across words: what stands between spaces for SentencePiece, runs of letters, digits or other
    /// characters for byte-level BPE.
    pub(super) fn begins_word(&self, text: &Characters, window: &Sequence, token: usize) -> bool {
        match self.tokenizer.id(SPACE_MARK) {
            Some(_) => window.tokens[token].starts_with(SPACE_MARK),
            None => text.changes_kind(window.offsets[token].0),
        }
    }

    /// The network's output for each sequence, its padding cut off, in the order of the sequences.
    ///
    /// `forward` gives `[batch, …]` or `[batch, seq_len, …]`, as `rows` says.
    pub(super) fn run<const D: usize>(
        &self,
        sequences: &[Sequence],
        rows: Rows,
        forward: impl Fn(&M, DebertaInput<B>) -> Tensor<B, D>,
    ) -> Vec<Vec<f32>> {
        self.run_with(sequences, rows, forward, <[f32]>::to_vec)
    }

    /// What `answer` makes of each text, its windows and the network's output for each window, in the
    /// order of the texts.
    pub(super) fn run_windows<T: Sync, const D: usize, R>(
        &self,
        texts: &[T],
        windows: impl Fn(&T) -> Result<Vec<Sequence>, TokenizerError> + Sync,
        rows: Rows,
        forward: impl Fn(&M, DebertaInput<B>) -> Tensor<B, D>,
        answer: impl Fn(&T, &[Sequence], &[Vec<f32>]) -> R,
    ) -> Result<Vec<R>, PipelineError> {
        let windows = in_parallel(texts, |_, text| windows(text))?;
        let counts: Vec<usize> = windows.iter().map(Vec::len).collect();
        let sequences: Vec<Sequence> = windows.into_iter().flatten().collect();
        let outputs = self.run(&sequences, rows, forward);
        let (mut sequences, mut outputs) = (&sequences[..], &outputs[..]);
        let answers = texts.iter().zip(counts).map(|(text, count)| {
            let (windows, of_windows);
            (windows, sequences) = sequences.split_at(count);
            (of_windows, outputs) = outputs.split_at(count);
            answer(text, windows, of_windows)
        });
        Ok(answers.collect())
    }

    /// As [`run`](Self::run), keeping only what `finish` makes of each output.
    pub(super) fn run_with<const D: usize, R>(
        &self,
        sequences: &[Sequence],
        rows: Rows,
        forward: impl Fn(&M, DebertaInput<B>) -> Tensor<B, D>,
        finish: impl Fn(&[f32]) -> R,
    ) -> Vec<R> {
        let lengths: Vec<usize> = sequences.iter().map(Sequence::len).collect();
        let batches = LengthBatches::new(&lengths, self.limit);
        let mut outputs = Vec::with_capacity(sequences.len());
        for batch in batches.iter() {
            // The longest comes first.
            let seq_len = batch.first().map_or(0, |&index| lengths[index]);
            let input = self.input(sequences, batch, seq_len);
            let output = forward(&self.model, input).into_data();
            let values: Vec<f32> = output.iter::<f32>().collect();
            let width = values.len() / batch.len();
            for (row, &index) in values.chunks(width.max(1)).zip(batch) {
                let kept = match rows {
                    Rows::OfSequences => row.len(),
                    Rows::OfTokens => row.len() / seq_len.max(1) * lengths[index],
                };
                outputs.push(finish(&row[..kept]));
            }
        }
        batches.restore(outputs)
    }

    /// The sequences of a batch, padded to `seq_len`.
    pub(super) fn input(
        &self,
        sequences: &[Sequence],
        batch: &[usize],
        seq_len: usize,
    ) -> DebertaInput<B> {
        let shape = [batch.len(), seq_len];
        let padded = |of: fn(&Sequence) -> &Vec<u32>, padding: u32| {
            let rows = batch.iter().flat_map(|&index| {
                let row = of(&sequences[index]).iter().map(|&it| it as i32);
                let missing = seq_len - sequences[index].len();
                row.chain(std::iter::repeat_n(padding as i32, missing))
            });
            let data = TensorData::new(rows.collect::<Vec<i32>>(), shape);
            Tensor::<B, 2, Int>::from_data(data, &self.device)
        };
        let lengths: Vec<usize> = batch.iter().map(|&it| sequences[it].len()).collect();
        let has_types = self.config.type_vocab_size > 0;
        DebertaInput {
            token_type_ids: has_types.then(|| padded(|it| &it.type_ids, 0)),
            mask: AttentionMask::from_lengths(&lengths, seq_len, &self.device),
            ..DebertaInput::new(padded(|it| &it.ids, self.config.pad_token_id))
        }
    }
}

/// Does something with each text on all cores; an error says which text it was.
pub(super) fn in_parallel<T: Sync, R: Send>(
    texts: &[T],
    work: impl Fn(usize, &T) -> Result<R, TokenizerError> + Sync,
) -> Result<Vec<R>, PipelineError> {
    let one = |(index, text): (usize, &T)| {
        work(index, text).map_err(|source| PipelineError::Text { index, source })
    };
    texts.par_iter().enumerate().map(one).collect()
}

/// Opens the tokenizer of a checkpoint, which must not have ids that the network does not know.
pub(super) fn open_tokenizer(
    dir: &Path,
    config: &DebertaConfig,
) -> Result<Tokenizer, PipelineError> {
    let tokenizer = Tokenizer::open(dir)?;
    VocabularyMismatch::check(dir, &tokenizer, config)?;
    Ok(tokenizer)
}

/// The methods that all pipelines have; the type has a field `base` and a function `open`.
macro_rules! common_methods {
    ($pipeline:ident) => {
        impl<B: deberta_model::DebertaBackend> $pipeline<B> {
            /// Opens a model by its name on the Hugging Face Hub (`owner/name` or
            /// `owner/name@revision`, downloaded unless the cache has it), or a checkpoint folder.
            ///
            /// # Errors
            ///
            /// If the model cannot be had, and as [`open`](Self::open).
            pub fn from_pretrained(
                model: &str,
                device: &B::Device,
            ) -> Result<Self, $crate::pipeline::PipelineError> {
                let options = $crate::hub::HubOptions::from_env();
                let dir = $crate::hub::resolve(model, &options, &mut ())?;
                Self::open(&dir, device)
            }

            /// Limits sequences to this many tokens, markers included.
            ///
            /// Default: `model_max_length` of `tokenizer_config.json`, or the positions in
            /// `config.json`. Networks with relative positions only, as most published ones are,
            /// take longer sequences than they were trained with, too.
            ///
            /// # Errors
            ///
            /// If it is less than 8, or more than a network with absolute positions takes.
            pub fn with_max_length(
                mut self,
                max_length: usize,
            ) -> Result<Self, $crate::pipeline::PipelineError> {
                $crate::pipeline::base::check_length(max_length, &self.base.config)?;
                self.base.max_length = max_length;
                Ok(self)
            }

            /// Limits the batches that go through the network.
            pub fn with_batches(mut self, limit: deberta_data::batching::BatchLimit) -> Self {
                self.base.limit = limit;
                self
            }

            /// The tokenizer of the checkpoint.
            pub fn tokenizer(&self) -> &deberta_data::tokenizer::Tokenizer {
                &self.base.tokenizer
            }

            /// Most tokens of a sequence, markers included.
            pub fn max_length(&self) -> usize {
                self.base.max_length
            }
        }
    };
}
pub(super) use common_methods;

/// Checks a length that the user asks for.
pub(super) fn check_length(length: usize, config: &DebertaConfig) -> Result<(), PipelineError> {
    let limit = match config.absolute_positions {
        AbsolutePositions::Input => config.max_position_embeddings,
        AbsolutePositions::None | AbsolutePositions::Decoder => usize::MAX,
    };
    match (8..=limit).contains(&length) {
        true => Ok(()),
        false => Err(PipelineError::MaxLength { length, limit }),
    }
}
