"""Measures `deberta classify` beside the text-classification pipeline of transformers, on the same texts and weights.

    pip install torch==2.15.0 transformers==5.24.0 safetensors
    cargo build --release
    python3 scripts/classify_speed.py make WORK --spm spm.model --texts SST-2/train.tsv SST-2/dev.tsv
    python3 scripts/classify_speed.py choose WORK      # the best batch size of transformers, on a few lines
    python3 scripts/classify_speed.py compare WORK     # outputs, and the times of both in turns
    python3 scripts/classify_speed.py stream WORK      # 100,000 lines through `deberta classify`, and its memory

WORK is a folder for all of it. `make` writes a random checkpoint of the size of DeBERTa-v3-xsmall with two labels,
and the sentences of the tables, in an order that has nothing to do with their length, repeated until there are
100,000. Both programs read the same `tokenizer.json` and use two threads. This program is timed from its start to its
end, the model's loading included; transformers from the call of a loaded and warmed pipeline on, so loading is not
counted. It is run with the batch sizes 1, 8, 16, 32 and 64, on the texts as they are and sorted by length, and with
an allocator that keeps freed memory.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = "2"
LINES = 100_000
TOLERANCE = 1e-5
SIZES = [1, 8, 16, 32, 64]
ORDERS = {"as they are": False, "sorted": True}
ENVIRONMENT = {
    "OMP_NUM_THREADS": THREADS, "RAYON_NUM_THREADS": THREADS, "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "67108864", "HF_HUB_OFFLINE": "1",
}


def make(arguments):
    import torch
    import transformers

    texts = []
    for table in arguments.texts:
        header, *rows = table.read_text(encoding="utf-8").splitlines()
        column = header.split("\t").index("sentence") if "\t" in header else 0
        texts += [row.split("\t")[column].strip() for row in rows]
    random.Random(7).shuffle(texts)
    texts = (texts * (LINES // len(texts) + 1))[:LINES]
    arguments.work.mkdir(parents=True, exist_ok=True)
    (arguments.work / "texts.txt").write_text("".join(it + "\n" for it in texts), encoding="utf-8")

    config = transformers.DebertaV2Config(
        vocab_size=128100, hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536,
        relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True,
        pos_att_type=["p2c", "c2p"], position_biased_input=False, max_relative_positions=-1, layer_norm_eps=1e-7,
        type_vocab_size=0, max_position_embeddings=512, pad_token_id=0, pooler_hidden_size=384, pooler_dropout=0,
        pooler_hidden_act="gelu", id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1},
    )
    torch.manual_seed(0)
    model = transformers.DebertaV2ForSequenceClassification(config).eval()
    folder = arguments.work / "model"
    with tempfile.TemporaryDirectory() as published:  # a folder as on the Hub, converted once for both programs
        shutil.copy(arguments.spm, Path(published) / "spm.model")
        config.save_pretrained(published)
        tokenizer = transformers.AutoTokenizer.from_pretrained(published)
    tokenizer.save_pretrained(folder)
    with torch.no_grad():  # both labels are found, and scores of all sizes
        logits = model(**tokenizer(texts[:64], padding=True, return_tensors="pt")).logits
        model.classifier.weight /= logits.diff().std()
        logits = model(**tokenizer(texts[:64], padding=True, return_tensors="pt")).logits
        model.classifier.bias -= logits.mean(0)
    model.save_pretrained(folder)


class Transformers:
    """The pipeline in a process that stays alive."""

    def __init__(self, work):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "worker", str(work)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        self.versions = json.loads(self.process.stdout.readline())

    def run(self, lines, batch_size, is_sorted, out=None):
        request = {"lines": lines, "batch_size": batch_size, "sorted": is_sorted, "out": out}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def worker(arguments):
    import torch
    import transformers

    torch.set_num_threads(int(THREADS))
    transformers.logging.set_verbosity_error()
    pipe = transformers.pipeline("text-classification", model=str(arguments.work / "model"), device="cpu")
    texts = read_texts(arguments.work)
    pipe(texts[:64], batch_size=16, truncation=True)
    print(json.dumps(f"torch {torch.__version__}, transformers {transformers.__version__}"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        chosen = texts[: request["lines"]]
        order = range(len(chosen))
        if request["sorted"]:
            order = sorted(order, key=lambda it: len(chosen[it]))
        start = time.perf_counter()
        answers = pipe([chosen[it] for it in order], batch_size=request["batch_size"], truncation=True)
        seconds = time.perf_counter() - start
        if request["out"]:
            in_order = [answer for _, answer in sorted(zip(order, answers), key=lambda it: it[0])]
            Path(request["out"]).write_text(json.dumps(in_order))
        print(json.dumps({"seconds": seconds}), flush=True)


def read_texts(work):
    return (work / "texts.txt").read_text(encoding="utf-8").splitlines()


def ours(arguments, lines):
    """Seconds and peak memory in MB of one run over the first lines; its answers are in `ours.jsonl`."""
    texts = arguments.work / f"first-{lines}.txt"
    texts.write_text("".join(it + "\n" for it in read_texts(arguments.work)[:lines]), encoding="utf-8")
    command = [arguments.deberta, "classify", "-m", str(arguments.work / "model"), "--file", str(texts)]
    with open(arguments.work / "ours.jsonl", "wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, env={**os.environ, "RAYON_NUM_THREADS": THREADS})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"deberta ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1000


def choose(arguments):
    theirs = Transformers(arguments.work)
    print(f"{theirs.versions}, {arguments.lines} lines")
    rates = {}
    for batch_size in SIZES:
        for name, is_sorted in ORDERS.items():
            rates[batch_size, is_sorted] = arguments.lines / theirs.run(arguments.lines, batch_size, is_sorted)
            print(f"batch size {batch_size:2}, {name:11}: {rates[batch_size, is_sorted]:6.1f} lines/s", flush=True)
    theirs.close()
    best = {name: max(SIZES, key=lambda size: rates[size, is_sorted]) for name, is_sorted in ORDERS.items()}
    (arguments.work / "best.json").write_text(json.dumps(best))
    print(f"best batch size: {best}")


def compare(arguments):
    best = json.loads((arguments.work / "best.json").read_text())
    theirs = Transformers(arguments.work)
    print(f"{theirs.versions}, {arguments.lines} lines")
    answers = str(arguments.work / "theirs.json")
    ratios = {name: [] for name in ORDERS}
    for _ in range(arguments.rounds):
        seconds, peak = ours(arguments, arguments.lines)
        print(f"this program: {arguments.lines / seconds:.1f} lines/s, peak {peak:.0f} MB", flush=True)
        for name, is_sorted in ORDERS.items():
            other = theirs.run(arguments.lines, best[name], is_sorted, answers)
            ratios[name].append(other / seconds)
            print(f"transformers, batch size {best[name]}, {name}: "
                  f"{arguments.lines / other:.1f} lines/s, ratio {other / seconds:.2f}", flush=True)
    theirs.close()
    for name, found in ratios.items():
        print(f"median ratio, {name}: {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    expected = json.loads(Path(answers).read_text())
    found = [json.loads(line) for line in (arguments.work / "ours.jsonl").read_text().splitlines()]
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        [b] = b["labels"]
        near_tie = abs(a["score"] - 0.5) < TOLERANCE
        if a["label"] != b["label"] and not near_tie:
            sys.exit(f"labels differ: {a} {b}")
        worst = max(worst, abs(a["score"] - b["score"]))
    counts = {it: sum(answer["label"] == it for answer in expected) for it in ["negative", "positive"]}
    print(f"{len(expected)} answers, {counts}, largest difference of scores {worst:.1e}")
    if worst > TOLERANCE:
        sys.exit("scores differ")


def stream(arguments):
    for lines in [arguments.lines // 10, arguments.lines]:
        seconds, peak = ours(arguments, lines)
        with open(arguments.work / "ours.jsonl", "rb") as file:
            answers = sum(1 for _ in file)
        print(f"{answers} answers in {seconds:.0f} s, {lines / seconds:.1f} lines/s, peak {peak:.0f} MB", flush=True)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    for run, lines in [(make, LINES), (choose, 1500), (compare, 10_000), (stream, LINES), (worker, LINES)]:
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        command.add_argument("work", type=Path)
        command.add_argument("--deberta", default=os.environ.get("DEBERTA_BIN", "target/release/deberta"))
        command.add_argument("--lines", type=int, default=lines)
        command.add_argument("--rounds", type=int, default=3)
        if run is make:
            command.add_argument("--spm", type=Path, required=True)
            command.add_argument("--texts", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
