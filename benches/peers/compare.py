"""Runs this program and its peers side by side on the same checkpoints and prints medians of ratios.

    python3 compare.py WORK --ours target/release/examples/peer_worker [--candle PATH] [--models v3-base ...] [--out FILE]

Every worker is a process that stays alive. First each shows that its outputs equal transformers' (check.safetensors).
Then, in rounds, each workload visits all workers in rotating order, a block of about a second each; a ratio is taken
within a round, and the median over rounds is reported with its range. So a slow minute of the machine slows both sides.
`@tuned` keeps glibc from returning memory after every activation, the fairest setting of PyTorch on large batches.
Peak memory is of a fresh process that runs one workload only. `cargo xtask bench --peers` builds what this needs.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "67108864"}
# Lengths in tokens of 32 sentences and sentence pairs as sentiment and entailment data have them.
MIXED = [6, 8, 9, 10, 11, 12, 14, 15, 16, 17, 19, 20, 22, 23, 25, 26, 28, 29, 31, 33, 35, 38, 41, 45, 49, 54, 60, 68,
         77, 90, 108, 128]
FORWARD = {"1x128": [128], "8x128": [128] * 8, "1x512": [512], "4x512": [512] * 4, "mixed32": MIXED}
TRAIN = {"train 8x128": [128] * 8}
# Length of a worker's turn.
BLOCK_SECONDS = 1.0


class Worker:
    """A process that answers requests."""

    def __init__(self, name, command, threads, log):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads))
        environment.update({"OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE", "KMP_BLOCKTIME": "20"})
        if name.endswith("@tuned"):
            environment.update(TUNED)
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} stopped; see the log")
        return json.loads(line)

    def send(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def ask(self, **request):
        self.send(**request)
        answer = self.read()
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def commands(arguments, model, training):
    """Name and command of each worker that this machine can run."""
    folder = str(arguments.work / model)
    python = [sys.executable]
    ours = [str(arguments.ours), folder] + (["--train"] if training else [])
    torch = python + [str(HERE / "torch_worker.py"), folder]
    if training:
        yield "ours", ours
        yield "torch", torch + ["train"]
        yield "torch-labelled@tuned", torch + ["train-labelled"]
        return
    yield "ours", ours
    yield "torch", torch + ["eager"]
    yield "torch@tuned", torch + ["eager"]
    if arguments.compile:
        yield "torch-compiled@tuned", torch + ["compile"]
    if (arguments.work / model / "model.onnx").exists():
        yield "onnxruntime", python + [str(HERE / "ort_worker.py"), folder]
    if arguments.candle and not model.startswith("v1"):
        yield "candle", [str(arguments.candle), folder]


def flops(config, lengths):
    """Lean multiply-adds times two of a forward pass: live position rows only, their projections computed once."""
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    tokens = sum(lengths)
    dense = 2 * tokens * hidden * (4 * hidden + 2 * config["intermediate_size"])
    attention = 0
    for length in lengths:
        buckets = config.get("position_buckets", 0)
        slots = 2 * length - 1 if buckets <= 0 else live_rows(buckets, length)
        attention += 2 * length * hidden * (2 * length + 2 * slots)
    return layers * (dense + attention)


def live_rows(buckets, length):
    """Rows of the relative table that distances below `length` reach, Eq. (3) with logarithmic buckets."""
    middle, farthest = buckets // 2, length - 1
    if farthest > middle:
        farthest = math.ceil(math.log(farthest / middle) / math.log(511 / middle) * (middle - 1)) + middle
    return min(2 * farthest + 1, 2 * buckets)


def measure(arguments, model, workloads, training, log):
    workers = []
    for name, command in commands(arguments, model, training):
        if not arguments.only or name in arguments.only:
            workers.append(Worker(name, command, arguments.threads, log))
    results = {"model": model, "differences": {}, "workloads": {}}
    if not training:
        for worker in workers:
            results["differences"][worker.name] = worker.ask(check=True)["difference"]
        print(f"{model}: largest difference to transformers {results['differences']}", flush=True)
        wrong = {name: it for name, it in results["differences"].items() if it is None or it > arguments.tolerance}
        if wrong:
            sys.exit(f"{model}: outputs differ from transformers: {wrong}")
    for label, lengths in workloads.items():
        iters = {}
        for worker in workers:  # also the warm-up
            once = min(worker.ask(lengths=lengths, warmup=1, iters=1)["times"])
            iters[worker.name] = max(1, min(50, round(BLOCK_SECONDS / once)))
        rounds = take_turns(workers, iters, arguments.rounds, lengths=lengths, warmup=0)
        results["workloads"][label] = summary(rounds, lengths, label)
    for worker in workers:
        worker.close()
    for label, lengths in workloads.items():
        for name, command in commands(arguments, model, training):
            entry = results["workloads"][label].get(name)
            if entry and label in ("4x512", "train 8x128"):
                worker = Worker(name, command, arguments.threads, log)
                entry["peak_gb"] = worker.ask(lengths=lengths, warmup=1, iters=1)["peak_kb"] / 2**20
                worker.close()
                print(f"  {label:12} {name:22} peak memory {entry['peak_gb']:.2f} GB", flush=True)
    return results


def take_turns(workers, iters, number_of_rounds, **request):
    """Seconds of each worker in each round, in rotating order."""
    rounds = []
    for number in range(number_of_rounds):
        turn = number % len(workers)
        rounds.append({})
        for worker in workers[turn:] + workers[:turn]:
            times = worker.ask(iters=iters[worker.name], **request)["times"]
            rounds[-1][worker.name] = statistics.median(times)
    return rounds


def summary(rounds, lengths, label):
    """Median time and rate of each worker, and ours against it: median, lowest and highest ratio of a round."""
    entries = {}
    for name in rounds[0]:
        seconds = statistics.median(it[name] for it in rounds)
        ratios = sorted(it[name] / it["ours"] for it in rounds if "ours" in it)
        entries[name] = {"seconds": seconds, "tokens_per_s": sum(lengths) / seconds}
        if ratios and name != "ours":
            entries[name]["ours_is_faster"] = [statistics.median(ratios), ratios[0], ratios[-1]]
        ratio = " ".join(f"{it:.2f}" for it in entries[name].get("ours_is_faster", []))
        print(f"  {label:12} {name:22} {seconds * 1e3:8.1f} ms {sum(lengths) / seconds:7.0f} tokens/s  {ratio}", flush=True)
    return entries


def sgemm(arguments, log):
    """GFLOP/s of the machine's libraries and of our product at the shapes of a layer at 8x128."""
    ours = [str(arguments.ours), "--sgemm"]
    workers = [Worker("libraries", [sys.executable, str(HERE / "sgemm.py")], arguments.threads, log),
               Worker("ours", ours, arguments.threads, log)]
    rates = {}
    for shape in [(1024, 768, 768), (1024, 2304, 768), (1024, 3072, 768), (1024, 768, 3072), (2048, 2048, 2048)]:
        name = "x".join(map(str, shape))
        rates[name] = {k: v for worker in workers for k, v in worker.ask(shape=shape).items()}
        print(f"sgemm {name}: " + ", ".join(f"{k} {v:.0f}" for k, v in rates[name].items()) + " GFLOP/s", flush=True)
    for worker in workers:
        worker.close()
    return rates


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path, help="folder of checkpoints, as models.py writes them")
    parser.add_argument("--ours", type=Path, required=True)
    parser.add_argument("--candle", type=Path)
    parser.add_argument("--models", nargs="*", default=["v3-base"])
    parser.add_argument("--train", nargs="*", default=[], help="models whose training step is measured")
    parser.add_argument("--workloads", nargs="+", choices=FORWARD, default=list(FORWARD))
    parser.add_argument("--only", nargs="+", help="workers to run")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which takes minutes to start")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    forward = {label: FORWARD[label] for label in arguments.workloads}
    results = {"when": time.strftime("%Y-%m-%d"), "threads": arguments.threads, "rounds": arguments.rounds}
    with open(arguments.work / "workers.log", "w") as log:
        results["sgemm"] = sgemm(arguments, log)
        results["forward"] = [measure(arguments, model, forward, False, log) for model in arguments.models]
        results["train"] = [measure(arguments, model, TRAIN, True, log) for model in arguments.train]
    for result in results["forward"]:
        config = json.loads((arguments.work / result["model"] / "config.json").read_text())
        for label, entries in result["workloads"].items():
            rate = flops(config, FORWARD[label]) / 1e9
            for entry in entries.values():
                entry["gflop_per_s"] = rate / entry["seconds"]
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
