//! One forward pass with each head.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};
use deberta::model::checkpoint::{
    Compatibility, LoadOptions, load_masked_lm_with, load_model_with, load_task_model_with,
};
use deberta::model::encoder::{Observation, Observe};
use deberta::model::heads::classification::{
    DebertaForMultipleChoice, DebertaForSequenceClassification,
};
use deberta::model::heads::losses::{
    classification_loss, multi_label_loss, regression_loss, soft_label_loss,
};
use deberta::model::heads::masked_lm::{MaskedTokens, masked_lm_loss};
use deberta::model::heads::question_answering::DebertaForQuestionAnswering;
use deberta::model::heads::replaced_token::{
    DebertaForReplacedTokenDetection, replaced_token_loss,
};
use deberta::model::heads::token_classification::{
    DebertaForEntityRecognition, DebertaForTokenClassification,
};
use deberta::model::heads::{HeadConfig, ProblemType, TaskModel};
use deberta::model::{DebertaBackend, DebertaConfig, DebertaModel, MaskedLmInput};

use super::inputs::{Batch, Inputs};
use super::{Args, Outputs};
use crate::head::Head;

/// Label of a token that counts for nothing, as in PyTorch.
const IGNORED: i64 = -100;

/// Loads the checkpoint with its head and runs it.
pub(super) fn forward<B: DebertaBackend>(
    args: &Args,
    dir: &Path,
    head: Head,
    inputs: &Inputs,
    device: &B::Device,
) -> Result<Outputs> {
    let run = Run {
        args,
        dir,
        inputs,
        device,
        dtype: args.dtype.into(),
    };
    match head {
        Head::Encoder => run.encoder::<B>(),
        Head::MaskedLm => run.masked_lm::<B>(),
        Head::ReplacedToken => run.replaced_token::<B>(),
        Head::Sequence => run.sequence::<B>(),
        Head::Token => {
            let (model, batch, head) = run.load::<B, DebertaForTokenClassification<B>>()?;
            let (states, outputs) = run.states(&model.deberta, &batch, false);
            run.token_labels(model.classify(states), &head, outputs)
        }
        Head::Entity => {
            let (model, batch, head) = run.load::<B, DebertaForEntityRecognition<B>>()?;
            let (states, outputs) = run.states(&model.deberta, &batch, false);
            run.token_labels(model.classify(states), &head, outputs)
        }
        Head::QuestionAnswering => run.question_answering::<B>(),
        Head::MultipleChoice => run.multiple_choice::<B>(),
    }
}

/// What all heads need.
struct Run<'a, D> {
    args: &'a Args,
    dir: &'a Path,
    inputs: &'a Inputs,
    device: &'a D,
    dtype: DType,
}

impl<D> Run<'_, D> {
    /// f32 is what the backend takes by itself.
    fn options(&self) -> LoadOptions {
        let options = LoadOptions::new().compatibility(self.args.compatibility());
        match self.dtype {
            DType::F32 => options,
            dtype => options.dtype(dtype),
        }
    }

    fn load<B, M>(&self) -> Result<(M, Batch<B>, HeadConfig)>
    where
        B: DebertaBackend<Device = D>,
        M: TaskModel<B>,
    {
        let loaded = load_task_model_with::<B, M>(self.dir, &self.options(), self.device)?;
        let batch = self.batch(&loaded.config)?;
        let head = loaded.head.context("the checkpoint has no head")?;
        Ok((loaded.model, batch, head))
    }

    fn batch<B>(&self, config: &DebertaConfig) -> Result<Batch<B>>
    where
        B: DebertaBackend<Device = D>,
    {
        self.inputs.batch(config, self.dtype, self.device)
    }

    /// The last hidden state `[batch, seq_len, hidden]`, and the inner ones asked for.
    fn states<B: DebertaBackend>(
        &self,
        model: &DebertaModel<B>,
        batch: &Batch<B>,
        always: bool,
    ) -> (Tensor<B, 3>, Outputs) {
        let mut outputs = Outputs::default();
        let (mut states, mut attentions) = (0, 0);
        let observe = Observe {
            hidden_states: self.args.hidden_states,
            attentions: self.args.attentions,
            score_terms: false,
        };
        let last =
            model.forward_observed(
                batch.input.clone(),
                observe,
                |observation| match observation {
                    Observation::HiddenStates(it) => {
                        outputs.push(&format!("hidden_states.{states}"), it.clone());
                        states += 1;
                    }
                    Observation::Attention(it) => {
                        outputs.push(&format!("attentions.{attentions}"), it);
                        attentions += 1;
                    }
                    Observation::ScoreTerms(_) => {}
                },
            );
        if always || self.args.hidden_states {
            outputs.push("last_hidden_state", last.clone());
        }
        (last, outputs)
    }

    fn encoder<B: DebertaBackend<Device = D>>(&self) -> Result<Outputs> {
        let loaded = load_model_with::<B>(self.dir, &self.options(), self.device)?;
        let batch = self.batch(&loaded.config)?;
        Ok(self.states(&loaded.model, &batch, true).1)
    }

    /// Logits `[batch, seq_len, vocab]`, zero at padding; the loss at the tokens with a label.
    fn masked_lm<B: DebertaBackend<Device = D>>(&self) -> Result<Outputs> {
        let loaded = load_masked_lm_with::<B>(self.dir, &self.options(), self.device)?;
        let (model, config) = (loaded.model, loaded.config);
        let batch = self.batch(&config)?;
        let [rows, seq_len] = batch.input.dims();
        ensure!(batch.shape.len() == 2, "expected one text per row");
        let limit = config.max_position_embeddings;
        let enhanced = model.is_enhanced();
        ensure!(
            !enhanced || seq_len <= limit,
            "{seq_len} tokens, but the mask decoder has positions for {limit}"
        );

        let mut outputs = Outputs::default();
        if self.args.hidden_states || self.args.attentions {
            outputs = self.states(&model.deberta, &batch, false).1;
        }
        let real_tokens = |row: &[bool]| {
            let tokens = (0_u32..).zip(row).filter(|(_, real)| **real);
            tokens.map(|(position, _)| position).collect::<Vec<u32>>()
        };
        let positions: Vec<Vec<u32>> = batch.real.chunks(seq_len).map(real_tokens).collect();
        ensure!(
            positions.iter().any(|row| !row.is_empty()),
            "every token is padding"
        );
        let flat: Vec<i64> = (0..)
            .zip(&positions)
            .flat_map(|(row, tokens): (i64, _)| {
                let start = row * seq_len as i64;
                tokens.iter().map(move |&token| start + i64::from(token))
            })
            .collect();
        let flat = Tensor::<B, 1, Int>::from_data(flat.as_slice(), self.device);
        let logits = model.forward(MaskedLmInput {
            tokens: batch.input.clone(),
            masked: MaskedTokens::new(&positions, seq_len, self.device),
        });
        let options = (self.device, logits.dtype());
        let all = Tensor::<B, 2>::zeros([rows * seq_len, config.vocab_size], options);
        let all = all.select_assign(0, flat, logits, burn::tensor::IndexingUpdateOp::Add);
        let labels =
            self.inputs
                .ints_in("labels", &batch.shape, IGNORED..config.vocab_size as i64)?;
        if let Some(labels) = labels {
            let lowest = match self.args.compatibility() {
                // Microsoft marks tokens without a label by the padding id.
                Compatibility::AsConfigured | Compatibility::Microsoft => 1,
                Compatibility::HuggingFace => 0,
            };
            let (places, labels): (Vec<i64>, Vec<i64>) = (0_i64..)
                .zip(labels)
                .filter(|(_, label)| *label >= lowest)
                .unzip();
            ensure!(!labels.is_empty(), "no token has a label");
            let places = Tensor::<B, 1, Int>::from_data(places.as_slice(), self.device);
            let labels = Tensor::<B, 1, Int>::from_data(labels.as_slice(), self.device);
            outputs.push_loss(masked_lm_loss(all.clone().select(0, places), labels));
        }
        outputs.push("logits", all.reshape([rows, seq_len, config.vocab_size]));
        Ok(outputs)
    }

    fn replaced_token<B: DebertaBackend<Device = D>>(&self) -> Result<Outputs> {
        let (model, batch, _) = self.load::<B, DebertaForReplacedTokenDetection<B>>()?;
        let (states, mut outputs) = self.states(&model.deberta, &batch, false);
        let logits = model.detect(states);
        if let Some(labels) = self.inputs.ints_in("labels", &batch.shape, IGNORED..2)? {
            let shape = logits.dims();
            let bools =
                |values: Vec<bool>| Tensor::from_data(TensorData::new(values, shape), self.device);
            let replaced = bools(labels.iter().map(|label| *label == 1).collect());
            let left_out = labels.iter().zip(&batch.real);
            let left_out = bools(left_out.map(|(label, real)| *label < 0 || !real).collect());
            outputs.push_loss(replaced_token_loss(logits.clone(), replaced, left_out));
        }
        outputs.push("logits", logits);
        Ok(outputs)
    }

    fn sequence<B: DebertaBackend<Device = D>>(&self) -> Result<Outputs> {
        let (model, batch, head) = self.load::<B, DebertaForSequenceClassification<B>>()?;
        let (states, mut outputs) = self.states(&model.deberta, &batch, false);
        let logits = model.classify(states);
        if let Some(loss) = self.sequence_loss(logits.clone(), &head)? {
            outputs.push_loss(loss);
        }
        outputs.push("logits", logits);
        Ok(outputs)
    }

    /// The loss that fits the labels; without a `problem_type`, floats are independent labels.
    fn sequence_loss<B: DebertaBackend<Device = D>>(
        &self,
        logits: Tensor<B, 2>,
        head: &HeadConfig,
    ) -> Result<Option<Tensor<B, 1>>> {
        let [rows, labels] = logits.dims();
        if let Some(targets) = self.inputs.floats("labels", self.dtype)? {
            let shape = targets.shape.to_vec();
            ensure!(
                shape == [rows, labels] || (labels == 1 && shape == [rows]),
                "`labels` has shape {shape:?}, expected {:?}",
                [rows, labels]
            );
            let targets = Tensor::<B, 1>::from_data(
                TensorData::from_bytes_vec(
                    targets.into_bytes().to_vec(),
                    [rows * labels],
                    self.dtype,
                ),
                (self.device, self.dtype),
            );
            let targets = targets.reshape([rows, labels]);
            let loss = match head.problem_type {
                Some(ProblemType::SingleLabelClassification) => soft_label_loss,
                Some(ProblemType::Regression) => regression_loss,
                None if labels == 1 => regression_loss,
                Some(ProblemType::MultiLabelClassification) | None => multi_label_loss,
            };
            return Ok(Some(loss(logits, targets)));
        }
        let labels = self
            .inputs
            .ints_in("labels", &[rows], IGNORED..labels as i64)?;
        Ok(labels.map(|labels| classification_loss(logits, self.list(&labels))))
    }

    fn token_labels<B: DebertaBackend<Device = D>>(
        &self,
        logits: Tensor<B, 3>,
        head: &HeadConfig,
        mut outputs: Outputs,
    ) -> Result<Outputs> {
        let [rows, seq_len, width] = logits.dims();
        let range = IGNORED..head.labels.len() as i64;
        if let Some(labels) = self.inputs.ints_in("labels", &[rows, seq_len], range)? {
            let flat = logits.clone().reshape([rows * seq_len, width]);
            outputs.push_loss(classification_loss(flat, self.list(&labels)));
        }
        outputs.push("logits", logits);
        Ok(outputs)
    }

    fn question_answering<B: DebertaBackend<Device = D>>(&self) -> Result<Outputs> {
        let (model, batch, _) = self.load::<B, DebertaForQuestionAnswering<B>>()?;
        let [rows, _] = batch.input.dims();
        let (states, mut outputs) = self.states(&model.deberta, &batch, false);
        let spans = model.score(states);
        // Any position: one outside the sequence counts for nothing.
        let places = |name| self.inputs.ints_in(name, &[rows], i64::MIN..i64::MAX);
        match (places("start_positions")?, places("end_positions")?) {
            (Some(start), Some(end)) => {
                let loss = spans.loss(self.list(&start), self.list(&end));
                outputs.push_loss(loss);
            }
            (None, None) => {}
            _ => bail!("`start_positions` and `end_positions` belong together"),
        }
        outputs.push("start_logits", spans.start);
        outputs.push("end_logits", spans.end);
        Ok(outputs)
    }

    fn multiple_choice<B: DebertaBackend<Device = D>>(&self) -> Result<Outputs> {
        let (model, batch, _) = self.load::<B, DebertaForMultipleChoice<B>>()?;
        let [questions, choices, _] = batch.shape[..] else {
            bail!(
                "`input_ids` has shape {:?}, expected [questions, choices, seq_len]",
                batch.shape
            );
        };
        let (states, mut outputs) = self.states(&model.deberta, &batch, false);
        let logits = model.choose(states, choices);
        let range = IGNORED..choices as i64;
        if let Some(labels) = self.inputs.ints_in("labels", &[questions], range)? {
            outputs.push_loss(classification_loss(logits.clone(), self.list(&labels)));
        }
        outputs.push("logits", logits);
        Ok(outputs)
    }

    fn list<B: Backend<Device = D>>(&self, values: &[i64]) -> Tensor<B, 1, Int> {
        Tensor::from_data(values, self.device)
    }
}
