//! Tasks in files of one's own.

use deberta_data::task::{
    Columns, Example, ReadOptions, Split, Target, Task, TaskError, TaskKind, TaskSpec,
};

use crate::{Files, choice, question, sequence};

/// A task of one's own, read from one file.
fn own(spec: TaskSpec, file: &str, text: &str) -> Result<(Task, Vec<Example>), TaskError> {
    let files = Files::new(&[(file, text)]);
    let task = Task::custom(spec)?;
    let sets = task.files(files.0.path(), Split::Train)?;
    let task = task.with_labels_from(&sets[0].paths, &ReadOptions::default())?;
    let examples = files.read(&task, Split::Train)?;
    Ok((task, examples))
}

#[test]
fn own_files_are_read_by_the_names_of_their_columns() {
    let mut spec = TaskSpec::new("reviews", TaskKind::Classification);
    spec.columns.text = "review".into();
    spec.columns.label = "stars".into();
    let csv = "\u{feff}stars,review\r\n10,\"Good, \"\"really\"\"\nit is\"\r\n9,Fine\r\n";
    let (task, examples) = own(spec.clone(), "train.csv", csv).unwrap();
    assert_eq!(task.labels(), ["9", "10"]);
    assert_eq!(sequence(&examples[0]).text, "Good, \"really\"\nit is");
    assert_eq!(sequence(&examples[0]).target, Some(Target::Label(1)));
    let jsonl = "{\"review\": \"Good\", \"stars\": 5}\n{\"stars\": true, \"review\": \"Bad\"}\n";
    assert_eq!(
        own(spec.clone(), "train.jsonl", jsonl).unwrap().0.labels(),
        ["5", "true"]
    );
    let tsv = "review\tstars\nsay \"x\ty\n";
    assert_eq!(
        sequence(&own(spec.clone(), "train.tsv", tsv).unwrap().1[0]).text,
        "say \"x"
    );
    spec.quoting = Some(true);
    let tsv = "review\tstars\n\"say \"\"x\"\"\"\ty\n";
    assert_eq!(
        sequence(&own(spec.clone(), "train.tsv", tsv).unwrap().1[0]).text,
        "say \"x\""
    );
    let error = own(spec, "train.csv", "text,stars\na,1\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "found the columns `text`, `stars`, expected a header with the column `review`"
        )
    );
}

#[test]
fn own_tasks_have_all_kinds_of_targets() {
    let mut spec = TaskSpec::new("tags", TaskKind::MultiLabel);
    spec.columns.pair = Some("title".into());
    let csv = "text,title,label\na,t,x| y\nb,t,\n";
    let (task, examples) = own(spec.clone(), "train.csv", csv).unwrap();
    assert_eq!(task.labels(), ["x", "y"]);
    assert_eq!(
        sequence(&examples[0]).target,
        Some(Target::Labels(vec![0, 1]))
    );
    assert_eq!(sequence(&examples[1]).target, Some(Target::Labels(vec![])));
    let jsonl = "{\"text\": \"a\", \"title\": \"t\", \"label\": [\"y\", \"x\", \"y\"]}\n";
    let (_, examples) = own(spec, "train.jsonl", jsonl).unwrap();
    assert_eq!(
        sequence(&examples[0]).target,
        Some(Target::Labels(vec![0, 1]))
    );

    let spec = TaskSpec::new("price", TaskKind::Regression);
    let (_, examples) = own(
        spec.clone(),
        "train.jsonl",
        "{\"text\": \"a\", \"label\": -2.5e3}\n",
    )
    .unwrap();
    assert_eq!(sequence(&examples[0]).target, Some(Target::Score(-2500.0)));
    let error = own(spec, "train.csv", "text,label\na,NaN\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("train.csv:2: field `label`: found `NaN`, expected a number"),
        "{error}"
    );

    let mut spec = TaskSpec::new("quiz", TaskKind::MultipleChoice);
    spec.columns.question = Some("ask".into());
    let jsonl = "{\"context\": \"c\", \"ask\": \"q\", \"choices\": [\"x\", \"y\", \"z\"], \"label\": \"C\"}\n";
    let (_, examples) = own(spec.clone(), "train.jsonl", jsonl).unwrap();
    assert_eq!(
        (
            choice(&examples[0]).choices[2].as_str(),
            choice(&examples[0]).label
        ),
        ("q z", Some(2))
    );
    spec.columns.choices = vec!["a".into(), "b".into()];
    let (_, examples) = own(spec, "train.csv", "context,ask,a,b,label\nc,q,x,y,1\n").unwrap();
    assert_eq!(choice(&examples[0]).choices, ["q x", "q y"]);

    let spec = TaskSpec::new("words", TaskKind::TokenClassification);
    let jsonl = "{\"tokens\": [\"New York\", \"is\"], \"tags\": [\"B-LOC\", \"O\"]}\n";
    let (task, _) = own(spec.clone(), "train.jsonl", jsonl).unwrap();
    assert_eq!(task.labels(), ["O", "B-LOC"]);
    let error = own(spec, "train.csv", "tokens,tags\na b,O\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("field `tags`: found 1 tags, expected 2, one for each word"),
        "{error}"
    );

    let spec = TaskSpec::new("ask", TaskKind::QuestionAnswering);
    let jsonl = "{\"question\": \"q\", \"context\": \"a b\", \"answers\": {\"text\": [\"b\"], \"answer_start\": [2]}}\n";
    let (_, examples) = own(spec, "train.jsonl", jsonl).unwrap();
    assert_eq!(question(&examples[0]).answers[0].text, "b");
}

#[test]
fn descriptions_of_tasks_are_json_and_are_checked() {
    let json = "{\"name\": \"x\", \"kind\": \"multi-label\", \"columns\": {\"text\": \"body\"}, \
                \"labels\": [\"a\", \"b\"], \"files\": {\"train\": [\"one.csv\", \"two.csv\"]}}";
    let spec: TaskSpec = serde_json::from_str(json).unwrap();
    assert_eq!(
        spec.columns,
        Columns {
            text: "body".into(),
            ..Columns::default()
        }
    );
    let back: TaskSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(back, spec);
    assert!(
        serde_json::from_str::<TaskSpec>(&json.replace("body\"}", "body\", \"txt\": \"x\"}"))
            .is_err()
    );
    let mut twice = spec;
    twice.labels.push("a".into());
    assert_eq!(
        Task::custom(twice).unwrap_err().to_string(),
        "task `x`: `labels` is a list with repetitions, expected each label once"
    );
}

#[test]
fn empty_lines_of_a_table_are_no_rows() {
    let spec = TaskSpec::new("reviews", TaskKind::Classification);
    let text = "text\tlabel\n\na\tx\n\nb\ty\n\n\n";
    let (_, examples) = own(spec.clone(), "train.tsv", text).unwrap();
    assert_eq!(examples.len(), 2);
    let error = own(spec, "train.tsv", "text\tlabel\n\na\tx\n\nb\n").unwrap_err();
    assert!(
        error.to_string().contains("train.tsv:5: found 1 columns"),
        "{error}"
    );
    // With one column, an empty line is an empty text.
    let files = Files::new(&[("test.tsv", "text\na\n\n")]);
    let task = Task::custom(TaskSpec::new("texts", TaskKind::Regression)).unwrap();
    let error = files.read(&task, Split::Test).unwrap_err().to_string();
    assert!(
        error.contains("test.tsv:3: field `text`: found nothing"),
        "{error}"
    );
}

#[test]
fn an_unclosed_quotation_mark_does_not_fill_the_memory() {
    let files = Files::new(&[]);
    let text = format!("text,label\n\"open,{}\n", "x,1\n".repeat(100_000));
    let path = files.write("train.csv", text.as_bytes());
    let task = Task::named("classify")
        .unwrap()
        .with_labels(vec!["1".into()]);
    let options = ReadOptions {
        max_line_bytes: 10_000,
        ..ReadOptions::default()
    };
    let mut examples = task.examples(&[path], Split::Train, &options);
    let error = examples.next().unwrap().unwrap_err().to_string();
    assert!(
        error.contains("perhaps a quotation mark that is not closed"),
        "{error}"
    );
    assert!(examples.next().is_none());
}

#[test]
fn a_cell_of_a_table_may_hold_a_list() {
    let tokens = TaskSpec::new("tokens", TaskKind::TokenClassification);
    let csv = "tokens,tags\n\"[\"\"New York\"\", \"\"is\"\"]\",\"[\"\"B-LOC\"\", \"\"O\"\"]\"\n";
    let (task, examples) = own(tokens.clone(), "train.csv", csv).unwrap();
    assert_eq!(task.labels(), ["O", "B-LOC"]);
    let Example::Tokens(sentence) = &examples[0] else {
        panic!("{examples:?}");
    };
    assert_eq!(sentence.words, ["New York", "is"]);
    assert_eq!(sentence.tags, Some(vec![1, 0]));
    // Words that only look like the beginning of a list.
    let csv = "tokens,tags\n[ sic ],O O O\n";
    let (_, examples) = own(tokens.clone(), "train.csv", csv).unwrap();
    assert!(matches!(&examples[0], Example::Tokens(it) if it.words == ["[", "sic", "]"]));
    let csv = "tokens,tags\n\"['New York', 'is']\",O O O\n";
    let error = own(tokens, "train.csv", csv).unwrap_err().to_string();
    let expected = "train.csv:2: field `tokens`: found `['New York', 'is']`, expected JSON, with \
                    double quotation marks";
    assert!(error.ends_with(expected), "{error}");

    let sets = TaskSpec::new("sets", TaskKind::MultiLabel);
    let tsv = "text\tlabel\na\t[\"x\", \"y|z\"]\nb\t[]\nc\tx\n";
    let (task, examples) = own(sets.clone(), "train.tsv", tsv).unwrap();
    assert_eq!(task.labels(), ["x", "y|z"]);
    assert_eq!(
        sequence(&examples[0]).target,
        Some(Target::Labels(vec![0, 1]))
    );
    assert_eq!(sequence(&examples[1]).target, Some(Target::Labels(vec![])));
    let error = own(sets, "train.tsv", "text\tlabel\na\t['x', 'y']\n").unwrap_err();
    assert!(error.to_string().contains("expected JSON"), "{error}");

    let choices = TaskSpec::new("choices", TaskKind::MultipleChoice);
    let tsv = "context\tchoices\tlabel\nc\t[\"x\", \"y\"]\t1\n";
    let (_, examples) = own(choices, "train.tsv", tsv).unwrap();
    assert_eq!(choice(&examples[0]).choices, ["x", "y"]);
}

#[test]
fn questions_may_stand_in_tables() {
    let spec = TaskSpec::new("questions", TaskKind::QuestionAnswering);
    let csv = "question,context,answers,is_impossible\n\
               q,a b,\"{\"\"text\"\": [\"\"b\"\"], \"\"answer_start\"\": [2]}\",False\n\
               q,a b,\"[{\"\"text\"\": \"\"a\"\", \"\"answer_start\"\": 0}]\",false\n\
               q,a b,,True\n";
    let (_, examples) = own(spec.clone(), "train.csv", csv).unwrap();
    let answers = |at: usize| question(&examples[at]).answers.clone();
    assert_eq!((answers(0)[0].start, &*answers(0)[0].text), (2, "b"));
    assert_eq!((answers(1)[0].start, &*answers(1)[0].text), (0, "a"));
    assert!(answers(2).is_empty() && question(&examples[2]).is_impossible);
    let csv = "question,context,answers\nq,a b,b\n";
    let error = own(spec, "train.csv", csv).unwrap_err().to_string();
    assert!(error.ends_with("found `b`, expected a list"), "{error}");
}

#[test]
fn a_json_file_may_be_lines_a_list_or_a_document() {
    let spec = TaskSpec::new("reviews", TaskKind::Classification);
    let rows = [
        "{\"text\": \"Good\", \"label\": 1}",
        "{\"text\": \"Bad\", \"label\": 0}",
    ];
    let expected = own(spec.clone(), "train.jsonl", &rows.join("\n"))
        .unwrap()
        .1;
    assert_eq!(expected.len(), 2);
    let lines = rows.join("\n") + "\n";
    let list = format!("\u{feff}\n[{}\n,\n  {}\n]\n", rows[0], rows[1]);
    for text in [&lines, &list] {
        assert_eq!(own(spec.clone(), "train.json", text).unwrap().1, expected);
    }
    let fails = |text: &str| {
        own(spec.clone(), "train.json", text)
            .unwrap_err()
            .to_string()
    };
    let good = rows[0];
    for (text, expected) in [
        (
            format!("[\n{good},\n{{\"text\": \"\", \"label\": 1}}]"),
            "json:3: field `text`: found nothing, expected a text",
        ),
        (
            format!("[\n{good}\n{good}]"),
            "json:3: found `{`, expected `,` or `]`",
        ),
        (
            format!("[\n{good}"),
            "json:2: found the end of the file, expected `,` or `]`",
        ),
        (format!("[\n{good},"), "json:2: the list has no end"),
        ("[]".to_owned(), "train.json"),
    ] {
        let error = fails(&text);
        assert!(error.ends_with(expected), "{error}");
    }
    let error = fails("{\n\"text\": \"Good\"}");
    assert!(
        error.contains("json:1:") && error.ends_with("expected a JSON object"),
        "{error}"
    );

    let spec = TaskSpec::new("questions", TaskKind::QuestionAnswering);
    let asked = "{\"question\": \"q\", \"context\": \"a b\", \"id\": \"1\", \"answers\": \
                 [{\"text\": \"b\", \"answer_start\": 2}]}";
    let (_, expected) = own(spec.clone(), "train.jsonl", asked).unwrap();
    let document = format!(
        "{{\"data\": [{{\"paragraphs\": [{{\"context\": \"a b\", \"qas\": [{asked}]}}]}}]}}"
    );
    let indented: serde_json::Value = serde_json::from_str(&document).unwrap();
    let indented = serde_json::to_string_pretty(&indented).unwrap();
    for text in [asked, &format!("[{asked}]"), &document, &indented] {
        assert_eq!(own(spec.clone(), "train.json", text).unwrap().1, expected);
    }
}
