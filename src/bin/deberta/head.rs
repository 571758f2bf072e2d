//! The heads that commands know.

use anyhow::{Result, bail};
use clap::ValueEnum;
use deberta::model::HfConfig;

/// What stands on top of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Head {
    /// Nothing: hidden states
    Encoder,
    /// Vocabulary logits, by the enhanced mask decoder where the checkpoint has its positions
    MaskedLm,
    /// Whether each token was replaced
    ReplacedToken,
    /// Labels or values of a text
    Sequence,
    /// Labels of tokens, as in transformers
    Token,
    /// Labels of tokens, Microsoft's two-layer head
    Entity,
    /// Start and end of an answer
    QuestionAnswering,
    /// The best of several texts; `input_ids` is `[questions, choices, seq_len]`
    MultipleChoice,
}

impl Head {
    /// The head that `architectures` in `config.json` names; the bare encoder if it names none.
    pub(crate) fn of_config(config: &HfConfig) -> Result<Self> {
        let class = config
            .other
            .get("architectures")
            .and_then(|it| it[0].as_str());
        let Some(class) = class else {
            return Ok(Self::Encoder);
        };
        let heads = [
            ("Model", Self::Encoder),
            ("ForMaskedLM", Self::MaskedLm),
            ("ForSequenceClassification", Self::Sequence),
            ("ForTokenClassification", Self::Token),
            ("ForQuestionAnswering", Self::QuestionAnswering),
            ("ForMultipleChoice", Self::MultipleChoice),
        ];
        match heads.iter().find(|(ending, _)| class.ends_with(ending)) {
            Some((_, head)) => Ok(*head),
            None => bail!("config.json names the unknown class `{class}`, choose with --head"),
        }
    }
}
