//! What is refused, and how.

use deberta::pipeline::{
    PipelineError, QuestionAnswerer, Reranker, TextClassifier, TokenClassifier, ZeroShotClassifier,
};

use super::{B, checkpoint, checkpoint_with};

#[test]
fn a_network_for_something_else_is_no_zero_shot_classifier() {
    let dir = checkpoint("classify_softmax");
    let error = ZeroShotClassifier::<B>::open(dir.path(), &Default::default()).unwrap_err();
    assert!(matches!(error, PipelineError::NoEntailment { .. }));
    let message = error.to_string();
    assert!(
        message.contains("no label is called entailment, found negative, neutral, positive"),
        "{message}"
    );
}

#[test]
fn templates_and_labels_are_checked() {
    let dir = checkpoint("zero_shot_three_labels");
    let open = || ZeroShotClassifier::<B>::open(dir.path(), &Default::default()).unwrap();
    let error = open().with_template("About sport.").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the template \"About sport.\" has no {} for the label"
    );
    let error = open().predict(&["x"], &[]).unwrap_err();
    assert!(matches!(error, PipelineError::NoLabels));
    // A label that leaves no room for the text.
    let label = "politics ".repeat(50);
    let error = open().predict(&["a", "b"], &[&label]).unwrap_err();
    assert!(
        matches!(error, PipelineError::Text { index: 0, .. }),
        "{error}"
    );
}

#[test]
fn a_label_that_the_checkpoint_does_not_have_cannot_be_looked_for() {
    let dir = checkpoint("classify_softmax");
    let classifier = TextClassifier::<B>::open(dir.path(), &Default::default()).unwrap();
    let error = classifier
        .with_labels(&["neutral", "Negative"])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no label is called \"Negative\", found negative, neutral, positive"
    );
}

#[test]
fn a_pair_whose_shorter_text_fills_every_window_is_an_error() {
    let dir = checkpoint("classify_softmax");
    let classifier = TextClassifier::<B>::open(dir.path(), &Default::default()).unwrap();
    let classifier = classifier.with_long_texts(deberta::pipeline::LongTexts::Max);
    let long = "the quick brown fox ".repeat(20);
    let longer = long.repeat(2);
    let error = classifier
        .predict(&[(long.as_str(), longer.as_str())])
        .unwrap_err();
    assert!(
        matches!(error, PipelineError::Text { index: 0, .. }),
        "{error}"
    );
}

#[test]
fn three_labels_do_not_rank() {
    let dir = checkpoint("classify_softmax");
    let error = Reranker::<B>::open(dir.path(), &Default::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("a reranker has one label or two, found 3: negative, neutral, positive"),
        "{error}"
    );
}

#[test]
fn another_head_is_refused() {
    let dir = checkpoint("embed");
    for error in [
        TextClassifier::<B>::open(dir.path(), &Default::default()).err(),
        TokenClassifier::<B>::open(dir.path(), &Default::default()).err(),
        QuestionAnswerer::<B>::open(dir.path(), &Default::default()).err(),
    ] {
        assert!(
            matches!(error, Some(PipelineError::Checkpoint(_))),
            "{error:?}"
        );
    }
}

#[test]
fn a_tokenizer_with_too_many_ids_is_refused() {
    let dir = checkpoint("classify_softmax");
    let path = dir.path().join("tokenizer.json");
    let json = std::fs::read_to_string(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut extra = json["added_tokens"][0].clone();
    extra["id"] = 4000.into();
    extra["content"] = "<extra>".into();
    json["added_tokens"].as_array_mut().unwrap().push(extra);
    std::fs::write(&path, json.to_string()).unwrap();
    let error = TextClassifier::<B>::open(dir.path(), &Default::default()).unwrap_err();
    let is_refused = matches!(
        error,
        PipelineError::VocabularyMismatch(_) | PipelineError::Tokenizer(_)
    );
    assert!(is_refused, "{error}");
}

#[test]
fn lengths_are_checked() {
    let dir = checkpoint("ner");
    let open = || TokenClassifier::<B>::open(dir.path(), &Default::default()).unwrap();
    assert_eq!(open().max_length(), 48);
    let error = open().with_max_length(3).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("sequences cannot be limited to 3 tokens")
    );
    assert!(open().with_max_length(1000).is_ok());
    let error = open().with_stride(46).unwrap_err();
    assert_eq!(
        error.to_string(),
        "windows cannot have 46 tokens in common, expected at most 45"
    );

    // A network that reads absolute positions has no more of them.
    let biased = "\"position_biased_input\": true";
    let dir = checkpoint_with("ner", "\"position_biased_input\": false", biased);
    let error = TokenClassifier::<B>::open(dir.path(), &Default::default()).unwrap_err();
    assert!(error.to_string().contains("position"), "{error}");
}

#[test]
fn a_question_that_leaves_no_room_is_an_error_with_its_number() {
    let dir = checkpoint("qa");
    let answerer = QuestionAnswerer::<B>::open(dir.path(), &Default::default()).unwrap();
    let long = "why ".repeat(60);
    let context = "the quick brown fox ".repeat(9);
    let questions = [("Who?", "x"), (long.as_str(), context.as_str())];
    let error = answerer.predict(&questions).unwrap_err();
    assert!(
        matches!(error, PipelineError::Text { index: 1, .. }),
        "{error}"
    );
    // An empty context has no answer, and that is no error.
    assert!(answerer.predict(&[("Who?", "")]).unwrap()[0].is_empty());
}
