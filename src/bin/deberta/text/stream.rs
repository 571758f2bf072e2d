//! From input to output, chunk by chunk.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use deberta::pipeline::PipelineError;
use deberta::train::run::on_ctrl_c;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::input::{Input, InputArgs, Line, Record};
use super::output::{Output, OutputArgs, Shown};

/// Exit code if lines were left out.
const LEFT_OUT: u8 = 3;
/// Exit code after Ctrl-C: 128 and the number of the signal, as shells have it.
const INTERRUPTED: i32 = 130;

/// A command: what it reads and how it answers.
pub(super) trait Answer: Shown {
    /// Names of the columns to read.
    fn columns(&self) -> Vec<&'static str>;

    /// One answer per record.
    fn answer(&self, records: &[Record]) -> Result<Vec<Self::Answer>, PipelineError>;
}

/// Records with their answers, or why there is none.
type Answered<S> = Vec<(Record, Result<<S as Shown>::Answer, String>)>;

/// Answers everything there is to read.
pub(super) fn run<C: Answer>(
    command: &C,
    input: &InputArgs,
    output: &OutputArgs,
) -> Result<ExitCode> {
    let output = Arc::new(Mutex::new(Output::new(output, input.names_files())));
    stop_after_complete_lines(&output)?;
    let written = run_with(command, input, |answers| {
        lock(&output).write(command, answers)
    });
    let mut output = lock(&output);
    // What has been begun is ended, whatever has happened.
    let finished = match written.is_ok() || output.begun {
        true => output.finish(),
        false => Ok(()),
    };
    written.and_then(|code| finished.map(|()| code))
}

/// Answers everything there is to read and hands it to `sink` chunk by chunk.
pub(super) fn run_with<C: Answer>(
    command: &C,
    args: &InputArgs,
    mut sink: impl FnMut(&[(Record, Result<C::Answer, String>)]) -> Result<()>,
) -> Result<ExitCode> {
    let mut input = Input::open(args, &command.columns())?;
    let progress = Progress::new(&input);
    let (mut done, mut left_out) = (0, 0);
    loop {
        let (chunk, end) = read_chunk(&mut input);
        let names: Vec<String> = chunk.iter().map(|it| it.source.clone()).collect();
        let answers = answer_chunk(command, chunk);
        let bad = answers.iter().position(|(_, answer)| answer.is_err());
        if let (true, Some(at)) = (args.strict, bad)
            && let (record, Err(reason)) = &answers[at]
        {
            sink(&answers[..at])?;
            bail!("{}, line {}: {reason}", names[at], record.line);
        }
        for (name, (record, answer)) in names.iter().zip(&answers) {
            if let Err(reason) = answer {
                left_out += 1;
                progress.warn(&format!("warning: {name}, line {}: {reason}", record.line));
            }
        }
        done += answers.len();
        sink(&answers)?;
        progress.update(done, input.bytes.get());
        match end {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(Ok(())) => break,
            ControlFlow::Break(Err(error)) => return Err(error),
        }
    }
    progress.finish(done, left_out);
    Ok(match left_out {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(LEFT_OUT),
    })
}

/// Up to a chunk of records and bad lines, and whether these are the last ones.
fn read_chunk(input: &mut Input) -> (Vec<Line>, ControlFlow<Result<()>>) {
    let mut chunk = Vec::new();
    while chunk.len() < input.chunk {
        match input.next() {
            Ok(Some(line)) => chunk.push(line),
            Ok(None) => return (chunk, ControlFlow::Break(Ok(()))),
            Err(error) => return (chunk, ControlFlow::Break(Err(error))),
        }
    }
    (chunk, ControlFlow::Continue(()))
}

/// Answers what can be read; if a record makes all fail, each is tried on its own.
fn answer_chunk<C: Answer>(command: &C, chunk: Vec<Line>) -> Answered<C> {
    let good = chunk.iter().filter(|line| line.bad.is_none());
    let good: Vec<Record> = good.map(|line| line.record.clone()).collect();
    let mut answers: Vec<Result<C::Answer, String>> = match command.answer(&good) {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(_) => good.iter().map(|record| alone(command, record)).collect(),
    };
    let mut answers = answers.drain(..);
    let no_answer = || Err("no answer".to_owned());
    chunk
        .into_iter()
        .map(|line| {
            let answer = match line.bad {
                Some(reason) => Err(reason),
                None => answers.next().unwrap_or_else(no_answer),
            };
            (line.record, answer)
        })
        .collect()
}

fn alone<C: Answer>(command: &C, record: &Record) -> Result<C::Answer, String> {
    let answers = command.answer(std::slice::from_ref(record));
    let answers = answers.map_err(|error| match error {
        // "text 0" means nothing to whoever sees the number of the line.
        PipelineError::Text { source, .. } => source.to_string(),
        PipelineError::NoMask { mask, .. } => format!("there is no {mask} to fill"),
        PipelineError::TooLong { tokens, limit, .. } => {
            format!("{tokens} tokens with the markers, the network takes {limit}")
        }
        error => error.to_string(),
    })?;
    answers.into_iter().next().ok_or_else(|| "no answer".into())
}

/// Ctrl-C waits for the line that is being written, ends the output and the program.
fn stop_after_complete_lines(output: &Arc<Mutex<Output>>) -> Result<()> {
    let output = Arc::clone(output);
    on_ctrl_c(move || {
        // Held until the end, so that nothing comes after what ends the output.
        let mut output = lock(&output);
        // Whether the end could be written does not matter any more.
        let _ = output.finish();
        std::process::exit(INTERRUPTED);
    })?;
    Ok(())
}

fn lock(output: &Mutex<Output>) -> std::sync::MutexGuard<'_, Output> {
    output
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Lines, rate and time left on standard error, unless answers go to the same terminal.
struct Progress {
    bar: ProgressBar,
    start: Instant,
    is_shown: bool,
}

impl Progress {
    fn new(input: &Input) -> Self {
        let is_shown = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        let target = match is_shown {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let template = match input.total_bytes {
            Some(_) => "{msg} {wide_bar} {percent} % {eta}",
            None => "{spinner} {msg} {elapsed}",
        };
        let bar = ProgressBar::with_draw_target(input.total_bytes, target);
        let style = ProgressStyle::with_template(template);
        Self {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            start: Instant::now(),
            is_shown,
        }
    }

    fn rate(&self, lines: usize) -> f64 {
        let elapsed = self.start.elapsed().max(Duration::from_millis(1));
        lines as f64 / elapsed.as_secs_f64()
    }

    fn update(&self, lines: usize, bytes: u64) {
        self.bar.set_position(bytes);
        let rate = self.rate(lines);
        self.bar.set_message(format!("{lines} lines, {rate:.1}/s"));
    }

    fn warn(&self, message: &str) {
        self.bar.suspend(|| eprintln!("{message}"));
    }

    fn finish(&self, lines: usize, left_out: usize) {
        self.bar.finish_and_clear();
        if self.is_shown || left_out > 0 {
            let rate = self.rate(lines);
            let elapsed = self.start.elapsed().as_secs_f64();
            let note = match left_out {
                0 => String::new(),
                count => format!(", {count} left out"),
            };
            eprintln!("{lines} lines in {elapsed:.1} s ({rate:.1}/s){note}");
        }
    }
}
