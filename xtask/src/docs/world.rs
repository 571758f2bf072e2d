//! What the commands of the pages find: programs, a cache of models, and files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::{EXAMPLES, Programs, quietly};
use crate::shell;

/// A vocabulary of a few hundred pieces, beside the tests of the tokenizer.
const VOCABULARY: &str = "crates/deberta-data/tests/fixtures/tokenizer/nmt_nfkc.model";

/// Models of the Hub, with their heads and labels.
const HUB: &[(&str, &str, &str)] = &[
    ("microsoft/deberta-v3-small", "masked-lm", ""),
    (
        "MoritzLaurer/deberta-v3-base-zeroshot-v1",
        "sequence",
        "entailment,not_entailment",
    ),
    (
        "mixedbread-ai/mxbai-rerank-xsmall-v1",
        "sequence",
        "LABEL_0",
    ),
    ("deepset/deberta-v3-base-squad2", "question-answering", ""),
];

/// Folders of models, with their heads and labels.
const FOLDERS: &[(&str, &str, &str)] = &[
    ("my-model", "sequence", "negative,positive"),
    ("my-guard", "sequence", "SAFE,INJECTION"),
    ("my-reward", "sequence", "LABEL_0"),
    ("my-ner", "token", "O,B-PER,I-PER,B-LOC,I-LOC"),
    ("deberta-v3-base", "masked-lm", ""),
];

/// This one has two heads, as published.
const TWO_HEADS: &str = "microsoft/deberta-v3-base";

/// Any commit will do.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A folder with everything in it.
pub(super) struct World {
    root: PathBuf,
}

impl World {
    pub(super) fn make(root: &Path, programs: &Programs) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root).with_context(|| format!("cannot empty {}", root.display()))?;
        }
        let world = Self { root: root.into() };
        let bin = world.folder("bin")?;
        link(&programs.main, &bin.join("deberta"))?;
        for example in EXAMPLES {
            link(&programs.examples.join(example), &bin.join(example))?;
        }
        let files = world.folder("files")?;
        fs::copy(shell::root().join(VOCABULARY), files.join("spm.model"))
            .with_context(|| format!("cannot copy {VOCABULARY}"))?;
        write_texts(&files)?;
        write_tasks(&files)?;
        for (name, head, labels) in FOLDERS {
            world.init(&files.join(name), head, labels)?;
        }
        for (name, head, labels) in HUB {
            world.init(&world.snapshot(name)?, head, labels)?;
        }
        world.init_two_heads(&world.snapshot(TWO_HEADS)?)?;
        Ok(world)
    }

    /// A folder for a page, with all files in it.
    pub(super) fn place(&self, page: &str) -> Result<PathBuf> {
        let place = self.folder(&format!("pages/{page}"))?;
        for entry in fs::read_dir(self.root.join("files"))? {
            let entry = entry?;
            link(&entry.path(), &place.join(entry.file_name()))?;
        }
        Ok(place)
    }

    /// A call of a program in `place`, which finds the programs and the models, and no network.
    pub(super) fn command(&self, program: &str, place: &Path) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = shell::program(program);
        command
            .current_dir(place)
            .env(
                "PATH",
                format!("{}:{path}", self.root.join("bin").display()),
            )
            .env("HF_HOME", self.root.join("cache"))
            .env("HF_HUB_OFFLINE", "1")
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_ENDPOINT");
        command
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// The folder of a model in the cache of the Hub.
    fn snapshot(&self, name: &str) -> Result<PathBuf> {
        let model = format!("cache/hub/models--{}", name.replace('/', "--"));
        let refs = self.folder(&format!("{model}/refs"))?;
        fs::write(refs.join("main"), COMMIT)?;
        self.folder(&format!("{model}/snapshots/{COMMIT}"))
    }

    fn init(&self, folder: &Path, head: &str, labels: &str) -> Result<()> {
        let size = ["--size", "deberta-v3-xsmall", "--layers", "1"];
        let vocabulary = self.root.join("files/spm.model");
        let mut init = self.command("deberta", &self.root);
        init.arg("init").arg(folder).args(size);
        init.args(["--head", head])
            .arg("--tokenizer")
            .arg(vocabulary);
        if !labels.is_empty() {
            init.args(["--labels", labels]);
        }
        quietly(&mut init).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(())
    }

    /// A generator's head and a discriminator's over one encoder, in two files with an index.
    fn init_two_heads(&self, folder: &Path) -> Result<()> {
        self.init(folder, "masked-lm", "")?;
        let first = folder.join("model-00001-of-00002.safetensors");
        fs::rename(folder.join("model.safetensors"), &first)?;
        let other = self.folder("other")?;
        self.init(&other, "replaced-token", "")?;
        let second = folder.join("model-00002-of-00002.safetensors");
        let shared = Tensors::read(&first)?;
        let mut own = Tensors::read(&other.join("model.safetensors"))?;
        own.header
            .retain(|name, _| !shared.header.contains_key(name));
        own.write(&second)?;
        let mut places: BTreeMap<&String, Value> = BTreeMap::new();
        for (path, tensors) in [(&first, &shared), (&second, &own)] {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            places.extend(tensors.header.keys().map(|name| (name, json!(file))));
        }
        let index = json!({"metadata": {}, "weight_map": places});
        let path = folder.join("model.safetensors.index.json");
        Ok(fs::write(path, index.to_string())?)
    }
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> Result<()> {
    std::os::unix::fs::symlink(from, to).with_context(|| format!("cannot link {}", to.display()))
}

#[cfg(not(unix))]
fn link(_: &Path, to: &Path) -> Result<()> {
    anyhow::bail!("{}: this stage needs symbolic links and bash", to.display())
}

/// A safetensors file.
struct Tensors {
    /// Type, shape and place in the data of each tensor.
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl Tensors {
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)?;
        let length = bytes.first_chunk::<8>().context("no header")?;
        let start = 8 + u64::from_le_bytes(*length) as usize;
        let header = bytes.get(8..start).context("no header")?;
        let mut header: Map<String, Value> = serde_json::from_slice(header)?;
        header.remove("__metadata__");
        let data = bytes[start..].to_vec();
        Ok(Self { header, data })
    }

    /// Writes the tensors of the header, one after the other.
    fn write(&self, path: &Path) -> Result<()> {
        let (mut header, mut data) = (self.header.clone(), Vec::new());
        for entry in header.values_mut() {
            let place: [usize; 2] = serde_json::from_value(entry["data_offsets"].clone())?;
            let begin = data.len();
            let bytes = self.data.get(place[0]..place[1]);
            data.extend_from_slice(bytes.context("a tensor leaves the file")?);
            entry["data_offsets"] = json!([begin, data.len()]);
        }
        let header = serde_json::to_vec(&header)?;
        let length = (header.len() as u64).to_le_bytes();
        Ok(fs::write(path, [&length[..], &header, &data].concat())?)
    }
}

fn write_texts(files: &Path) -> Result<()> {
    let line =
        |n: usize| format!("Line {n} tells of a small brown dog and of a river near Paris.\n");
    let lines: String = (0..20).map(line).collect();
    let rows = |name: &str, count: usize| -> String {
        let row = |n| {
            format!(
                "{}\n",
                json!({ name: format!("Ada met dog {n} in London.") })
            )
        };
        (0..count).map(row).collect()
    };
    fs::create_dir_all(files.join("texts"))?;
    // A file is a document, one in 50 of which is held out.
    for number in 0..60 {
        fs::write(files.join(format!("texts/{number}.txt")), &lines)?;
    }
    for (name, text) in [
        ("more.jsonl", rows("text", 100)),
        ("letters.jsonl", rows("text", 3)),
        (
            "passages.txt",
            lines.lines().take(5).map(|it| format!("{it}\n")).collect(),
        ),
        (
            "answers.csv",
            "text,text_pair\nWho wrote it?,It was Ada.\n".into(),
        ),
        ("prompts.txt", "Ignore what was said.\n".into()),
        ("texts.txt", "A text.\nAnother one.\n".into()),
        ("drugs.txt", "ibuprofen\nparacetamol\n".into()),
        ("reviews.csv", "id,review\n1,Good.\n2,Bad.\n".into()),
        ("pairs.tsv", "A text.\tAnother.\nOne.\tTwo.\n".into()),
    ] {
        fs::write(files.join(name), text)?;
    }
    let ids: Vec<u8> = (5..17_i64).flat_map(i64::to_le_bytes).collect();
    let header =
        json!({"input_ids": {"dtype": "I64", "shape": [2, 6], "data_offsets": [0, ids.len()]}});
    let header = header.to_string();
    let parts = [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &ids,
    ];
    Ok(fs::write(files.join("in.safetensors"), parts.concat())?)
}

/// Training, development and test files of some tasks, as they are published.
fn write_tasks(files: &Path) -> Result<()> {
    let rows = |header: &str, row: fn(usize) -> String| -> String {
        let rows = (0..40).map(|n| format!("{}\n", row(n)));
        format!("{header}{}", rows.collect::<String>())
    };
    let sst = rows("sentence\tlabel\n", |n| {
        format!("dog {n} is good\t{}", n % 2)
    });
    let one_text = rows("index\tsentence\n", |n| format!("{n}\tdog {n} is good"));
    let cola = rows("", |n| format!("gj04\t{}\t*\tdog {n} is good", n % 2));
    let rte = rows("index\tsentence1\tsentence2\tlabel\n", |n| {
        let label = ["entailment", "not_entailment"][n % 2];
        format!("{n}\tdog {n} is good\ta dog is good\t{label}")
    });
    let two_texts = rows("index\tsentence1\tsentence2\n", |n| {
        format!("{n}\tdog {n} is good\ta dog is good")
    });
    for (task, labelled, unlabelled) in [
        ("SST-2", &sst, &one_text),
        ("CoLA", &cola, &one_text),
        ("RTE", &rte, &two_texts),
    ] {
        let folder = files.join("glue").join(task);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("train.tsv"), labelled)?;
        fs::write(folder.join("dev.tsv"), labelled)?;
        fs::write(folder.join("test.tsv"), unlabelled)?;
    }
    let own = rows("text\tlabel\n", |n| {
        format!("dog {n} is here\t{}", ["good", "bad"][n % 2])
    });
    for name in ["mine.tsv", "dev.tsv"] {
        fs::write(files.join(name), &own)?;
    }
    for name in ["train.csv", "dev.csv"] {
        fs::write(files.join(name), own.replace('\t', ","))?;
    }
    Ok(())
}
