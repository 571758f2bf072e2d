//! `deberta forward`: tensors in, tensors out.

mod heads;
mod inputs;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::{DType, Tensor, TensorData};
use clap::ValueEnum;
use deberta::backend::DefaultBackend;
use deberta::hub::Parts;
use deberta::model::checkpoint::Compatibility;
use deberta::model::{DebertaBackend, HfConfig};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use inputs::Inputs;

use crate::head::Head;
use crate::source;
use crate::stdout::stdout;

/// Run a checkpoint on tensors and write what comes out, to compare with any other program.
///
/// Reads `input_ids` (or `inputs_embeds`) and, as far as they are there, `attention_mask` (1 = keep;
/// `[batch, seq_len]`, or `[batch, seq_len, seq_len]` for packed and causal sequences),
/// `token_type_ids`, `position_ids`, and `labels` (question answering: `start_positions` and
/// `end_positions`). Writes `last_hidden_state`, or `logits` (`start_logits` and `end_logits`), and
/// `loss` if there are labels. Values at padding tokens are unspecified.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder of the checkpoint, or its name on the Hub
    #[arg(long, short)]
    model: String,
    /// Safetensors file to read
    #[arg(long, value_name = "FILE")]
    inputs: PathBuf,
    /// Safetensors file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to put on top of the encoder; by default what `architectures` in config.json names
    #[arg(long)]
    head: Option<Head>,
    /// Also write `hidden_states.0` (embeddings) to `hidden_states.N`
    #[arg(long)]
    hidden_states: bool,
    /// Also write `attentions.0` … `[batch, heads, seq_len, seq_len]`
    #[arg(long)]
    attentions: bool,
    /// Whom to follow where the two reference programs differ: beyond 512 tokens, and label 0 of a
    /// masked language model
    #[arg(long, default_value = "microsoft")]
    compatibility: Follow,
    /// Float type to compute in
    #[arg(long, default_value = "f32")]
    dtype: Float,
}

const EXAMPLES: &str = "\
Example, with the same batch in Python:
  save_file({\"input_ids\": ids, \"attention_mask\": mask}, \"in.safetensors\")
  deberta forward -m deberta-v3-base --head encoder --inputs in.safetensors --out out.safetensors
  load_file(\"out.safetensors\")[\"last_hidden_state\"]";

/// Whom to follow where the reference programs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Follow {
    /// microsoft/DeBERTa
    Microsoft,
    /// transformers
    Huggingface,
}

/// A float type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Float {
    F64,
    F32,
    F16,
    Bf16,
}

impl From<Float> for DType {
    fn from(float: Float) -> Self {
        match float {
            Float::F64 => Self::F64,
            Float::F32 => Self::F32,
            Float::F16 => Self::F16,
            Float::Bf16 => Self::BF16,
        }
    }
}

impl Args {
    fn compatibility(&self) -> Compatibility {
        match self.compatibility {
            Follow::Microsoft => Compatibility::Microsoft,
            Follow::Huggingface => Compatibility::HuggingFace,
        }
    }

    /// The head asked for, or the one that `config.json` names.
    fn head(&self, dir: &Path) -> Result<Head> {
        if let Some(head) = self.head {
            return Ok(head);
        }
        let config = HfConfig::of_folder(dir)?;
        Head::of_config(&config)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let inputs = Inputs::open(&args.inputs)?;
    let dir = source::path(&args.model, Parts::Network)?;
    let head = args.head(&dir)?;
    let device = Default::default();
    let outputs = heads::forward::<DefaultBackend>(args, &dir, head, &inputs, &device)?;
    outputs.write(args)
}

/// Tensors to write, each with its name and shape.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<usize>, TensorData)>);

impl Outputs {
    /// Half precision is written as f32.
    fn push<B: DebertaBackend, const D: usize>(&mut self, name: &str, tensor: Tensor<B, D>) {
        let data = tensor.into_data();
        let data = match data.dtype {
            DType::F64 => data,
            _ => data.convert_dtype(DType::F32),
        };
        let shape = data.shape.to_vec();
        self.0.push((name.to_owned(), shape, data));
    }

    /// A loss `[1]`, written as a number without axes.
    fn push_loss<B: DebertaBackend>(&mut self, loss: Tensor<B, 1>) {
        self.push("loss", loss);
        if let Some((_, shape, _)) = self.0.last_mut() {
            shape.clear();
        }
    }

    fn write(&self, args: &Args) -> Result<()> {
        let views = self.0.iter().map(|(name, shape, data)| {
            let dtype = match data.dtype {
                DType::F64 => Dtype::F64,
                _ => Dtype::F32,
            };
            let view = TensorView::new(dtype, shape.clone(), data.as_bytes())?;
            Ok((name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        safetensors::serialize_to_file(views, None, &args.out)
            .with_context(|| format!("cannot write {}", args.out.display()))?;
        for (name, shape, _) in &self.0 {
            writeln!(stdout(), "{name} {shape:?}")?;
        }
        Ok(())
    }
}
