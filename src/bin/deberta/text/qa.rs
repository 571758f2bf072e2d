//! `deberta qa`: answers to questions, as parts of a context.

use std::process::ExitCode;

use anyhow::Result;
use deberta::backend::DefaultBackend;
use deberta::pipeline::{self, PipelineError, QuestionAnswerer};
use serde::Serialize;

use super::input::{InputArgs, Record};
use super::output::{self, OutputArgs, Paint, Row, Shown};
use super::stream::{self, Answer};
use super::{EXIT_CODES, ModelArgs};

/// Answer questions with a part of a context, with a checkpoint for question answering.
///
/// Reads the columns `question` and `context`, with a tab between them in plain lines; with --question
/// only `context`. Offsets count characters.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// The question for all contexts
    #[arg(long, short)]
    question: Option<String>,
    /// How many answers to show, the best first
    #[arg(long, default_value_t = 1, value_name = "ANSWERS")]
    top_k: usize,
    /// "No answer" is an answer, too: an empty one
    #[arg(long)]
    no_answer: bool,
    /// Most tokens of an answer
    #[arg(long, default_value_t = 15, value_name = "TOKENS")]
    max_answer_tokens: usize,
    /// Do not extend answers to whole words
    #[arg(long)]
    exact_tokens: bool,
}

const EXAMPLES: &str = "\
Examples:
  deberta qa -m deepset/deberta-v3-base-squad2 -q 'Who wrote it?' 'It was written by Ada Lovelace.'
  deberta qa -m my-qa/ --no-answer --file questions.jsonl > answers.jsonl";

struct Qa {
    answerer: QuestionAnswerer<DefaultBackend>,
    question: Option<String>,
}

#[derive(Serialize)]
struct Answers {
    answers: Vec<pipeline::Answer>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let answerer: QuestionAnswerer<DefaultBackend> = args.model.open()?;
    let command = Qa {
        answerer: answerer
            .with_top_k(args.top_k)
            .with_no_answer(args.no_answer)
            .with_max_answer_tokens(args.max_answer_tokens)
            .with_whole_words(!args.exact_tokens),
        question: args.question.clone(),
    };
    stream::run(&command, &args.input, &args.output)
}

impl Answer for Qa {
    fn columns(&self) -> Vec<&'static str> {
        match self.question {
            Some(_) => vec!["context"],
            None => vec!["question", "context"],
        }
    }

    fn answer(&self, records: &[Record]) -> Result<Vec<Answers>, PipelineError> {
        let pair = |record: &Record| (record.texts.first().cloned(), record.texts.last().cloned());
        let owned: Vec<_> = records.iter().map(pair).collect();
        let questions: Vec<(&str, &str)> = owned
            .iter()
            .map(|(first, last)| {
                let question = self.question.as_deref().or(first.as_deref());
                (question.unwrap_or(""), last.as_deref().unwrap_or(""))
            })
            .collect();
        let answers = self.answerer.predict(&questions)?;
        let named = |answers| Answers { answers };
        Ok(answers.into_iter().map(named).collect())
    }
}

impl Shown for Qa {
    type Answer = Answers;

    fn header(&self) -> Vec<String> {
        output::span_header()
    }

    fn rows(&self, answer: &Answers) -> Vec<Row> {
        let row = |it: &pipeline::Answer| output::span(&it.text, it.score, it.start, it.end);
        answer.answers.iter().map(row).collect()
    }

    fn pretty(&self, record: &Record, answer: &Answers, paint: Paint) -> String {
        let question = self.question.as_deref().unwrap_or(record.text());
        let mut shown = format!("{}\n", paint.faint(question));
        for it in &answer.answers {
            let text = match it.text.trim() {
                "" => paint.faint("no answer"),
                text => paint.strong(text),
            };
            shown.push_str(&format!("    {} {text}\n", paint.score(it.score)));
        }
        shown
    }
}
