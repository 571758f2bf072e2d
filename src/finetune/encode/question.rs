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
