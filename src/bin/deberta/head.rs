//! The heads that commands know.

use anyhow::{Result, bail};
use clap::ValueEnum;
use deberta::model::HfConfig;

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
