//! Files as they are distributed, and what is said about bad ones.

use std::fs;

use deberta_data::task::{BadLines, Example, FileSet, ReadOptions, Split, Target, Task, TaskError};

use crate::{Files, RECORD, choice, message, question, read, sequence};

/// First example of a file: identifier, text, pair and target.
#[track_caller]
fn check_glue(
    task: &str,
    split: Split,
    file: &str,
    text: &str,
    (id, first, second, target): (&str, &str, Option<&str>, Option<Target>),
) {
    let examples = read(task, split, file, text).unwrap();
    let example = sequence(&examples[0]);
    assert_eq!(example.id, id);
    assert_eq!(example.text, first);
    assert_eq!(example.pair.as_deref(), second);
    assert_eq!(example.target, target);
}

fn label(label: usize) -> Option<Target> {
    Some(Target::Label(label))
}

#[test]
fn single_sentences_of_glue_are_read_as_distributed() {
    use Split::{Test, Train};
    let cola = "gj04\t1\t\tOur \"friends\" won't.\r\n";
    check_glue(
        "cola",
        Train,
        "train.tsv",
        cola,
        ("0", "Our \"friends\" won't.", None, label(1)),
    );
    let cola = "index\tsentence\n7\tBill whistled.\n";
    check_glue(
        "CoLA",
        Test,
        "test.tsv",
        cola,
        ("7", "Bill whistled.", None, None),
    );
    let sst = "sentence\tlabel\nhide new secretions \t0\n";
    check_glue(
        "sst-2",
        Train,
        "train.tsv",
        sst,
        ("0", "hide new secretions ", None, label(0)),
    );
}

#[test]
fn pairs_of_glue_are_read_as_distributed() {
    use Split::{Dev, Test, Train};
    let mrpc = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t5\t6\tHe said \"no\r\n";
    let message = message("mrpc", Dev, "dev.tsv", mrpc);
    assert_eq!(message, "dev.tsv:2: found 4 columns, expected 5");
    let mrpc = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n3\t5\t6\tHe said \"no\tNo.\n";
    check_glue(
        "mrpc",
        Test,
        "test.tsv",
        mrpc,
        ("3", "He said \"no", Some("No."), None),
    );
    let stsb = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n\
                4\tg\tf\ty\to\ts\ts\tA plane.\tAn air plane.\t4.75\n";
    let expected = (
        "4",
        "A plane.",
        Some("An air plane."),
        Some(Target::Score(4.75)),
    );
    check_glue("sts-b", Dev, "dev.tsv", stsb, expected);
    let mnli = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t\
                sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n\
                0\t1\t1n\tfiction\t(\t(\t(\t(\tOne.\tTwo.\tneutral\tneutral\n";
    check_glue(
        "mnli",
        Train,
        "train.tsv",
        mnli,
        ("0", "One.", Some("Two."), label(1)),
    );
    let qnli = "index\tquestion\tsentence\tlabel\n2\tWhen?\tThen.\tnot_entailment\n";
    check_glue(
        "qnli",
        Dev,
        "dev.tsv",
        qnli,
        ("2", "Then.", Some("When?"), label(0)),
    );
    let wnli = "index\tsentence1\tsentence2\n1\tA.\tB.\n";
    check_glue(
        "wnli",
        Test,
        "test.tsv",
        wnli,
        ("1", "A.", Some("B."), None),
    );
    let ax = "Lexical Semantics\tLogic\tDomain\tPremise\tHypothesis\tLabel\n\t\tNews\tA.\tB.\tentailment\n";
    check_glue(
        "ax",
        Dev,
        "diagnostic-full.tsv",
        ax,
        ("0", "A.", Some("B."), label(2)),
    );
}

#[test]
fn broken_lines_and_empty_questions_of_qqp_are_known() {
    use Split::Train;
    let qqp = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n\
               9\t1\t2\tWhy?\tHow?\t1\n\
               broken line\n\
               10\t1\t2\tWhat?\t\t0\n";
    check_glue(
        "qqp",
        Train,
        "train.tsv",
        qqp,
        ("9", "Why?", Some("How?"), label(1)),
    );
    let files = Files::new(&[("train.tsv", qqp)]);
    let task = Task::named("qqp").unwrap();
    let sets = task.files(files.0.path(), Train).unwrap();
    let data = task.load(&sets[0], Train, &ReadOptions::default()).unwrap();
    assert_eq!((data.examples.len(), data.skipped.count()), (2, 1));
}

#[test]
fn mnli_has_two_sets_of_which_one_may_be_missing() {
    let text = "index\tpremise\thypothesis\tgold_label\n0\ta\tb\tneutral\n";
    let files = Files::new(&[
        ("MNLI/dev_matched.tsv", text),
        ("MNLI/dev_mismatched.tsv", text),
    ]);
    let task = Task::named("mnli").unwrap();
    let names = |files: &Files| -> Vec<String> {
        let sets = task.files(files.0.path(), Split::Dev).unwrap();
        sets.into_iter().map(|set| set.name).collect()
    };
    assert_eq!(names(&files), ["matched", "mismatched"]);
    fs::remove_file(files.0.path().join("MNLI/dev_matched.tsv")).unwrap();
    assert_eq!(names(&files), ["mismatched"]);
}

#[test]
fn wrong_lines_are_told_with_place_and_expectation() {
    let header = "index\tsentence1\tsentence2\tlabel\n";
    let rte = |line: &str| message("rte", Split::Dev, "dev.tsv", &format!("{header}{line}\n"));
    assert_eq!(
        rte("0\ta\tb\tmaybe"),
        "dev.tsv:2: field `label`: found `maybe`, expected one of: not_entailment, entailment"
    );
    assert_eq!(
        rte("0\ta\tentailment"),
        "dev.tsv:2: found 3 columns, expected 4"
    );
    assert_eq!(
        rte("0\t \tb\tentailment"),
        "dev.tsv:2: field `sentence1`: found white space, expected a text"
    );
    assert_eq!(
        message(
            "rte",
            Split::Dev,
            "dev.tsv",
            "index\tsentence1\tsentence2\n0\ta\tb\n"
        ),
        "dev.tsv:1: found the columns `index`, `sentence1`, `sentence2`, expected a header with the \
         column `label`"
    );
    assert_eq!(
        message("cola", Split::Dev, "dev.tsv", "a\tb\n"),
        "dev.tsv:1: found the columns `a`, `b`, expected a header with the column `sentence` and \
         `label`, or 4 columns without a header"
    );
    let stsb = "main-captions\tMSRvid\t2012test\t0001\t5.1\tA.\tB.\n";
    assert_eq!(
        message("sts-b", Split::Train, "sts-train.csv", stsb),
        "sts-train.csv:1: field `score`: found `5.1`, expected a number from 0 to 5"
    );
    assert_eq!(
        message(
            "boolq",
            Split::Dev,
            "val.jsonl",
            "\n{\"passage\": \"p\", \"question\": 3}\n"
        ),
        "val.jsonl:2: field `label`: found nothing, expected a label"
    );
    assert_eq!(
        message(
            "boolq",
            Split::Test,
            "test.jsonl",
            "\n{\"passage\": \"p\", \"question\": 3}\n"
        ),
        "test.jsonl:2: field `question`: found 3, expected a string"
    );
    assert!(message("cb", Split::Dev, "val.jsonl", "{\"premise\": \n").contains("a JSON object"));
    let error = read("rte", Split::Dev, "dev.tsv", header).unwrap_err();
    assert!(matches!(error, TaskError::NoExamples { .. }), "{error}");
}

#[test]
fn missing_files_and_unknown_tasks_are_told_with_what_there_is() {
    let files = Files::new(&[]);
    let task = Task::named("sst-2").unwrap();
    let error = files.read(&task, Split::Train).unwrap_err().to_string();
    assert!(
        error.starts_with("no train files of `sst-2` in "),
        "{error}"
    );
    assert!(error.ends_with("looked for train.tsv, train_part1.tsv with train_part2.tsv"));
    let set = FileSet {
        name: "train".into(),
        paths: vec![files.0.path().join("none.tsv")],
    };
    let error = task
        .load(&set, Split::Train, &ReadOptions::default())
        .unwrap_err();
    assert!(error.to_string().ends_with("none.tsv"), "{error}");
    let error = Task::named("glue").unwrap_err().to_string();
    assert!(
        error.contains("expected one of: cola, sst-2, mrpc"),
        "{error}"
    );
    for name in Task::names() {
        assert_eq!(
            Task::named(&name.to_uppercase().replace('-', "_"))
                .unwrap()
                .name(),
            name
        );
    }
}

#[test]
fn bad_lines_are_counted_if_they_are_to_be_skipped() {
    let good = "1\ta\tb\tentailment\n";
    let text = format!(
        "index\tsentence1\tsentence2\tlabel\n{good}1\ta\tb\n{good}1\ta\tb\tno\n{good}1\t\tb\tentailment\n{}\n",
        "x".repeat(200)
    );
    let files = Files::new(&[]);
    let mut bytes = text.into_bytes();
    bytes.extend(b"1\ta\xff\tb\tentailment\n");
    bytes.extend(good.as_bytes());
    let path = files.write("dev.tsv", &bytes);
    let options = ReadOptions {
        bad_lines: BadLines::Skip,
        max_line_bytes: 100,
    };
    let task = Task::named("rte").unwrap();
    let mut examples = task.examples(&[path], Split::Dev, &options);
    assert_eq!(examples.by_ref().filter(|it| it.is_ok()).count(), 4);
    let skipped = examples.skipped();
    assert_eq!((skipped.count(), skipped.messages().len()), (5, 5));
    assert!(skipped.messages()[0].ends_with("dev.tsv:3: found 3 columns, expected 4"));
    assert!(skipped.messages()[3].contains(":8: found a longer line, expected at most 100 bytes"));
    assert!(skipped.messages()[4].contains(":9: found a bad byte at position 4, expected UTF-8"));
    assert!(
        skipped
            .to_string()
            .starts_with("5 lines skipped, the first: ")
    );
}

#[test]
fn questions_are_checked_against_their_context() {
    let squad = |answer: &str, start: i64, version: &str| {
        let text = format!(
            "{{\"data\": [{{\"paragraphs\": [\n{{\"context\": \"Über Köln fließt der Rhein.\",\n\"qas\": \
             [{{\"id\": \"q1\", \"question\": \"Was?\",\n\"answers\": [{{\"text\": \"{answer}\", \
             \"answer_start\": {start}}}]}}]}}]}}]}}"
        );
        let file = format!("dev-v{version}.json");
        let task = if version == "1.1" { "squad" } else { "squad2" };
        read(task, Split::Dev, &file, &text)
    };
    let examples = squad("Köln", 5, "1.1").unwrap();
    let example = question(&examples[0]);
    assert_eq!((example.id.as_str(), example.answers[0].start), ("q1", 5));
    // Off by two characters is put right.
    assert_eq!(
        question(&squad("Köln", 7, "1.1").unwrap()[0]).answers[0].start,
        5
    );
    let error = squad("Köln", 9, "2.0").unwrap_err().to_string();
    assert!(
        error.ends_with(
            "dev-v2.0.json:3: field `answers`: found `Köln` at 9, expected it to stand there in the \
             context of 27 characters"
        ),
        "{error}"
    );
    assert!(
        squad("Köln", -1, "2.0")
            .unwrap_err()
            .to_string()
            .contains("a whole number from 0")
    );
    assert!(squad("Köln", 1000, "1.1").is_err());
    let text = "{\"data\": [{\"paragraphs\": [{\"context\": \"c\", \"qas\": \
                [{\"id\": \"q\", \"question\": \"w\", \"answers\": []}]}]}]}";
    assert!(question(&read("squad2", Split::Dev, "dev-v2.0.json", text).unwrap()[0]).is_impossible);
    assert_eq!(
        message("squad", Split::Dev, "dev-v1.1.json", text),
        "dev-v1.1.json:1: field `answers`: found no answer, expected at least one"
    );
    assert_eq!(
        read("squad", Split::Test, "test-v1.1.json", text)
            .unwrap()
            .len(),
        1
    );
    let broken = message("squad", Split::Dev, "dev-v1.1.json", "{\"data\":\n[}");
    assert!(broken.starts_with("dev-v1.1.json:2: "), "{broken}");
}

#[test]
fn entities_of_record_are_numbered_by_position() {
    let examples = read("record", Split::Dev, "val.jsonl", RECORD).unwrap();
    let Example::Cloze(example) = &examples[0] else {
        panic!("{examples:?}");
    };
    let mentions: Vec<&str> = example.entities.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(mentions, ["Ånn", "Bob", "Ånn"]);
    assert_eq!(example.entities[1].start..example.entities[1].end, 8..11);
    assert_eq!(
        (example.id.as_str(), &example.answer_entities[..]),
        ("11", &[0, 2][..])
    );
    let outside = RECORD.replace("\"end\": 10", "\"end\": 99");
    assert_eq!(
        message("record", Split::Dev, "val.jsonl", &outside),
        "val.jsonl:1: field `passage.entities`: found 8..100, expected a part of the passage of 22 \
         characters"
    );
    let gap = RECORD.replace("@placeholder", "somebody");
    assert!(message("record", Split::Dev, "val.jsonl", &gap).contains("a query with @placeholder"));
}

#[test]
fn choices_come_with_what_they_belong_to() {
    let copa = "{\"premise\": \"It broke. \", \"choice1\": \"I fell.\", \"choice2\": \"I ran.\", \
                \"question\": \"cause\", \"label\": 0, \"idx\": 4}\n";
    let examples = read("copa", Split::Dev, "val.jsonl", copa).unwrap();
    let pairs: Vec<_> = choice(&examples[0]).pairs().collect();
    assert_eq!(pairs, [("I fell.", "It broke."), ("I ran.", "It broke.")]);
    let swag = ",video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label\n\
                0,a,1,x,\"He said \"\"no\"\",\nand\",then he,gold,a,b,c,d,3\n";
    let examples = read("swag", Split::Dev, "val.csv", swag).unwrap();
    let example = choice(&examples[0]);
    assert_eq!(example.context, "He said \"no\",\nand");
    assert_eq!(
        (example.choices[3].as_str(), example.label),
        ("then he d", Some(3))
    );
    let race = "{\"article\": \"Long  text.\\n\", \"id\": \"high1.txt\", \"questions\": [\"It is _ .\"], \
                \"options\": [[\"a\", \"b\", \"c\", \"d\"]], \"answers\": [\"C\"]}";
    for (file, other) in [
        ("dev/high/1.txt", "dev/middle/2.txt"),
        ("dev_high.jsonl", "dev_middle.jsonl"),
    ] {
        let files = Files::new(&[(file, race), (other, race)]);
        let examples = files
            .read(&Task::named("race").unwrap(), Split::Dev)
            .unwrap();
        assert_eq!(examples.len(), 2);
        let example = choice(&examples[0]);
        assert_eq!(
            (example.context.as_str(), example.label),
            ("Long text.", Some(2))
        );
        assert_eq!(
            (example.id.as_str(), example.choices[0].as_str()),
            ("high1.txt-0", "It is _ . a")
        );
    }
    let wrong = race.replace("\"C\"", "\"E\"");
    let message = message("race", Split::Test, "test_high.jsonl", &wrong);
    assert!(message.contains("found `E`, expected a number from 0 to 3, or a letter from A"));
    let piqa = "{\"goal\": \"g\", \"sol1\": \"a\", \"sol2\": \"b\"}\n";
    let files = Files::new(&[("valid.jsonl", piqa), ("valid-labels.lst", "1\n0\n")]);
    let error = files
        .read(&Task::named("piqa").unwrap(), Split::Dev)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("expected no more labels than examples")
    );
}

#[test]
fn words_keep_their_tags() {
    let conll =
        "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nPeter NNP B-NP B-PER\n";
    let examples = read("conll", Split::Train, "train.txt", conll).unwrap();
    assert_eq!(examples.len(), 2);
    let Example::Tokens(example) = &examples[0] else {
        panic!("{examples:?}");
    };
    assert_eq!(example.words, ["EU", "rejects"]);
    assert_eq!(example.tags, Some(vec![5, 0]));
    let conll = "EU NNP B-NP B-ORG\nrejects VBZ O\ncalls VBZ B-VP O\n\nPeter NNP B-NP B-XYZ\n\na NNP B-NP O\n";
    assert_eq!(
        message("conll", Split::Train, "train.txt", conll),
        "train.txt:2: found 3 columns, expected 4"
    );
    let files = Files::new(&[("train.txt", conll)]);
    let task = Task::named("conll").unwrap();
    let set = &task.files(files.0.path(), Split::Train).unwrap()[0];
    let options = ReadOptions {
        bad_lines: BadLines::Skip,
        ..ReadOptions::default()
    };
    let data = task.load(set, Split::Train, &options).unwrap();
    assert_eq!((data.examples.len(), data.skipped.count()), (1, 2));
    assert!(data.skipped.messages()[1].contains("train.txt:5: field `tags`: found `B-XYZ`"));
    let untagged = read("ner", Split::Test, "test.txt", "Peter\nruns\n\nhome\n").unwrap();
    assert_eq!(untagged.len(), 2);
}
