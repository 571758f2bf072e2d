"""Compares the pipelines of this program with those of the transformers library, on random checkpoints.

    pip install torch==2.15.0 transformers==5.23.0 safetensors numpy
    pip install --target OLD transformers==4.57.3 huggingface_hub==0.36.2 requests tokenizers==0.22.2
    cargo build --release && TRANSFORMERS_4=OLD python3 scripts/pipelines.py [--deberta FILE] [--fixtures FOLDER]

Release 5 has no question answering, so the script calls itself with the older release for that, if TRANSFORMERS_4
says where it is. 200 texts (long, empty, in many scripts, with emoji) go through both programs: labels and offsets must be
the same, scores within 1e-5. With --fixtures some of them are kept, with the answers, for
`cargo test`; `cargo xtask fixtures pipelines` does so.

Where transformers is not followed, and so not compared:
- tokenization: `spm.model` is run with its own normalisation rules, release 5 replaces them by NFC. Both sides read the
  same `tokenizer.json` here.
- fill-mask: transformers has no enhanced mask decoder, so its answers differ from those of Microsoft's code, which
  crates/deberta-model/tests compare with.
- pairs whose second text is empty: transformers takes the first alone, this program adds the marker between them.
- zero-shot classification with several labels takes the logit of the label called contradiction; transformers takes
  the first label, whatever it is called.
- token classification without aggregation: transformers cuts long texts off, this program takes windows, so only texts
  that fit are compared.
"""

import argparse
import collections
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers

TOLERANCE = 1e-5
MAX_LENGTH = 48
STRIDE = 12
PHRASES = [
    "the quick brown fox", "jumps over the lazy dog", "in Berlin", "Ada Lovelace", "New York City", "on 3 May 1997,",
    "(see page 12)", "don't worry", "e-mail: a@b.example", "C++ & Rust", "100% sure!", "naïve café", "Straße nach Köln",
    "Привет, мир", "это хорошо", "你好世界", "我爱北京天安门", "こんにちは", "한국어 문장", "مرحبا بالعالم", "שלום עולם",
    "नमस्ते दुनिया", "สวัสดี", "Γειά σου", "🙂", "👩‍👩‍👧‍👦 family", "🇩🇪🇫🇷", "e\u0301te\u0301", "ﬁne ½ ①", "tab\there", "a  b   c",
    "\u00a0nbsp", "zero\u200bwidth", "UPPER lower", "supercalifragilisticexpialidocious", "...", "--", "\"quoted\"", "x",
]
LABELS = ["sport", "politics and law", "科学"]


def texts():
    """200 texts, the same everywhere."""
    rng = random.Random(7)
    odd = ["", " ", "\t", "🙂", "a", "  leading and trailing  ", "line\nbreak", "x" * 300, "🙂" * 80, "word " * 200]
    made = [" ".join(rng.choices(PHRASES, k=rng.randint(1, 12))) for _ in range(160)]
    long = [" ".join(rng.choices(PHRASES, k=rng.randint(30, 90))) for _ in range(200 - 160 - len(odd))]
    everything = odd + made + long
    rng.shuffle(everything)
    return everything


def make_tokenizer(folder):
    """A unigram model with the steps of DeBERTa-v3's `tokenizer.json`; Hebrew and Thai are unknown to it."""
    words = "".join(unicodedata.normalize("NFKC", it) + " " for it in PHRASES * 3 + LABELS + ["This example is about."])
    counts = collections.Counter()
    for word in words.split():
        word = "▁" + word
        counts.update(word[at : at + size] for size in range(1, 7) for at in range(len(word) + 1 - size))
    known = {it: count for it, count in counts.items() if not any("\u0590" <= c <= "\u0e7f" for c in it)}
    singles = sorted(it for it in known if len(it) == 1)
    longer = sorted((it for it in known if len(it) > 1), key=lambda it: (-known[it] * len(it), it))[:150]
    total = sum(known[it] for it in singles + longer)
    special = [(it, 0.0) for it in ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]]
    pieces = special + [(it, math.log(known[it] / total)) for it in singles + longer]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = tokenizers.normalizers.NFKC()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.add_special_tokens([it for it, _ in special])
    tokenizer.add_special_tokens(["[MASK]"])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    sidecar = {"model_max_length": MAX_LENGTH, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(sidecar) + "\n")
    return tokenizer.get_vocab_size()


def open_tokenizer(folder):
    names = dict(pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", mask_token="[MASK]")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), model_max_length=MAX_LENGTH, padding_side="right", **names
    )


def make_checkpoint(folder, tokenizer, vocab, family, ending, labels=None, problem_type=None):
    common = dict(
        vocab_size=vocab, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
        relative_attention=True, position_biased_input=False, type_vocab_size=0, max_relative_positions=-1,
        max_position_embeddings=64, pos_att_type=["p2c", "c2p"], layer_norm_eps=1e-7, pad_token_id=0, legacy=False,
    )
    if labels:
        common.update(id2label=dict(enumerate(labels)), label2id={it: id for id, it in enumerate(labels)})
    if problem_type:
        common.update(problem_type=problem_type)
    if family == "Deberta":
        config = transformers.DebertaConfig(**common)
    else:
        extra = dict(position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True)
        config = transformers.DebertaV2Config(**common, **extra)
    model = getattr(transformers, family + ending)(config).eval()
    generator = torch.Generator().manual_seed(len(ending) + len(labels or []) + len(problem_type or ""))
    with torch.no_grad():  # by name, so that every release makes the same
        for name, parameter in sorted(model.named_parameters()):
            head = name.startswith(("classifier", "qa_outputs"))
            noise = torch.randn(parameter.shape, generator=generator)
            offset = 1.0 if "LayerNorm.weight" in name else 0.0
            parameter.copy_(offset + noise * (1.0 if head else 0.25))
    model.save_pretrained(folder)
    for file in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(tokenizer / file, folder / file)
    return model


class Comparison:
    def __init__(self, program, family, fixtures):
        self.program = program
        self.family = family
        self.fixtures = fixtures
        self.failed = False
        self.folder = Path(tempfile.mkdtemp())
        self.vocab = make_tokenizer(self.folder / "tokenizer")

    def checkpoint(self, name, ending, **head):
        folder = self.folder / name
        model = make_checkpoint(folder, self.folder / "tokenizer", self.vocab, self.family, ending, **head)
        if self.fixtures:
            target = self.fixtures / name
            target.mkdir(parents=True, exist_ok=True)
            for file in ["config.json", "model.safetensors"]:
                shutil.copy(folder / file, target / file)
            for file in ["tokenizer.json", "tokenizer_config.json"]:
                shutil.copy(folder / file, self.fixtures / file)
        return folder, model, open_tokenizer(folder)

    def ours(self, command, folder, records, *options):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        run = subprocess.run(
            [self.program, command, "--model", str(folder), "--input-format", "jsonl", "--format", "jsonl", *options],
            input=lines, capture_output=True, text=True,
        )
        if run.returncode != 0:
            sys.exit(f"{command} {options}: {run.stderr}")
        return [json.loads(line) for line in run.stdout.splitlines()]

    def compare(self, name, records, theirs, ours, keep=()):
        """Both are lists of lists of (label or text, offsets, score)."""
        worst, wrong = 0.0, []
        for index, (a, b) in enumerate(zip(theirs, ours, strict=True)):
            if [it[:-1] for it in a] != [it[:-1] for it in b]:
                close = len(a) == len(b) and sorted(it[:-1] for it in a) == sorted(it[:-1] for it in b)
                if not (close and all(abs(x[-1] - y[-1]) <= TOLERANCE for x, y in zip(a, b))):
                    wrong.append(index)  # not only two equal scores in another order
                    continue
            worst = max([worst, *(abs(x[-1] - y[-1]) for x, y in zip(a, b))])
        verdict = "ok" if not wrong and worst <= TOLERANCE else "DIFFERS"
        self.failed |= verdict != "ok"
        answers = sum(map(len, theirs))
        print(f"| {self.family:9} | {name:44} | {len(theirs):6} | {answers:7} | {worst:.1e} | {verdict} |", flush=True)
        for index in wrong[:3]:
            print(f"    {records[index]!r}\n    theirs {theirs[index]}\n    ours   {ours[index]}")
        if self.fixtures:
            picked = [at for at in range(len(records)) if at % (23 if len(records) > 100 else 7) == 5]
            cases = [{"input": records[at], "answers": theirs[at]} for at in picked]
            path = self.fixtures / f"{name.replace(' ', '_').replace(',', '')}.json"
            path.write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")


def pairs_of(labels):
    return [(it["label"], it["score"]) for it in labels]


def classify(check, inputs):
    kinds = {
        "softmax": dict(labels=["negative", "neutral", "positive"]),
        "sigmoid": dict(labels=["toxic", "spam"], problem_type="multi_label_classification"),
        "regression": dict(labels=["LABEL_0"], problem_type="regression"),
        "one label": dict(labels=["relevant"]),
    }
    for kind, head in kinds.items():
        folder, model, tokenizer = check.checkpoint(f"classify_{kind.replace(' ', '_')}", "ForSequenceClassification", **head)
        pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
        theirs = [pairs_of(it) for it in pipe(inputs, truncation=True, top_k=None)]
        records = [{"text": it} for it in inputs]
        ours = [pairs_of(it["labels"]) for it in check.ours("classify", folder, records, "--top-k", "9")]
        check.compare(f"classify {kind}", records, theirs, ours)
        if kind not in ("softmax", "one label"):
            continue
        if kind == "one label":  # pairs that fit, as documents are cut in another way
            inputs = sorted(inputs, key=len)[:81]
        twos = [{"text": a, "text_pair": b} for a, b in zip(inputs, inputs[1:] + inputs[:1]) if b]
        if kind == "one label":
            twos = [it for it in twos if len(tokenizer(it["text"], it["text_pair"])["input_ids"]) <= MAX_LENGTH]
        theirs = [pairs_of(pipe(it, truncation=True, top_k=None)) for it in twos]
        if kind == "softmax":
            ours = [pairs_of(it["labels"]) for it in check.ours("classify", folder, twos, "--pair", "--top-k", "9")]
            check.compare("classify pairs", twos, theirs, ours)
            continue
        pairs = [{"query": it["text"], "document": it["text_pair"]} for it in twos]
        ours = [[("relevant", it["score"])] for it in check.ours("rerank", folder, pairs)]
        check.compare("rerank", pairs, theirs, ours)


def zero_shot(check, inputs):
    inputs = [it for it in inputs if it]  # transformers refuses an empty text
    kinds = {
        "three labels": ["contradiction", "entailment", "neutral"],
        "two labels": ["entailment", "not_entailment"],
    }
    for kind, labels in kinds.items():
        name = f"zero_shot_{kind.replace(' ', '_')}"
        folder, model, tokenizer = check.checkpoint(name, "ForSequenceClassification", labels=labels)
        pipe = transformers.pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
        template = "This example is about {}."
        for multi in [False, True]:
            answers = pipe(inputs, candidate_labels=LABELS, hypothesis_template=template, multi_label=multi)
            theirs = [list(zip(it["labels"], it["scores"])) for it in answers]
            options = ["--labels", ",".join(LABELS), "--template", template, *["--multi-label"] * multi]
            records = [{"text": it} for it in inputs]
            ours = [pairs_of(it["labels"]) for it in check.ours("zero-shot", folder, records, *options)]
            check.compare(f"zero-shot {kind}{', multi-label' if multi else ''}", records, theirs, ours)


def ner(check, inputs):
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
    folder, model, tokenizer = check.checkpoint("ner", "ForTokenClassification", labels=labels)
    pipe = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")
    fits = [it for it in inputs if len(tokenizer(it)["input_ids"]) <= MAX_LENGTH]
    for aggregation in ["none", "simple", "first", "max", "average"]:
        windows = {} if aggregation == "none" else {"stride": STRIDE}
        chosen = fits if aggregation == "none" else inputs
        options = ["--aggregate", aggregation, "--stride", str(STRIDE)]
        label = "entity" if aggregation == "none" else "entity_group"
        theirs = [
            [(it[label], it["start"], it["end"], float(it["score"])) for it in answer]
            for answer in (pipe(text, aggregation_strategy=aggregation, **windows) for text in chosen)
        ]
        records = [{"text": it} for it in chosen]
        ours = [
            [(it["label"], it["start"], it["end"], it["score"]) for it in answer["entities"]]
            for answer in check.ours("ner", folder, records, *options)
        ]
        check.compare(f"ner {aggregation}", records, theirs, ours)


def question_answering(check, inputs):
    folder, model, tokenizer = check.checkpoint("qa", "ForQuestionAnswering")
    pipe = transformers.pipeline("question-answering", model=model, tokenizer=tokenizer, device="cpu")
    questions = ["Who is Ada?", "在哪里?", "What 🙂", "Where is Berlin on the map"]
    # transformers refuses an empty context
    records = [{"question": questions[at % 4], "context": it} for at, it in enumerate(inputs) if it.strip()]
    for name, options, settings in [
        ("best", [], {}),
        ("five best, no answer", ["--top-k", "5", "--no-answer"], dict(top_k=5, handle_impossible_answer=True)),
        ("short, by token", ["--top-k", "3", "--max-answer-tokens", "4", "--exact-tokens"],
         dict(top_k=3, max_answer_len=4, align_to_words=False)),
    ]:
        theirs = []
        for record in records:
            answers = pipe(**record, **settings)
            answers = answers if isinstance(answers, list) else [answers]
            found = [(it["answer"], int(it["start"]), int(it["end"]), float(it["score"])) for it in answers]
            theirs.append([it for it in found if it[-1] > 0])  # the first marker, if a context has few spans
        ours = [
            [(it["text"], it["start"], it["end"], it["score"]) for it in answer["answers"]]
            for answer in check.ours("qa", folder, records, *options)
        ]
        check.compare(f"qa {name}", records, theirs, ours)


def features(check, inputs):
    folder, model, tokenizer = check.checkpoint("embed", "Model")
    pipe = transformers.pipeline("feature-extraction", model=model, tokenizer=tokenizer, device="cpu")
    states = [np.array(it[0]) for it in pipe(inputs, truncation=True)]
    records = [{"text": it} for it in inputs]
    for pool, vector in {"mean": lambda it: it.mean(0), "cls": lambda it: it[0]}.items():
        theirs = [[(at, it / np.linalg.norm(vector(state))) for at, it in enumerate(vector(state))] for state in states]
        ours = [list(enumerate(it["embedding"])) for it in check.ours("embed", folder, records, "--pool", pool)]
        check.compare(f"embed {pool}", records, theirs, ours)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--deberta", default=os.environ.get("DEBERTA_BIN", "target/release/deberta"))
    parser.add_argument("--fixtures", type=Path, default=os.environ.get("GOLDEN_OUT"), help="folder to keep answers in")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    is_old = transformers.__version__.startswith("4.")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    print("| family    | pipeline                                     | inputs | answers | worst   |    |")
    print("|---|---|---|---|---|---|")
    failed = False
    for family in ["DebertaV2", "Deberta"]:
        fixtures = arguments.fixtures if family == "DebertaV2" else None
        check = Comparison(arguments.deberta, family, fixtures)
        if is_old:
            question_answering(check, texts())
        else:
            for task in [classify, zero_shot, ner, features]:
                task(check, texts())
        failed |= check.failed
        shutil.rmtree(check.folder)
    old = os.environ.get("TRANSFORMERS_4")
    if old and not is_old:
        again = subprocess.run([sys.executable, *sys.argv], env={**os.environ, "PYTHONPATH": old})
        failed |= again.returncode != 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
