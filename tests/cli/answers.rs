//! The commands that take texts: where these come from, how answers are written.

use std::path::Path;

use serde_json::{Value, json};

use crate::{run, succeed, text};

/// A checkpoint of `tests/fixtures/pipelines` with its tokenizer.
pub(crate) fn checkpoint(name: &str) -> tempfile::TempDir {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines");
    let dir = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixtures.join(file), dir.path().join(file)).unwrap();
    }
    // Two kinds that transformers has no pipeline for, so there is no fixture.
    let head = match name {
        "masked" => "masked-lm",
        "discriminator" => "replaced-token",
        _ => "",
    };
    if !head.is_empty() {
        let size = ["--size", "deberta-v3-xsmall", "--layers", "1"];
        let tokenizer = fixtures.join("tokenizer.json");
        let tokenizer = ["--tokenizer", text(&tokenizer), "--head", head];
        let start = ["init", text(dir.path())];
        succeed(&[&start[..], &size, &tokenizer].concat());
        return dir;
    }
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixtures.join(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

/// The answers in JSON Lines.
pub(crate) fn lines(output: &str) -> Vec<Value> {
    let lines = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// Each command with its checkpoint, what it needs besides a text, and the key of its answer.
const COMMANDS: [(&str, &str, &[&str], &str); 9] = [
    ("classify", "classify_softmax", &[], "labels"),
    (
        "zero-shot",
        "zero_shot_two_labels",
        &["--labels", "a,b"],
        "labels",
    ),
    (
        "rerank",
        "classify_one_label",
        &["--query", "Who?"],
        "score",
    ),
    ("ner", "ner", &["--ignore", "none"], "entities"),
    ("qa", "qa", &["--question", "Who?"], "answers"),
    ("embed", "embed", &[], "embedding"),
    ("fill-mask", "masked", &["--top-k", "2"], "masks"),
    (
        "replaced-tokens",
        "discriminator",
        &["--threshold", "0"],
        "words",
    ),
    (
        "classify",
        "classify_softmax",
        &["--long-texts", "max"],
        "labels",
    ),
];

#[test]
fn every_command_answers_arguments_in_every_format() {
    for (command, model, options, key) in COMMANDS {
        let dir = checkpoint(model);
        let arguments = |format: &'static str| {
            let start = [command, "--model", text(dir.path()), "--format", format];
            let texts = ["Ada [MASK] Lovelace", "in \"Berlin\", [MASK] 🙂"];
            let all = start.iter().chain(options).chain(&texts).copied();
            succeed(&all.collect::<Vec<_>>())
        };
        let answers = lines(&arguments("jsonl"));
        assert_eq!(answers.len(), 2, "{command}");
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer["line"], number + 1);
            assert!(!answer[key].is_null(), "{command}: {answer}");
        }
        let array: Value = serde_json::from_str(&arguments("json")).unwrap();
        assert_eq!(array, json!(answers), "{command}");

        let table = arguments("csv");
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let header: Vec<&str> = reader.headers().unwrap().iter().take(2).collect();
        assert_eq!(header, ["line", "id"]);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert!(rows.iter().any(|row| &row[0] == "2"), "{command}: {table}");

        let shown = arguments("pretty");
        assert!(shown.lines().count() >= 2, "{command}: {shown}");
        // Standard output is no terminal here.
        assert!(!shown.contains('\u{1b}'), "{command}: {shown}");
    }
}

/// The labels of each answer.
fn labels(output: &str) -> Vec<Value> {
    let answers = lines(output).into_iter();
    answers.map(|it| it["labels"].clone()).collect()
}

#[test]
fn texts_come_from_lines_json_and_tables_alike() {
    let dir = checkpoint("classify_softmax");
    let folder = tempfile::tempdir().unwrap();
    let model = text(dir.path());
    let expected = labels(&succeed(&[
        "classify",
        "-m",
        model,
        "Ada Lovelace",
        "in Berlin",
    ]));
    let mut options = vec!["classify", "-m", model, "--chunk", "1"];
    let files = [
        ("a.txt", "Ada Lovelace\r\nin Berlin"),
        ("a.jsonl", "{\"text\": \"Ada Lovelace\"}\n\"in Berlin\"\n"),
        ("a.csv", "id,text\n7,Ada Lovelace\n8,\"in Berlin\"\n"),
        ("a.tsv", "text\tother\nAda Lovelace\tx\nin Berlin\ty\n"),
    ]
    .map(|(name, content)| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    });
    for file in &files {
        let found = succeed(&["classify", "-m", model, "--file", text(file)]);
        assert_eq!(labels(&found), expected, "{}", file.display());
        options.extend(["-f", text(file)]);
    }
    // All of them, one after the other.
    let all = [&expected[..]; 4].concat();
    assert_eq!(labels(&succeed(&options)), all);
}

#[test]
fn columns_have_any_name_and_ids_are_handed_on() {
    let dir = checkpoint("classify_softmax");
    let model = text(dir.path());
    let options = ["classify", "-m", model, "--columns", "review"];
    let read = |format: &str, input: &str| {
        let format = ["--input-format", format];
        let run = run(&[&options[..], &format].concat(), input);
        assert!(run.success, "{}", run.stderr);
        lines(&run.stdout)
    };
    let objects = read(
        "jsonl",
        "{\"review\": \"Ada\", \"id\": 7}\n{\"review\": \"x\"}\n",
    );
    assert_eq!(
        (&objects[0]["id"], &objects[0]["line"]),
        (&json!(7), &json!(1))
    );
    assert!(objects[1]["id"].is_null());
    // Lines of a table count its header.
    let input = "id,review\n7,Ada\n8,x\n";
    let table = read("csv", input);
    assert_eq!(
        (&table[0]["id"], &table[0]["line"]),
        (&json!("7"), &json!(2))
    );
    assert_eq!(table[0]["labels"], objects[0]["labels"]);
    let formats = ["--input-format", "csv", "--format", "csv"];
    let written = run(&[&options[..], &formats].concat(), input).stdout;
    assert!(
        written.starts_with("line,id,label,score\n2,7,"),
        "{written}"
    );

    let wrong = run(&["classify", "-m", model, "--columns", "a,b", "x"], "");
    let expected = "--columns names 2 columns, expected 1: in place of text";
    assert!(wrong.stderr.contains(expected), "{}", wrong.stderr);
}

#[test]
fn a_table_with_tabs_has_no_quoting_and_a_byte_order_mark_is_no_text() {
    let dir = checkpoint("classify_softmax");
    let model = text(dir.path());
    let expected = labels(&succeed(&["classify", "-m", model, "\"good", "x"]));
    for (format, input) in [
        ("tsv", "text\tid\n\"good\t1\nx\t2\n"),
        ("tsv", "\u{feff}text\n\"good\nx\n"),
        ("csv", "\u{feff}text\n\"\"\"good\"\nx\n"),
        ("plain", "\u{feff}\"good\nx\n"),
        ("jsonl", "\u{feff}{\"text\": \"\\\"good\"}\n\"x\"\n"),
    ] {
        let options = ["classify", "-m", model, "--input-format", format];
        let answered = run(&options, input);
        assert!(answered.success, "{format}: {}", answered.stderr);
        assert_eq!(labels(&answered.stdout), expected, "{format}");
    }
}

#[test]
fn the_best_documents_are_printed_sorted() {
    let dir = checkpoint("classify_one_label");
    let documents = "in Berlin\nAda Lovelace\n\n你好世界\n";
    let base = ["rerank", "-m", text(dir.path()), "-q", "Who?"];
    let all = lines(&run(&base, documents).stdout);
    let score = |it: &Value| it["score"].as_f64().unwrap();
    let mut best: Vec<f64> = all.iter().map(score).collect();
    best.sort_by(|a, b| b.total_cmp(a));
    let top = lines(
        &run(
            &[&base[..], &["--top", "2", "--chunk", "1"]].concat(),
            documents,
        )
        .stdout,
    );
    assert_eq!(top.len(), 2);
    for (answer, expected) in top.iter().zip(&best) {
        assert!((score(answer) - expected).abs() < 1e-6);
        assert_eq!(
            score(answer),
            score(&all[answer["line"].as_u64().unwrap() as usize - 1])
        );
    }
}

#[test]
fn each_query_has_its_best_documents() {
    let dir = checkpoint("classify_one_label");
    let base = ["rerank", "-m", text(dir.path())];
    // The queries are mixed.
    let pairs = "Who?\tin Berlin\nWhere?\tAda Lovelace\nWho?\tAda Lovelace\nWho?\t你好世界\n\
                 Where?\tin Berlin\n";
    let all = lines(&run(&base, pairs).stdout);
    let queries: Vec<&str> = all.iter().map(|it| it["query"].as_str().unwrap()).collect();
    assert_eq!(queries, ["Who?", "Where?", "Who?", "Who?", "Where?"]);
    let score = |it: &&Value| it["score"].as_f64().unwrap();
    let ranking = |query: &str, top: usize| {
        let mut ranking: Vec<&Value> = all.iter().filter(|it| it["query"] == query).collect();
        ranking.sort_by(|a, b| score(b).total_cmp(&score(a)));
        ranking
            .into_iter()
            .take(top)
            .cloned()
            .collect::<Vec<Value>>()
    };
    for top in [1, 2, 9] {
        let count = top.to_string();
        let options = ["--top", &count, "--chunk", "2"];
        let best = lines(&run(&[&base[..], &options].concat(), pairs).stdout);
        let places = |answers: &[Value]| -> Vec<Value> {
            answers.iter().map(|it| it["line"].clone()).collect()
        };
        let expected = [ranking("Who?", top), ranking("Where?", top)].concat();
        assert_eq!(places(&best), places(&expected), "{top}");
    }
    let table = run(&[&base[..], &["--format", "csv"]].concat(), pairs).stdout;
    assert!(
        table.starts_with("line,id,query,score,document\n1,,Who?,"),
        "{table}"
    );
}

#[test]
fn a_label_is_looked_for_wherever_it_is() {
    let dir = checkpoint("classify_softmax");
    let long = "the quick brown fox jumps over the lazy dog ".repeat(9);
    let base = ["classify", "-m", text(dir.path()), &long, "fox"];
    let names = |options: &[&str]| -> Vec<Vec<String>> {
        let answers = labels(&succeed(&[&base[..], options].concat()));
        let names = answers.iter().map(|answer| {
            let labels = answer.as_array().unwrap().iter();
            labels
                .map(|it| it["label"].as_str().unwrap().to_owned())
                .collect()
        });
        names.collect()
    };
    assert_eq!(names(&[])[0].len(), 1);
    // The largest scores of all windows: one label would hide the others.
    assert_eq!(names(&["--long-texts", "max"])[0].len(), 3);
    assert_eq!(names(&["--long-texts", "max", "--top-k", "2"])[0].len(), 2);
    let flagged = names(&["--long-texts", "max", "--flag", "negative, neutral"]);
    for found in &flagged {
        let mut found = found.clone();
        found.sort();
        assert_eq!(found, ["negative", "neutral"]);
    }
    let none = names(&["--flag", "negative", "--threshold", "0.999"]);
    assert_eq!(none, [const { Vec::<String>::new() }; 2]);
    let shown = [&base[..], &["--threshold", "1", "--format", "pretty"]].concat();
    assert!(succeed(&shown).ends_with("none  fox\n"));

    let message = crate::fail(&[&base[..], &["--flag", "toxic"]].concat());
    assert!(
        message.contains("no label is called \"toxic\", found negative, neutral, positive"),
        "{message}"
    );
}

#[test]
fn json_is_an_array_or_lines_and_never_plain_text() {
    let dir = checkpoint("classify_softmax");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reviews.json");
    let answer = |content: &str| {
        std::fs::write(&path, content).unwrap();
        run(&["classify", "-m", text(dir.path()), "-f", text(&path)], "")
    };
    let expected = labels(&succeed(&[
        "classify",
        "-m",
        text(dir.path()),
        "a, [b]",
        "c",
    ]));
    for content in [
        "{\"text\": \"a, [b]\"}\n{\"text\": \"c\"}\n",
        "\"a, [b]\"\n\"c\"",
        "[{\"text\": \"a, [b]\", \"id\": [1]},{\"text\": \"c\"}]",
        "\u{feff} \n[\n  \"a, [b]\" ,\r\n  {\n    \"text\": \"c\"\n  }\n]\n",
    ] {
        let answered = answer(content);
        assert!(answered.success, "{content}: {}", answered.stderr);
        assert_eq!(labels(&answered.stdout), expected, "{content}");
        let found = lines(&answered.stdout);
        let numbers: Vec<&Value> = found.iter().map(|it| &it["line"]).collect();
        assert_eq!(numbers, [1, 2], "{content}");
    }
    for empty in ["", "[]", " [ ]\n"] {
        let answered = answer(empty);
        assert!(
            answered.success && answered.stdout.is_empty(),
            "{empty}: {}",
            answered.stderr
        );
    }
    // What is well formed but has no text is left out, as in lines.
    let answered = answer("[{\"text\": \"a, [b]\"}, null, [\"x\"], {\"other\": 1}, \"c\"]");
    assert_eq!(answered.code, Some(3));
    let answers = lines(&answered.stdout);
    let errors: Vec<bool> = answers.iter().map(|it| it["error"].is_string()).collect();
    assert_eq!(errors, [false, true, true, true, false]);
    // After anything else nobody knows where the next element begins.
    for (content, problem) in [
        ("[\"a\", 3]", "element 2 of the JSON array is a number"),
        (
            "[\"a\", \"b]",
            "element 2 of the JSON array is not valid JSON",
        ),
        ("[\"a\",]", "element 2 of the JSON array is not valid JSON"),
        ("[\"a\" \"b\"]", "expected a comma after element 1"),
        ("[\"a\"", "element 2 of the JSON array is not valid JSON"),
        ("[\"a\"] x", "something follows the JSON array"),
    ] {
        let answered = answer(content);
        assert_eq!(answered.code, Some(1), "{content}");
        assert_eq!(lines(&answered.stdout).len(), 1, "{content}");
        assert!(
            answered.stderr.contains(problem),
            "{content}: {}",
            answered.stderr
        );
    }
}

#[test]
fn answers_say_which_of_several_files_they_belong_to() {
    let dir = checkpoint("classify_softmax");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.txt"), "x\ny\n").unwrap();
    std::fs::write(path("b.jsonl"), "\"z\"\nnonsense\n").unwrap();
    let (a, b) = (path("a.txt"), path("b.jsonl"));
    let base = ["classify", "-m", text(dir.path()), "-f", text(&a)];
    let several = [&base[..], &["-f", text(&b)]].concat();
    let answers = lines(&run(&several, "").stdout);
    let places: Vec<(&Value, &Value)> = answers
        .iter()
        .map(|it| (&it["file"], &it["line"]))
        .collect();
    let (a, b) = (json!(text(&a)), json!(text(&b)));
    let numbers = [json!(1), json!(2)];
    let expected = [
        (&a, &numbers[0]),
        (&a, &numbers[1]),
        (&b, &numbers[0]),
        (&b, &numbers[1]),
    ];
    assert_eq!(places, expected);
    let table = run(&[&several[..], &["--format", "csv"]].concat(), "").stdout;
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let header: Vec<String> = reader.headers().unwrap().iter().map(Into::into).collect();
    assert_eq!(header, ["file", "line", "id", "label", "score"]);
    let files: Vec<String> = reader
        .records()
        .map(|it| it.unwrap()[0].to_owned())
        .collect();
    assert_eq!(json!(files), json!([a, a, b]));
    // Of one there is nothing to say.
    assert!(lines(&succeed(&base))[0]["file"].is_null());
}

#[test]
fn spaces_around_commas_belong_to_no_label() {
    let dir = checkpoint("zero_shot_two_labels");
    let ask = |list: &str| {
        let arguments = ["zero-shot", "-m", text(dir.path()), "--labels", list, "fox"];
        run(&arguments, "")
    };
    let spaced = ask(" sport , New York\t");
    assert!(spaced.success, "{}", spaced.stderr);
    assert_eq!(spaced.stdout, ask("sport,New York").stdout);
    assert!(spaced.stdout.contains("\"New York\""), "{}", spaced.stdout);
    for list in ["sport,", "", ",sport", "sport, ,law"] {
        let refused = ask(list);
        assert_eq!(refused.code, Some(2), "{list}");
        assert!(
            refused.stderr.contains("a name is empty"),
            "{}",
            refused.stderr
        );
    }

    // The same of labels that are no entities.
    let dir = checkpoint("ner");
    let entities = |options: &[&str]| {
        let start = ["ner", "-m", text(dir.path())];
        succeed(&[&start[..], options, &["Ada Lovelace in Berlin"]].concat())
    };
    let ignored = entities(&["--ignore", "O, PER, LOC, MISC"]);
    assert_eq!(lines(&ignored)[0]["entities"], json!([]));
    assert_ne!(lines(&entities(&[]))[0]["entities"], json!([]));
}

#[test]
fn unlikely_labels_and_entities_are_left_out() {
    let dir = checkpoint("zero_shot_two_labels");
    let best = [
        "zero-shot",
        "-m",
        text(dir.path()),
        "-l",
        "a,b,c",
        "--top-k",
        "2",
        "fox",
    ];
    assert_eq!(labels(&succeed(&best))[0].as_array().unwrap().len(), 2);
    let unlikely = [&best[..], &["--threshold", "1.5"]].concat();
    assert_eq!(labels(&succeed(&unlikely)), [json!([])]);

    let dir = checkpoint("ner");
    let base = ["ner", "-m", text(dir.path()), "Ada Lovelace in Berlin"];
    let found = lines(&succeed(&base))[0]["entities"].clone();
    let scores = found
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["score"].as_f64().unwrap());
    let least = scores.fold(1.0, f64::min);
    // The last digit may be lost in JSON.
    for (threshold, left) in [(least - 1e-9, found.clone()), (1.0, json!([]))] {
        let threshold = threshold.to_string();
        let likely = succeed(&[&base[..], &["--threshold", &threshold]].concat());
        assert_eq!(lines(&likely)[0]["entities"], left, "{threshold}");
    }
}

#[test]
fn a_redacted_text_comes_without_its_entities() {
    let dir = checkpoint("ner");
    let input = "Ada Lovelace in Berlin\nfox";
    let answer = |format: &str| {
        let options = ["--redact", "--format", format];
        run(
            &[&["ner", "-m", text(dir.path())][..], &options].concat(),
            input,
        )
        .stdout
    };
    let answers = lines(&answer("jsonl"));
    let redacted: Vec<&str> = answers
        .iter()
        .map(|it| it["redacted"].as_str().unwrap())
        .collect();
    assert!(redacted[0].contains('['), "{redacted:?}");
    for answer in &answers {
        let fields: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(
            fields,
            ["line", "redacted"],
            "more than the text was written"
        );
    }
    assert_eq!(
        answer("pretty"),
        format!("{}\n{}\n", redacted[0], redacted[1])
    );
    let table = answer("csv");
    let expected = format!("line,id,redacted\n1,,{}\n2,,{}\n", redacted[0], redacted[1]);
    assert_eq!(table, expected);
}

#[test]
fn help_has_examples_and_exit_codes() {
    for (command, ..) in COMMANDS {
        let help = succeed(&[command, "--help"]);
        assert!(help.contains("Examples:\n  deberta "), "{help}");
        assert!(help.contains("Exit codes:"), "{help}");
    }
}
