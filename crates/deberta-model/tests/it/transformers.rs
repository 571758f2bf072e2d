//! What we write, read by the real transformers.
//!
//! Set `DEBERTA_PYTHON` to a Python that has torch, transformers and safetensors.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use burn::backend::NdArray;
use deberta_model::checkpoint::{
    Compatibility, ConvertOptions, FloatType, SaveOptions, WeightsFormat, convert, load_masked_lm,
    load_model, load_task_model, save_masked_lm_with, save_model, save_task_model_with,
};
use deberta_model::heads::TaskModel;
use deberta_model::heads::classification::{
    DebertaForMultipleChoice, DebertaForSequenceClassification,
};
use deberta_model::heads::question_answering::DebertaForQuestionAnswering;
use deberta_model::heads::token_classification::DebertaForTokenClassification;

use crate::support::fixture_dir;

type B = NdArray<f32>;

const COMPATIBILITY: Compatibility = Compatibility::HuggingFace;

fn save_encoder(source: &Path, target: &Path, options: &SaveOptions) {
    let (model, config) = load_model::<B>(source, COMPATIBILITY, &Default::default()).unwrap();
    save_model(&model, &config, target, options).unwrap();
}

fn save_masked(source: &Path, target: &Path, options: &SaveOptions) {
    let (model, config) = load_masked_lm::<B>(source, COMPATIBILITY, &Default::default()).unwrap();
    save_masked_lm_with(&model, &config, target, options).unwrap();
}

fn save_task<M: TaskModel<B>>(source: &Path, target: &Path, options: &SaveOptions) {
    let (model, config, head): (M, _, _) =
        load_task_model(source, COMPATIBILITY, &Default::default()).unwrap();
    save_task_model_with(&model, &config, &head, target, options).unwrap();
}

/// Loads a folder and saves it as another.
type Resave = fn(&Path, &Path, &SaveOptions);

/// Every architecture, and every head that transformers has.
const FIXTURES: [(&str, Resave); 20] = [
    ("v1_base_rel", save_encoder),
    ("v1_base_abs_types", save_encoder),
    ("v1_base_span", save_encoder),
    ("v2_base_conv", save_encoder),
    ("v2_base_noshare", save_encoder),
    ("v2_base_embed_proj", save_encoder),
    ("v3_base", save_encoder),
    ("v3_base_c2p_only", save_encoder),
    ("v3_base_p2c_only", save_encoder),
    ("v1_mlm_legacy", save_masked),
    ("v1_mlm_new", save_masked),
    ("v3_mlm_legacy", save_masked),
    ("v3_mlm_new", save_masked),
    (
        "v1_seqcls",
        save_task::<DebertaForSequenceClassification<B>>,
    ),
    (
        "v3_seqcls",
        save_task::<DebertaForSequenceClassification<B>>,
    ),
    ("v1_tokcls", save_task::<DebertaForTokenClassification<B>>),
    ("v3_tokcls", save_task::<DebertaForTokenClassification<B>>),
    ("v1_qa", save_task::<DebertaForQuestionAnswering<B>>),
    ("v3_qa", save_task::<DebertaForQuestionAnswering<B>>),
    ("v3_mc", save_task::<DebertaForMultipleChoice<B>>),
];

#[test]
fn transformers_reads_every_architecture_and_head() {
    let Some(python) = std::env::var_os("DEBERTA_PYTHON") else {
        eprintln!("skipped: DEBERTA_PYTHON is not set");
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let mut arguments = Vec::new();
    let mut add = |name: &str, how: &str, write: &dyn Fn(&Path, &Path)| {
        let (source, target) = (
            fixture_dir("hf").join(name),
            out.path().join(name).join(how),
        );
        write(&source, &target);
        let mut pair = OsString::from(target);
        pair.push("=");
        pair.push(source);
        arguments.push(pair);
    };
    for (name, resave) in FIXTURES {
        let parts = SaveOptions::new().max_part_bytes(30_000);
        let pytorch = SaveOptions::new().format(WeightsFormat::PyTorch);
        let half = SaveOptions::new().dtype(FloatType::Bf16);
        for (how, options) in [
            ("saved", SaveOptions::new()),
            ("saved-in-parts", parts),
            ("saved-for-pytorch", pytorch),
            ("saved-in-half", half),
        ] {
            add(name, how, &|source, target| {
                resave(source, target, &options)
            });
        }
        let convert_with = |options: ConvertOptions| {
            move |source: &Path, target: &Path| {
                convert(source, target, &options).unwrap();
            }
        };
        add(name, "converted", &convert_with(ConvertOptions::new()));
        let pytorch = ConvertOptions::new()
            .dtype(FloatType::F16)
            .format(WeightsFormat::PyTorch)
            .max_part_bytes(30_000);
        add(name, "converted-for-pytorch", &convert_with(pytorch));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new(python)
        .arg(root.join("scripts/check_with_transformers.py"))
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .status();
    assert!(status.unwrap().success());
}
