//! `deberta forward` against the numbers of transformers and microsoft/DeBERTa.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::{fail, fixture, succeed, text};

/// Of an f32 program, real tokens only.
const ALLOWED: f64 = 2e-5;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let entry = |(name, view): (&str, TensorView<'_>)| {
        let content = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        (name.to_owned(), content)
    };
    tensors.iter().map(entry).collect()
}

fn write(tensors: &Tensors, path: &Path) {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn floats((dtype, _, data): &(Dtype, Vec<usize>, Vec<u8>)) -> Vec<f64> {
    match dtype {
        Dtype::F64 => {
            let numbers = data.as_chunks().0.iter();
            numbers.map(|&it| f64::from_le_bytes(it)).collect()
        }
        Dtype::F32 => {
            let numbers = data.as_chunks().0.iter();
            numbers
                .map(|&it| f64::from(f32::from_le_bytes(it)))
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Inputs of a fixture, named as the program takes them.
fn inputs_of(recorded: &Tensors) -> Tensors {
    let inputs = recorded.iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("inputs.")?;
        let known = [
            "loss_weight",
            "labels_multilabel",
            "labels_regression",
            "labels_soft",
        ];
        (!known.contains(&name)).then(|| (name.to_owned(), tensor.clone()))
    });
    inputs.collect()
}

/// What the program writes for a fixture.
fn forward(name: &str, inputs: &Tensors, options: &[&str]) -> Tensors {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    write(inputs, &input);
    let model = fixture(name);
    let paths = [
        "forward",
        "--model",
        text(&model),
        "--inputs",
        text(&input),
        "--out",
        text(&output),
    ];
    succeed(&[&paths, options].concat());
    read(&output)
}

/// Runs a fixture and compares what comes out with what was recorded, as (ours, recorded).
#[track_caller]
fn check(name: &str, options: &[&str], pairs: &[(&str, &str)]) {
    let recorded = read(&fixture(name).join("io.safetensors"));
    let outputs = forward(name, &inputs_of(&recorded), options);
    let mask = &recorded["inputs.attention_mask"].2;
    let real: Vec<bool> = mask
        .as_chunks::<8>()
        .0
        .iter()
        .map(|it| it[0] == 1)
        .collect();
    for (ours, theirs) in pairs {
        let (actual, expected) = (floats(&outputs[*ours]), floats(&recorded[*theirs]));
        let shape = &recorded[*theirs].1;
        assert_eq!(actual.len(), expected.len(), "{name}: {ours}");
        // Tensors with a row per token have one per entry of the mask.
        let rows = real.len();
        let per_token = shape.len() > 1 && shape[..2].iter().product::<usize>() == rows;
        let width = actual.len() / if per_token { rows } else { actual.len() };
        let worst = (0..actual.len())
            .filter(|index| !per_token || real[index / width])
            .map(|index| (actual[index] - expected[index]).abs())
            .fold(0.0, f64::max);
        assert!(worst < ALLOWED, "{name}: {ours} differs by {worst:e}");
    }
}

const TRANSFORMERS: [&str; 2] = ["--compatibility", "huggingface"];

#[test]
fn encoders_give_the_numbers_of_transformers() {
    let layers = |last| [&TRANSFORMERS[..], &["--head", "encoder", last]].concat();
    for name in [
        "hf/v1_base_abs_types",
        "hf/v2_base_conv",
        "hf/v2_base_embed_proj",
        "hf/v3_base_long",
    ] {
        let pairs = [("last_hidden_state", "f64.last_hidden_state")];
        check(name, &layers("--hidden-states"), &pairs);
    }
}

#[test]
fn heads_give_the_numbers_of_transformers() {
    let pairs = [("logits", "f64.logits"), ("loss", "f64.loss")];
    for name in [
        "hf/v1_seqcls",
        "hf/v3_seqcls",
        "hf/v3_seqcls_reg",
        "hf/v1_tokcls",
        "hf/v3_mc",
    ] {
        check(name, &TRANSFORMERS, &pairs);
    }
    // The softmax of question answering runs over padding, where we follow Microsoft.
    let pairs = [
        ("start_logits", "f64.ms_padding.start_logits"),
        ("end_logits", "f64.ms_padding.end_logits"),
        ("loss", "f64.ms_padding.loss"),
    ];
    for name in ["hf/v1_qa", "hf/v3_qa"] {
        check(name, &TRANSFORMERS, &pairs);
    }
}

#[test]
fn masked_language_models_give_the_numbers_of_both_references() {
    for name in ["hf/v1_mlm_legacy", "hf/v3_mlm_new"] {
        check(name, &TRANSFORMERS, &[("loss", "f64.loss")]);
    }
    for name in ["ms/emd_v1", "ms/emd_v3"] {
        check(name, &["--head", "masked-lm"], &[("loss", "f64.loss")]);
        let recorded = read(&fixture(name).join("io.safetensors"));
        let outputs = forward(name, &inputs_of(&recorded), &["--head", "masked-lm"]);
        let (shape, logits) = (&outputs["logits"].1, floats(&outputs["logits"]));
        let labels = recorded["inputs.labels"].2.as_chunks().0.iter();
        let labelled = labels
            .enumerate()
            .filter(|(_, it)| i64::from_le_bytes(**it) > 0);
        let expected = floats(&recorded["f64.logits"]);
        let rows: Vec<usize> = labelled.map(|(row, _)| row).collect();
        assert_eq!(rows.len() * shape[2], expected.len());
        for (row, expected) in rows.iter().zip(expected.chunks(shape[2])) {
            let ours = &logits[row * shape[2]..(row + 1) * shape[2]];
            let pairs = ours.iter().zip(expected);
            assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < ALLOWED);
        }
    }
}

#[test]
fn replaced_tokens_are_detected_as_by_microsoft() {
    let recorded = read(&fixture("ms/emd_v3").join("io.safetensors"));
    let mut inputs = inputs_of(&recorded);
    let corrupted = inputs.remove("rtd_input_ids").unwrap();
    inputs.insert("input_ids".into(), corrupted);
    inputs.remove("labels");
    let outputs = forward("ms/emd_v3", &inputs, &["--head", "replaced-token"]);
    let (ours, expected) = (
        floats(&outputs["logits"]),
        floats(&recorded["f64.rtd_logits"]),
    );
    let mask = recorded["inputs.attention_mask"]
        .2
        .as_chunks::<8>()
        .0
        .iter();
    for (index, real) in mask.enumerate() {
        assert!(real[0] == 0 || (ours[index] - expected[index]).abs() < ALLOWED);
    }
}

#[test]
fn double_precision_and_inner_states_are_written() {
    let name = "hf/v3_base";
    let recorded = read(&fixture(name).join("io.safetensors"));
    let options = [
        "--dtype",
        "f64",
        "--hidden-states",
        "--attentions",
        "--head",
        "encoder",
    ];
    let outputs = forward(name, &inputs_of(&recorded), &options);
    let last = &outputs["last_hidden_state"];
    assert_eq!(last.0, Dtype::F64);
    let [batch, seq_len, hidden] = last.1[..] else {
        panic!("{:?}", last.1)
    };
    assert_eq!(outputs["attentions.0"].1, [batch, 4, seq_len, seq_len]);
    let deepest = format!("hidden_states.{}", outputs.len() / 2 - 1);
    assert_eq!(outputs[&deepest].2, last.2);
    // Row 0 has no padding.
    let worst = floats(last)
        .iter()
        .zip(floats(&recorded["f64.last_hidden_state"]))
        .take(seq_len * hidden)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(worst < 1e-9, "differs by {worst:e}");
}

/// The batch of `hf/v3_base` with one tensor replaced, and the message that comes of it.
fn refused(name: &str, tensor: (Dtype, Vec<usize>, Vec<u8>)) -> String {
    let recorded = read(&fixture("hf/v3_base").join("io.safetensors"));
    let mut inputs = inputs_of(&recorded);
    inputs.insert(name.into(), tensor);
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    write(&inputs, &input);
    let model = fixture("hf/v3_base");
    let message = fail(&[
        "forward",
        "--model",
        text(&model),
        "--inputs",
        text(&input),
        "--out",
        text(&output),
    ]);
    assert!(message.contains(text(&input)), "{message}");
    assert!(!output.exists());
    message
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let ints = |values: &[i64], shape: &[usize]| {
        let bytes = values.iter().flat_map(|it| it.to_le_bytes()).collect();
        (Dtype::I64, shape.to_vec(), bytes)
    };
    let message = refused("input_ids", ints(&[1, 100_000, 2, 3], &[1, 4]));
    assert!(message.contains("id 100000 at 1"), "{message}");
    let message = refused("input_ids", ints(&[1, -1], &[1, 2]));
    assert!(message.contains("id -1 at 1"), "{message}");
    let message = refused("attention_mask", ints(&[1, 1], &[1, 2]));
    assert!(
        message.contains("`attention_mask` has shape [1, 2]"),
        "{message}"
    );
    let message = refused("input_ids", ints(&[], &[0, 4]));
    assert!(message.contains("is empty"), "{message}");
    let half = (Dtype::F16, vec![1, 2], vec![0; 4]);
    let message = refused("input_ids", half);
    assert!(message.contains("expected whole numbers"), "{message}");
}

#[test]
fn files_that_are_missing_or_damaged_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    let model = fixture("hf/v3_base");
    let arguments = |model: &str, input: &str| -> Vec<String> {
        [
            "forward", "--model", model, "--inputs", input, "--out", input,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let fails = |model: &str, input: &str| {
        let arguments = arguments(model, input);
        fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(fails(text(&model), text(&file)).contains("cannot read"));
    std::fs::write(&file, "nonsense").unwrap();
    assert!(fails(text(&model), text(&file)).contains("is not a valid safetensors file"));
    let recorded = read(&model.join("io.safetensors"));
    write(&inputs_of(&recorded), &file);
    assert!(fails("nowhere", text(&file)).contains("nowhere"));
}
