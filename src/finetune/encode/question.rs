//! Questions before windows over the context in which the answer is looked for.

use deberta_data::decoding::{token_span, trimmed_offsets};
use deberta_data::task::QuestionExample;
use deberta_data::tokenizer::{Tokenize, TokenizerError, Truncation};

use super::{Alignment, EncodedExample, Encoder, Ids, Item, ItemTarget, shortened};

impl Encoder<'_> {
    /// Windows without the whole answer point to their first token, which says "no answer here", as
    /// in BERT's `run_squad`. The first answer is the one to learn.
    pub(super) fn question(
        &self,
        index: usize,
        example: &QuestionExample,
    ) -> Result<EncodedExample, TokenizerError> {
        let question = self.tokenizer.encode(&example.question)?;
        let is_cut = question.ids.len() > self.text.max_question_tokens;
        let question = shortened(question, self.text.max_question_tokens);
        let context = self.tokenizer.encode(&example.context)?;
        let offsets = trimmed_offsets(&example.context, &context.offsets);
        let answer = example.answers.first().and_then(|answer| {
            let length = answer.text.chars().count();
            token_span(&offsets, answer.start, answer.start + length)
        });
        let is_known = example.is_impossible || !example.answers.is_empty();
        let config = self.text.windows(Truncation::OnlySecond);
        let windows = config.assemble_windows(self.tokenizer, &question, Some(&context))?;
        let items = windows.iter().map(|window| {
            let kept = window.kept[1].clone();
            // The question stands between the first two markers.
            let first = question.ids.len() + 2;
            let place = |token: usize| (token - kept.start + first) as i32;
            let span = answer
                .filter(|(from, to)| *from >= kept.start && *to < kept.end)
                .map_or((0, 0), |(from, to)| (place(from), place(to)));
            Item {
                example: index,
                sequences: vec![Ids::new(window)],
                target: match is_known {
                    true => ItemTarget::Span(span.0, span.1),
                    false => ItemTarget::Unknown,
                },
                alignment: Alignment::Context {
                    first,
                    offsets: offsets[kept].to_vec(),
                },
            }
        });
        Ok((items.collect(), usize::from(is_cut)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::TextSettings;
    use deberta_data::decoding::char_slice;
    use deberta_data::task::{AnswerSpan, Task};
    use deberta_data::tokenizer::{Tokenizer, TokenizerKind, TrainTokenizerConfig};

    const WORDS: &str =
        "where does Anna live now she lives in Rome and reads one book a day since then";

    fn tokenizer() -> Tokenizer {
        let config = TrainTokenizerConfig {
            vocab_size: 120,
            kind: TokenizerKind::Unigram,
        };
        Tokenizer::train(&config, (0..30).map(|_| WORDS.to_owned())).unwrap()
    }

    fn example(context: &str, answer: &str, start: usize) -> QuestionExample {
        QuestionExample {
            id: "0".into(),
            question: "where does Anna live".into(),
            context: context.to_owned(),
            answers: vec![AnswerSpan {
                text: answer.to_owned(),
                start,
            }],
            is_impossible: false,
        }
    }

    /// Windows that share tokens, over a context of which the answer is in the second only, in the
    /// second and third, and in none whole.
    #[test]
    fn an_answer_is_found_in_each_window_that_holds_all_of_it() {
        let tokenizer = tokenizer();
        let text = TextSettings {
            max_length: 30,
            stride: Some(6),
            ..TextSettings::default()
        };
        let encoder = Encoder {
            task: &Task::named("squad").unwrap(),
            tokenizer: &tokenizer,
            text: &text,
            has_types: false,
        };
        let context = [WORDS; 4].join(" ");
        let words: Vec<(usize, usize)> = word_spans(&context);
        let mut windows_with_answer = Vec::new();
        // Two windows share six tokens: fewer than eight words have.
        let answers = [3, 8].into_iter().flat_map(|count| words.windows(count));
        for (first, last) in answers.map(|it| (it[0], it[it.len() - 1])) {
            let answer = char_slice(&context, first.0, last.1);
            let example = example(&context, answer, first.0);
            let (items, _) = encoder.question(0, &example).unwrap();
            assert!(items.len() >= 4, "{} windows", items.len());
            let mut holding = Vec::new();
            for (number, item) in items.iter().enumerate() {
                let (
                    ItemTarget::Span(from, to),
                    Alignment::Context {
                        first: start,
                        offsets,
                    },
                ) = (&item.target, &item.alignment)
                else {
                    panic!("{item:?}");
                };
                let ids = &item.sequences[0].ids;
                assert!(ids.len() <= 30);
                let whole = offsets[0].0 <= first.0 && offsets[offsets.len() - 1].1 >= last.1;
                assert_eq!(
                    (*from, *to) != (0, 0),
                    whole,
                    "window {number} of `{answer}`"
                );
                if whole {
                    let place = |token: i32| offsets[token as usize - start];
                    let said = char_slice(&context, place(*from).0, place(*to).1);
                    assert_eq!(said, answer, "window {number}");
                    let tokens = &ids[*from as usize..=*to as usize];
                    let tokens: Vec<u32> = tokens.iter().map(|it| *it as u32).collect();
                    assert_eq!(tokenizer.decode(&tokens).trim(), answer, "window {number}");
                    holding.push(number);
                }
            }
            windows_with_answer.push(holding);
        }
        assert!(windows_with_answer.contains(&vec![1]));
        assert!(windows_with_answer.contains(&vec![1, 2]));
        assert!(windows_with_answer.contains(&Vec::new()));
    }

    fn word_spans(text: &str) -> Vec<(usize, usize)> {
        let mut start = 0;
        let spans = text.split(' ').map(|word| {
            let span = (start, start + word.len());
            start = span.1 + 1;
            span
        });
        spans.collect()
    }
}
