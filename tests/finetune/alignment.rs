//! Words and answers are where tokens say they are.

use std::path::PathBuf;

use deberta::data::decoding::{WordText, char_slice, token_span, trimmed_offsets};
use deberta::data::task::{Example, Split, Task};
use deberta::data::tokenizer::{Tokenize, Tokenizer};

use crate::Lab;

/// Checks that the tokens of each answer are the fewest that hold it; returns how many answers there
/// are, and how many of them begin and end where tokens do.
fn check_answers(tokenizer: &Tokenizer, examples: &[Example]) -> [usize; 2] {
    let mut counts = [0, 0];
    for example in examples {
        let Example::Question(example) = example else {
            panic!("not a question");
        };
        let encoding = tokenizer.encode(&example.context).unwrap();
        let offsets = trimmed_offsets(&example.context, &encoding.offsets);
        for answer in &example.answers {
            let (start, end) = (answer.start, answer.start + answer.text.chars().count());
            assert_eq!(char_slice(&example.context, start, end), answer.text);
            let (first, last) = token_span(&offsets, start, end).unwrap_or_else(|| {
                panic!("{}: `{}` has no tokens", example.id, answer.text);
            });
            let held = char_slice(&example.context, offsets[first].0, offsets[last].1);
            assert!(
                held.contains(&answer.text),
                "`{held}` for `{}`",
                answer.text
            );
            assert!(
                offsets[first].1 > start && offsets[last].0 < end,
                "`{held}` is too long"
            );
            counts[0] += 1;
            counts[1] += usize::from(held == answer.text);
        }
    }
    counts
}

#[test]
fn answers_stand_where_their_tokens_do() {
    let lab = Lab::new();
    let tokenizer = Tokenizer::open(&lab.path("model")).unwrap();
    let context = "Anna lives in Rome . Ben (1990) reads “one” book .";
    let answers = ["Anna", "Rome", "1990", "“one” book", "lives in", "."].map(|text| {
        let start = context.find(text).unwrap();
        let start = context[..start].chars().count();
        serde_json::json!({"id": text, "question": "where ?", "answers": [
            {"text": text, "answer_start": start}
        ]})
    });
    let data =
        serde_json::json!({"data": [{"paragraphs": [{"context": context, "qas": answers}]}]});
    let file = lab.write("dev.json", &data.to_string());
    let task = Task::named("squad").unwrap();
    let examples = task.examples(&[file], Split::Dev, &Default::default());
    let examples: Vec<Example> = examples.collect::<Result<_, _>>().unwrap();
    assert_eq!(check_answers(&tokenizer, &examples)[0], 6);
}

#[test]
fn every_answer_of_squad_stands_where_its_tokens_do() {
    let Some(data) = std::env::var_os("DEBERTA_DATA").map(PathBuf::from) else {
        println!("skipped: DEBERTA_DATA is not set");
        return;
    };
    let tokenizer = Tokenizer::open(&data.join("tokenizers/deberta-v3/spm.model")).unwrap();
    let task = Task::named("squad").unwrap();
    let file = data.join("squad/v1.1-subset/dev_orig.json");
    let examples = task.examples(&[file], Split::Dev, &Default::default());
    let examples: Vec<Example> = examples.collect::<Result<_, _>>().unwrap();
    let [all, exact] = check_answers(&tokenizer, &examples);
    println!("{exact} of {all} answers begin and end with tokens");
    assert!(all > 3000 && exact * 100 > all * 97, "{exact} of {all}");
}

#[test]
fn every_word_has_one_token_that_speaks_for_it() {
    let lab = Lab::new();
    let tokenizer = Tokenizer::open(&lab.path("model")).unwrap();
    let words = [
        "Anna",
        "'s",
        "book",
        ":",
        "1990-1993",
        "Zoë",
        "likes",
        "Rome",
        ".",
    ];
    let text = WordText::new(&words);
    let encoding = tokenizer.encode(text.text()).unwrap();
    let offsets = trimmed_offsets(text.text(), &encoding.offsets);
    let first_tokens = text.first_tokens(&offsets);
    let spoken: Vec<usize> = first_tokens.iter().flatten().copied().collect();
    assert_eq!(spoken, (0..words.len()).collect::<Vec<_>>());
    for (token, word) in first_tokens.iter().enumerate() {
        if let Some(word) = word {
            assert_eq!(offsets[token].0, text.spans()[*word].0, "{}", words[*word]);
        }
    }
}
