//! Task heads against transformers and microsoft/DeBERTa: logits, losses and gradients.

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use deberta_model::attention::AttentionMask;
use deberta_model::checkpoint::{CheckpointError, Compatibility, load_task_model, save_task_model};
use deberta_model::heads::classification::{
    DebertaForMultipleChoice, DebertaForSequenceClassification,
};
use deberta_model::heads::losses::{
    classification_loss, multi_label_loss, regression_loss, soft_label_loss,
};
use deberta_model::heads::question_answering::DebertaForQuestionAnswering;
use deberta_model::heads::replaced_token::{DebertaForReplacedTokenDetection, replaced_token_loss};
use deberta_model::heads::token_classification::{
    DebertaForEntityRecognition, DebertaForTokenClassification,
};
use deberta_model::heads::{HeadConfig, ProblemType, TaskModel};
use deberta_model::{DebertaBackend, DebertaConfig, DebertaInput, HfConfig, Tokens};

use crate::support::{
    Fixture, NdArrayF32, NdArrayF64, Tolerances, assert_close, assert_gradients,
    assert_real_rows_close, fixture_dir, mask_pad_from_lengths, on_every_backend, to_f64,
};

on_every_backend! {
    v1_sequence_classification => check_sequence_classification("hf/v1_seqcls");
    v3_sequence_classification => check_sequence_classification("hf/v3_seqcls");
    v3_other_losses_of_a_classifier => check_other_losses();
    v3_sequence_regression => check_regression();
    v1_token_classification => check_token_classification("hf/v1_tokcls");
    v3_token_classification => check_token_classification("hf/v3_tokcls");
    v1_question_answering => check_question_answering("hf/v1_qa");
    v3_question_answering => check_question_answering("hf/v3_qa");
    v3_multiple_choice => check_multiple_choice();
    v3_replaced_token_detection => check_replaced_tokens();
}

fn load<B: Backend, M: TaskModel<B>>(name: &str) -> (M, DebertaConfig, HeadConfig) {
    let (dir, device) = (fixture_dir(name), B::Device::default());
    load_task_model(&dir, Compatibility::Microsoft, &device).unwrap()
}

fn int_list<B: Backend>(fixture: &Fixture, name: &str) -> Tensor<B, 1, Int> {
    let (values, _) = fixture.ints(name);
    Tensor::from_data(values.as_slice(), &B::Device::default())
}

/// Recorded numbers as a matrix in the type of `like`.
fn matrix<B: Backend>(fixture: &Fixture, name: &str, like: &Tensor<B, 2>) -> Tensor<B, 2> {
    let data = TensorData::new(fixture.floats(name).values, like.dims());
    Tensor::from_data(data, (&like.device(), like.dtype()))
}

fn check_sequence_classification<B: AutodiffBackend + DebertaBackend>(
    name: &str,
    tolerances: Tolerances,
) {
    let fixture = Fixture::open(name);
    let (model, config, head) = load::<B, DebertaForSequenceClassification<B>>(name);
    assert_eq!(head.labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
    assert_eq!(head.problem_type(), ProblemType::SingleLabelClassification);

    let logits = model.forward(fixture.model_input(&B::Device::default()));
    let (output, gradient) = (tolerances.output, tolerances.gradient);
    assert_close(
        "logits",
        logits.to_data(),
        &fixture.floats("f64.logits"),
        output,
    );
    let loss = classification_loss(logits, int_list(&fixture, "inputs.labels"));
    assert_close("loss", loss.to_data(), &fixture.floats("f64.loss"), output);
    let checked = assert_gradients(&fixture, &model, &config, loss, gradient, str::to_owned);
    assert!(checked >= 5, "only {checked} gradients recorded");
}

fn check_other_losses<B: AutodiffBackend + DebertaBackend>(tolerances: Tolerances) {
    let fixture = Fixture::open("hf/v3_seqcls");
    let (model, ..) = load::<B, DebertaForSequenceClassification<B>>("hf/v3_seqcls");
    let logits = model.forward(fixture.model_input(&B::Device::default()));
    type Loss<B> = fn(Tensor<B, 2>, Tensor<B, 2>) -> Tensor<B, 1>;
    let losses: [(&str, Loss<B>); 3] = [
        ("multilabel", multi_label_loss),
        ("regression", regression_loss),
        ("soft", soft_label_loss),
    ];
    for (name, loss) in losses {
        let targets = matrix(&fixture, &format!("inputs.labels_{name}"), &logits);
        let loss = loss(logits.clone(), targets);
        let expected = fixture.floats(&format!("f64.loss_{name}"));
        // Soft labels were rounded to f32 after the reference had used them in f32.
        assert_close(name, loss.to_data(), &expected, tolerances.output);
    }
}

fn check_regression<B: AutodiffBackend + DebertaBackend>(tolerances: Tolerances) {
    let name = "hf/v3_seqcls_reg";
    let fixture = Fixture::open(name);
    let (model, config, head) = load::<B, DebertaForSequenceClassification<B>>(name);
    assert_eq!(head.problem_type(), ProblemType::Regression);

    let logits = model.forward(fixture.model_input(&B::Device::default()));
    let (output, gradient) = (tolerances.output, tolerances.gradient);
    assert_close(
        "logits",
        logits.to_data(),
        &fixture.floats("f64.logits"),
        output,
    );
    let targets = matrix(&fixture, "inputs.labels", &logits);
    let loss = regression_loss(logits, targets);
    // The labels in the file are rounded to f32; the reference's loss used them so.
    assert_close("loss", loss.to_data(), &fixture.floats("f64.loss"), output);
    assert_gradients(&fixture, &model, &config, loss, gradient, str::to_owned);
}

fn check_token_classification<B: AutodiffBackend + DebertaBackend>(
    name: &str,
    tolerances: Tolerances,
) {
    let fixture = Fixture::open(name);
    let (model, config, _) = load::<B, DebertaForTokenClassification<B>>(name);
    let logits = model.forward(fixture.model_input(&B::Device::default()));
    let (expected, lengths) = (fixture.floats("f64.logits"), fixture.lengths());
    let (output, gradient) = (tolerances.output, tolerances.gradient);
    assert_real_rows_close("logits", logits.to_data(), &expected, &lengths, output);

    let [batch, seq_len, labels] = logits.dims();
    let logits = logits.reshape([batch * seq_len, labels]);
    let loss = classification_loss(logits, int_list(&fixture, "inputs.labels"));
    assert_close("loss", loss.to_data(), &fixture.floats("f64.loss"), output);
    assert_gradients(&fixture, &model, &config, loss, gradient, str::to_owned);
}

/// The softmax over positions runs over padding too, so Microsoft's padding counts; the recorded
/// gradients have transformers' and are not compared.
fn check_question_answering<B: AutodiffBackend + DebertaBackend>(
    name: &str,
    tolerances: Tolerances,
) {
    let fixture = Fixture::open(name);
    let (model, ..) = load::<B, DebertaForQuestionAnswering<B>>(name);
    let mut input = fixture.model_input(&B::Device::default());
    input.mask = input.mask.as_tensors();
    let spans = model.forward(input);
    let expected = |what: &str| fixture.floats(&format!("f64.ms_padding.{what}"));
    let output = tolerances.output;
    assert_close(
        "start",
        spans.start.to_data(),
        &expected("start_logits"),
        output,
    );
    assert_close("end", spans.end.to_data(), &expected("end_logits"), output);
    let loss = spans.loss(
        int_list(&fixture, "inputs.start_positions"),
        int_list(&fixture, "inputs.end_positions"),
    );
    assert_close("loss", loss.to_data(), &expected("loss"), output);
}

fn check_multiple_choice<B: AutodiffBackend + DebertaBackend>(tolerances: Tolerances) {
    let name = "hf/v3_mc";
    let device = B::Device::default();
    let fixture = Fixture::open(name);
    let (model, config, _) = load::<B, DebertaForMultipleChoice<B>>(name);
    let (ids, shape) = fixture.ints("inputs.input_ids");
    let [questions, choices, seq_len] = shape[..] else {
        panic!("{shape:?}")
    };
    let ids = TensorData::new(ids, [questions * choices, seq_len]);
    let input = DebertaInput {
        mask: AttentionMask::Padding(mask_pad_from_lengths(&fixture.lengths(), seq_len, &device)),
        ..DebertaInput::new(Tensor::from_data(ids, &device))
    };
    let logits = model.forward(input, choices);
    let (output, gradient) = (tolerances.output, tolerances.gradient);
    assert_close(
        "logits",
        logits.to_data(),
        &fixture.floats("f64.logits"),
        output,
    );
    let loss = classification_loss(logits, int_list(&fixture, "inputs.labels"));
    assert_close("loss", loss.to_data(), &fixture.floats("f64.loss"), output);
    assert_gradients(&fixture, &model, &config, loss, gradient, str::to_owned);
}

fn check_replaced_tokens<B: AutodiffBackend + DebertaBackend>(tolerances: Tolerances) {
    let name = "ms/emd_v3";
    let device = B::Device::default();
    let fixture = Fixture::open(name);
    let (model, ..) = load::<B, DebertaForReplacedTokenDetection<B>>(name);
    let input = DebertaInput {
        tokens: Tokens::Ids(fixture.int_matrix("inputs.rtd_input_ids", &device)),
        ..fixture.model_input(&device)
    };
    let logits = model.forward(input);

    let mut expected = fixture.floats("f64.rtd_logits");
    expected.shape.push(1);
    let [batch, seq_len] = logits.dims();
    let lengths = fixture.lengths();
    let data = logits.clone().unsqueeze_dim::<3>(2).to_data();
    assert_real_rows_close("logits", data, &expected, &lengths, tolerances.output);

    // The file lists real tokens only.
    let mut labels = fixture.floats("rtd_labels").values.into_iter();
    let replaced: Vec<bool> = (0..batch * seq_len)
        .map(|index| index % seq_len < lengths[index / seq_len] && labels.next() == Some(1.0))
        .collect();
    assert!(labels.next().is_none() && replaced.contains(&true));
    let replaced = Tensor::from_data(TensorData::new(replaced, [batch, seq_len]), &device);
    let mask_pad = mask_pad_from_lengths(&lengths, seq_len, &device);
    let loss = replaced_token_loss(logits, replaced, mask_pad);
    let expected = fixture.floats("f64.rtd_loss");
    assert_close("loss", loss.to_data(), &expected, tolerances.output);
}

#[test]
fn rows_without_a_label_count_for_nothing() {
    type B = NdArrayF32;
    let device = Default::default();
    let logits = Tensor::<B, 2>::from_data([[2.0, 0.0], [5.0, -5.0], [0.0, 1.0]], &device);
    let loss = |labels: [i32; 3]| -> f64 {
        let labels = Tensor::<B, 1, Int>::from_data(labels, &device);
        to_f64(classification_loss(logits.clone(), labels).into_data())[0]
    };
    let row = |right: f64, wrong: f64| (right.exp() + wrong.exp()).ln() - right;
    assert!((loss([0, -100, 1]) - (row(2.0, 0.0) + row(1.0, 0.0)) / 2.0).abs() < 1e-6);
    assert_eq!(loss([-1, -100, -1]), 0.0);
}

#[test]
fn binary_losses_stay_finite_and_exact_far_from_zero() {
    type B = NdArrayF64;
    let device = burn::backend::ndarray::NdArrayDevice::default();
    let tensor = |values: [[f64; 3]; 1]| {
        Tensor::<B, 2>::from_data(
            TensorData::from(values),
            (&device, burn::tensor::DType::F64),
        )
    };
    let loss = multi_label_loss(tensor([[1e3, -1e3, 0.0]]), tensor([[0.0, 0.0, 0.5]]));
    let expected = (1e3 + 0.0 + std::f64::consts::LN_2) / 3.0;
    assert!((to_f64(loss.into_data())[0] - expected).abs() < 1e-9);
}

/// Microsoft's head for entities equals the formula on the states of the encoder.
#[test]
fn microsofts_entity_head_follows_its_formula() {
    type B = NdArrayF64;
    let device = Default::default();
    let fixture = Fixture::open("hf/v3_tokcls");
    let config = load::<B, DebertaForTokenClassification<B>>("hf/v3_tokcls").1;
    let labels = ["O", "B", "I"].map(str::to_owned).to_vec();
    let head = HeadConfig::new(&config, labels);
    let model = DebertaForEntityRecognition::<B>::init(&config, &head, 7, &device).unwrap();
    let saved = tempfile::tempdir().unwrap();
    save_task_model(&model, &config, &head, saved.path()).unwrap();
    let bytes = std::fs::read(saved.path().join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f64> {
        let data = file.tensor(name).unwrap().data();
        data.chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect()
    };
    let (proj, classifier) = (values("proj.weight"), values("classifier.weight"));

    let states = to_f64(
        model
            .deberta
            .forward(fixture.model_input(&device))
            .into_data(),
    );
    let logits = to_f64(model.forward(fixture.model_input(&device)).into_data());
    let hidden = config.hidden_size;
    let dot = |row: &[f64], x: &[f64]| -> f64 { row.iter().zip(x).map(|(a, b)| a * b).sum() };
    // Biases start at zero. GELU of small numbers by its series: x/2 + x²/√(2π) - x⁴/(6√(2π)).
    let gelu = |x: f64| {
        let root = (2.0 * std::f64::consts::PI).sqrt();
        x / 2.0 + x * x / root - x.powi(4) / (6.0 * root) + x.powi(6) / (40.0 * root)
    };
    for (state, logits) in states.chunks(hidden).zip(logits.chunks(3)).take(31) {
        let inner: Vec<f64> = proj
            .chunks(hidden)
            .map(|row| gelu(dot(row, state)))
            .collect();
        for (row, logit) in classifier.chunks(hidden).zip(logits) {
            assert!((dot(row, &inner) - logit).abs() < 1e-6);
        }
    }
}

/// Saves every kind of head and reads it back: the same file, the same configuration.
#[test]
fn saved_heads_are_read_back_unchanged() {
    fn check<M: TaskModel<NdArrayF32>>(name: &str) {
        let (model, config, head) = load::<NdArrayF32, M>(name);
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        save_task_model(&model, &config, &head, dirs[0].path()).unwrap();
        let device = Default::default();
        let reread: (M, _, _) =
            load_task_model(dirs[0].path(), Compatibility::Microsoft, &device).unwrap();
        assert_eq!((&reread.1, &reread.2), (&config, &head), "{name}");
        save_task_model(&reread.0, &config, &head, dirs[1].path()).unwrap();
        for file in ["config.json", "model.safetensors"] {
            let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).unwrap();
            assert!(read(&dirs[0]) == read(&dirs[1]), "{name}: {file} changed");
        }
        if name.starts_with("hf/") {
            let original = std::fs::read(fixture_dir(name).join("model.safetensors")).unwrap();
            let saved = std::fs::read(dirs[0].path().join("model.safetensors")).unwrap();
            let original = safetensors::SafeTensors::deserialize(&original).unwrap();
            let saved = safetensors::SafeTensors::deserialize(&saved).unwrap();
            assert_eq!(original.len(), saved.len(), "{name}");
            for (tensor, view) in original.iter() {
                assert_eq!(saved.tensor(tensor).unwrap(), view, "{name}: {tensor}");
            }
        }
    }
    check::<DebertaForSequenceClassification<_>>("hf/v1_seqcls");
    check::<DebertaForSequenceClassification<_>>("hf/v3_seqcls_reg");
    check::<DebertaForTokenClassification<_>>("hf/v1_tokcls");
    check::<DebertaForQuestionAnswering<_>>("hf/v3_qa");
    check::<DebertaForMultipleChoice<_>>("hf/v3_mc");
    check::<DebertaForReplacedTokenDetection<_>>("ms/emd_v3");
}

/// transformers makes as many outputs as there are labels, and then finds weights of two.
#[test]
fn question_answering_is_saved_with_two_labels() {
    type M = DebertaForQuestionAnswering<NdArrayF32>;
    let (model, config, head) = load::<NdArrayF32, M>("hf/v3_qa");
    let saved = tempfile::tempdir().unwrap();
    let three = head.with_outputs(3);
    assert_eq!(three.labels.len(), 3);
    save_task_model(&model, &config, &three, saved.path()).unwrap();
    let reread = HfConfig::open(&saved.path().join("config.json")).unwrap();
    assert_eq!(
        reread.to_head_config().unwrap().labels,
        ["LABEL_0", "LABEL_1"]
    );
}

#[test]
fn a_missing_head_is_listed_by_name() {
    type M = DebertaForQuestionAnswering<NdArrayF32>;
    let dir = fixture_dir("hf/v3_tokcls");
    let result: Result<(M, _, _), _> =
        load_task_model(&dir, Compatibility::Microsoft, &Default::default());
    let Err(CheckpointError::Mismatch { missing, .. }) = result else {
        panic!("loaded without a head");
    };
    let mut missing = missing;
    missing.sort();
    assert_eq!(missing, ["qa_outputs.bias", "qa_outputs.weight"]);
}
