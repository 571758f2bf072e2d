//! From start and end scores of tokens to the best spans.

use deberta_data::tokenizer::Sequence;

use super::text_classifier::sort_by_score;

/// Tokens `first..=last` of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) score: f64,
}

/// The `wanted` most probable spans of at most `max_tokens` tokens of the second text, and the
/// probability that there is no answer.
///
/// `logits` is `[seq_len, 2]`. The probability of a span is that of its start times that of its end,
/// each a softmax over the second text and the first marker, which stands for "no answer".
pub(super) fn best_spans(
    window: &Sequence,
    logits: &[f32],
    wanted: usize,
    max_tokens: usize,
) -> (Vec<Scored>, f64) {
    let is_candidate = |token: &usize| *token == 0 || window.texts[*token] == Some(1);
    let candidates: Vec<usize> = (0..window.len()).filter(is_candidate).collect();
    let probabilities = |column: usize| {
        let logits: Vec<f32> = candidates
            .iter()
            .map(|it| logits[2 * it + column])
            .collect();
        super::score::softmax(&logits)
    };
    let (start, end) = (probabilities(0), probabilities(1));
    let mut spans = Vec::new();
    for first in 1..candidates.len() {
        let reach = candidates.len().min(first.saturating_add(max_tokens));
        spans.extend((first..reach).map(|last| Scored {
            first: candidates[first],
            last: candidates[last],
            score: start[first] * end[last],
        }));
    }
    if wanted < spans.len() {
        spans.select_nth_unstable_by(wanted, |a, b| b.score.total_cmp(&a.score));
        spans.truncate(wanted);
    }
    spans.sort_by_key(|span| (span.first, span.last));
    sort_by_score(&mut spans, |it| it.score);
    (spans, start[0] * end[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[CLS] q [SEP] a b c [SEP]`
    fn window() -> Sequence {
        let texts = [None, Some(0), None, Some(1), Some(1), Some(1), None];
        Sequence {
            ids: vec![0; texts.len()],
            texts: texts.into(),
            ..Sequence::default()
        }
    }

    fn logits(start: [f32; 7], end: [f32; 7]) -> Vec<f32> {
        start.iter().zip(end).flat_map(|(&a, b)| [a, b]).collect()
    }

    #[test]
    fn spans_are_in_the_second_text_and_in_order() {
        // The question is likeliest, and the likeliest end comes before the likeliest start.
        let start = [0.0, 9.0, 9.0, 0.0, 0.0, 2.0, 9.0];
        let end = [0.0, 9.0, 9.0, 0.0, 3.0, 0.0, 9.0];
        let (spans, nothing) = best_spans(&window(), &logits(start, end), 2, 15);
        let places: Vec<_> = spans.iter().map(|it| (it.first, it.last)).collect();
        assert_eq!(places, [(3, 4), (4, 4)]);
        let start_sum = 3.0 + 2.0_f64.exp();
        let end_sum = 3.0 + 3.0_f64.exp();
        assert!((spans[0].score - 3.0_f64.exp() / start_sum / end_sum).abs() < 1e-7);
        assert!((nothing - 1.0 / start_sum / end_sum).abs() < 1e-7);
    }

    #[test]
    fn answers_are_not_longer_than_asked() {
        let start = [0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0];
        let end = [0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0];
        let longest = |tokens| {
            let (spans, _) = best_spans(&window(), &logits(start, end), 100, tokens);
            let lengths = spans.iter().map(|it| it.last - it.first + 1);
            (lengths.max(), spans.len())
        };
        assert_eq!(longest(3), (Some(3), 6));
        assert_eq!(longest(1), (Some(1), 3));
        assert_eq!(longest(usize::MAX), (Some(3), 6));
    }

    #[test]
    fn an_empty_context_has_no_spans() {
        let empty = Sequence {
            ids: vec![0; 4],
            texts: vec![None, Some(0), None, None],
            ..Sequence::default()
        };
        let (spans, nothing) = best_spans(&empty, &[0.0; 8], 5, 15);
        assert!(spans.is_empty());
        assert_eq!(nothing, 1.0);
    }
}
