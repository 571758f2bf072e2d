//! Words with tags, which their first tokens bear.

use deberta_data::decoding::{WordText, trimmed_offsets};
use deberta_data::task::TokensExample;
use deberta_data::tokenizer::{Tokenize, TokenizerError, Truncation};

use super::{Alignment, EncodedExample, Encoder, Ids, Item, ItemTarget, WordToken};

impl Encoder<'_> {
    /// Windows over a sentence. A word that two of them share is trained in both.
    pub(super) fn words(
        &self,
        index: usize,
        example: &TokensExample,
    ) -> Result<EncodedExample, TokenizerError> {
        let words = WordText::new(&example.words);
        let encoding = self.tokenizer.encode(words.text())?;
        let offsets = trimmed_offsets(words.text(), &encoding.offsets);
        let first_tokens = words.first_tokens(&offsets);
        let config = self.text.windows(Truncation::OnlyFirst);
        let windows = config.assemble_windows(self.tokenizer, &encoding, None)?;
        let items = windows.iter().map(|window| {
            let kept = window.kept[0].clone();
            let words: Vec<WordToken> = kept
                .clone()
                .filter_map(|token| {
                    Some(WordToken {
                        // The window begins with a marker.
                        token: token - kept.start + 1,
                        word: first_tokens[token]?,
                        context: (token - kept.start).min(kept.end - 1 - token),
                    })
                })
                .collect();
            let target = example.tags.as_ref().map(|tags| {
                let mut targets = vec![-1; window.len()];
                for word in &words {
                    targets[word.token] = tags[word.word] as i32;
                }
                ItemTarget::Tags(targets)
            });
            Item {
                example: index,
                sequences: vec![Ids::new(window)],
                target: target.unwrap_or(ItemTarget::Unknown),
                alignment: Alignment::Words(words),
            }
        });
        Ok((items.collect(), 0))
    }
}
