//! What the commands for tasks have in common: the task and its columns.

use anyhow::{Result, ensure};
use deberta::finetune::TaskSettings;

use crate::names::name;

/// The task, and what its files call their columns.
#[derive(clap::Args, Clone, Default, PartialEq)]
pub(crate) struct TaskArgs {
    /// A published task such as sst-2, boolq, squad, wnut17, codah; for your own files classify,
    /// pair, regress, multi-label, choice, tokens or qa
    #[arg(long)]
    pub(crate) task: Option<String>,
    /// Column or field of the first text [default: text]
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    text_column: Option<String>,
    /// Column of the second text
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    pair_column: Option<String>,
    /// Column of the label, the labels or the number [default: label]
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    label_column: Option<String>,
    /// Column that identifies an example in files of predictions
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    id_column: Option<String>,
    /// Column of the context of choices and questions [default: context]
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    context_column: Option<String>,
    /// Column of the question
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    question_column: Option<String>,
    /// Column of the answers to a question, JSON as in SQuAD [default: answers]
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    answers_column: Option<String>,
    /// A column for each choice, or one with a JSON list [default: choices]
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = name,
        help_heading = "Your own files"
    )]
    choice_columns: Vec<String>,
    /// Column of the words, between white space or as a JSON list [default: tokens]
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    tokens_column: Option<String>,
    /// Column of their tags [default: tags]
    #[arg(long, value_name = "NAME", help_heading = "Your own files")]
    tags_column: Option<String>,
    /// Labels in the order of the outputs [default: those of the training files, or of the model]
    #[arg(long, value_delimiter = ',', value_parser = name, help_heading = "Your own files")]
    pub(crate) labels: Vec<String>,
    /// Character between columns [default: a comma in .csv, a tab elsewhere]
    #[arg(long, value_name = "CHAR", help_heading = "Your own files")]
    delimiter: Option<char>,
    /// Whether quotation marks enclose fields [default: in .csv only]
    #[arg(long, value_name = "BOOL", help_heading = "Your own files")]
    quoting: Option<bool>,
    /// Text between the labels of a multi-label row, if they are not a JSON list [default: |]
    #[arg(long, value_name = "TEXT", help_heading = "Your own files")]
    label_separator: Option<String>,
}

impl TaskArgs {
    /// The task that the flags describe, on top of `known` if they name none.
    pub(crate) fn settings(&self, known: Option<TaskSettings>) -> Result<Option<TaskSettings>> {
        let named = self.task.as_deref().map(TaskSettings::named);
        let Some(mut settings) = named.or(known) else {
            ensure!(
                !self.has_columns(),
                "name the task of these columns: --task"
            );
            return Ok(None);
        };
        if let TaskSettings::Own(spec) = &mut settings {
            let columns = &mut spec.columns;
            replace(&mut columns.text, &self.text_column);
            replace(&mut columns.label, &self.label_column);
            replace(&mut columns.context, &self.context_column);
            replace(&mut columns.answers, &self.answers_column);
            replace(&mut columns.tokens, &self.tokens_column);
            replace(&mut columns.tags, &self.tags_column);
            add(&mut columns.pair, &self.pair_column);
            add(&mut columns.id, &self.id_column);
            add(&mut columns.question, &self.question_column);
            if !self.choice_columns.is_empty() {
                columns.choices = self.choice_columns.clone();
            }
            if !self.labels.is_empty() {
                spec.labels = self.labels.clone();
            }
            add(&mut spec.delimiter, &self.delimiter);
            add(&mut spec.quoting, &self.quoting);
            replace(&mut spec.label_separator, &self.label_separator);
        } else {
            ensure!(
                !self.has_columns(),
                "a published task knows its columns; for your own files take classify, pair, \
                 regress, multi-label, choice, tokens or qa"
            );
        }
        Ok(Some(settings))
    }

    fn has_columns(&self) -> bool {
        let without_task = Self {
            task: None,
            ..self.clone()
        };
        without_task != Self::default()
    }
}

fn replace(setting: &mut String, given: &Option<String>) {
    if let Some(given) = given {
        setting.clone_from(given);
    }
}

fn add<T: Clone>(setting: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        setting.clone_from(given);
    }
}
