"""What only a GPU can show: the golden files in every float type, speed and memory beside PyTorch, loss curves.

    python3 gpu.py WORK --ours PROGRAM [--steps golden speed memory losses] [--minutes 9] [--quick] [--device cpu]

Writes WORK/results.json and WORK/results.md after every case, so that nothing is lost at the end of the time; the next
call with the same WORK goes on where this one stopped. `scripts/gpu_check` prepares what this needs. The speed of a
case is measured as compare.py does it: all programs alive, in turns, ratios within a round. `--quick` runs every step on
a tiny network, to try the script itself.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import compare
import gpu_report
import models

HERE = Path(__file__).parent
# Dense bf16 TFLOP/s by the name of the card, from its data sheet; the first name that fits counts.
PEAKS = {"H200": 989, "H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "A100": 312, "L40S": 362, "L40": 181,
         "L4": 121, "RTX 4090": 165}
FORWARD = {"32x128": [128] * 32, "32x512": [512] * 32, "8x2048": [2048] * 8}
MEMORY = {"8x4096": [4096] * 8}
QUICK = {"3x16": [16] * 3, "2x40": [40] * 2}
STEPS = ["golden", "speed", "memory", "losses"]
# Largest part of the reference's length that an output or gradient may be off.
GOLDEN_TOLERANCE = {"f32": 5e-3, "f16": 3e-2, "bf16": 2e-1}
# Seconds that a case needs at least.
LEAST = 20


class Worker(compare.Worker):
    """A worker that may be stopped by its deadline, and whose last words are kept."""

    def __init__(self, name, command, arguments):
        self.log = arguments.work / f"{name}.log"
        self.deadline = arguments.deadline
        with open(self.log, "w") as log:
            super().__init__(name, command, os.cpu_count(), log)

    def read(self):
        ready, _, _ = select.select([self.process.stdout], [], [], max(1, self.deadline - time.monotonic()))
        if not ready:
            self.process.kill()
            raise RuntimeError(f"{self.name}: out of time")
        try:
            return super().read()
        except RuntimeError:
            raise RuntimeError(f"{self.name}: {last_words(self.log.read_text())}") from None

    def ask(self, **request):
        try:
            return super().ask(**request)
        except BrokenPipeError:
            raise RuntimeError(f"{self.name}: {last_words(self.log.read_text())}") from None

    def close(self):
        try:
            super().close()
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()


def last_words(log):
    """The line of a log that says best what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "panicked" in line]
    if errors and errors[-1].endswith(":") and errors[-1] != lines[-1]:
        return lines[lines.index(errors[-1]) + 1]
    return (errors or lines or ["stopped without a word"])[-1]


def commands(arguments, model, mode, dtype):
    """Name and command of each worker of a case."""
    folder = str(arguments.work / model)
    train = ["--train"] if mode == "train" else []
    yield "ours", [str(arguments.ours), folder, "--dtype", dtype] + train
    variants = {"torch": "train", "torch-compiled": "train-compile"} if train else {
        "torch": "eager", "torch-compiled": "compile"}
    for name, variant in variants.items():
        if name == "torch-compiled" and not arguments.compile:
            continue
        for precision in [dtype, "tf32"] if dtype == "f32" and arguments.device == "cuda" else [dtype]:
            command = [sys.executable, str(HERE / "torch_worker.py"), folder, variant]
            yield (name if precision == dtype else f"{name}-tf32"), command + [
                "--device", arguments.device, "--dtype", precision]


def open_workers(arguments, named, failed):
    """Those that start; why the others do not is added to `failed`."""
    workers = []
    for name, command in named:
        try:
            workers.append(Worker(name, command, arguments))
        except RuntimeError as error:
            failed[name] = str(error)
    return workers


def attempt(workers, failed, ask):
    """The workers that answer."""
    remaining = []
    for worker in workers:
        try:
            ask(worker)
            remaining.append(worker)
        except RuntimeError as error:
            failed[worker.name] = str(error)
            print(f"  {error}", flush=True)
    return remaining


def speed(arguments, results):
    for dtype in arguments.dtypes:
        for mode in ("forward", "train"):
            for model in arguments.models:
                measure(arguments, results, model, mode, dtype)


def measure(arguments, results, model, mode, dtype):
    """All shapes of one network, in a forward pass or a training step, in one type."""
    cases = {label: f"{model} {mode} {dtype} {label}" for label in arguments.shapes}
    cases = {label: key for label, key in cases.items() if key not in results["speed"]}
    if not cases or out_of_time(arguments, f"{model} {mode} {dtype}"):
        return
    print(f"{model} {mode} {dtype}", flush=True)
    failed, differences = {}, {}
    workers = open_workers(arguments, commands(arguments, model, mode, dtype), failed)
    every = list(workers)
    try:
        if mode == "forward":
            def check(worker):
                differences[worker.name] = worker.ask(check=True, release=True)["difference"]

            workers = attempt(workers, failed, check)
            results["differences"][f"{model} {dtype}"] = differences
            print(f"  largest difference to transformers in f32: {differences}", flush=True)
        for label, key in cases.items():
            if out_of_time(arguments, key):
                return
            lengths, iters = arguments.shapes[label], {}

            def warm_up(worker):
                worker.ask(lengths=lengths, warmup=3, iters=1, release=True)
                once = min(worker.ask(lengths=lengths, warmup=1, iters=2, release=True)["times"])
                iters[worker.name] = max(1, min(50, round(arguments.block / once)))

            workers = attempt(workers, failed, warm_up)
            if time.monotonic() > arguments.deadline:
                return
            entries = {}
            try:
                rounds = compare.take_turns(workers, iters, arguments.rounds, lengths=lengths, warmup=1, release=True)
                entries = compare.summary(rounds, lengths, label) if workers else {}
            except RuntimeError as error:
                name = str(error).split(":")[0]
                failed[name] = str(error)
                workers = [worker for worker in workers if worker.name != name]
            config = json.loads((arguments.work / model / "config.json").read_text())
            work = flops(config, lengths, mode)
            for entry in entries.values():
                entry["tflop_per_s"] = work / entry["seconds"] / 1e12
            results["speed"][key] = {"workers": entries, "failed": dict(failed)}
            save(arguments, results)
    finally:
        for worker in every:
            worker.close()


def flops(config, lengths, mode):
    """Of a forward pass as compare.py counts it; a training step has the labelled tokens' logits besides, three times."""
    forward = compare.flops(config, lengths)
    if mode == "forward":
        return forward
    hidden = config["hidden_size"]
    labelled = sum((length + 5) // 7 for length in lengths)
    return 3 * (forward + 2 * labelled * hidden * (hidden + config["vocab_size"]))


def memory(arguments, results):
    """Memory of one training step in a process of its own, without and with layers that are computed again."""
    dtype = arguments.dtypes[0]
    for model in arguments.models:
        for label, lengths in arguments.long.items():
            key = f"{model} train {dtype} {label}"
            if key in results["memory"] or out_of_time(arguments, f"memory of {key}"):
                continue
            named = dict(commands(arguments, model, "train", dtype))
            named = {"ours": named["ours"], "ours, recomputing": named["ours"] + ["--recompute"], "torch": named["torch"]}
            entries, failed = {}, {}
            for name, command in named.items():
                before = used_bytes(arguments.device)
                for worker in open_workers(arguments, [(name, command)], failed):
                    def ask(worker):
                        answer = worker.ask(lengths=lengths, warmup=1, iters=1)
                        used = used_bytes(arguments.device)
                        peak = answer["peak_kb"] * 1024 if used is None else used - before
                        entries[name] = {"gb": peak / 2**30, "seconds": answer["times"][0]}
                        print(f"  memory of {key}, {name}: {peak / 2**30:.2f} GB", flush=True)

                    attempt([worker], failed, ask)
                    worker.close()
            results["memory"][key] = {"workers": entries, "failed": failed}
            save(arguments, results)


def used_bytes(device):
    """Memory of the card that is taken; workers keep what they once took. None without a card."""
    if device != "cuda":
        return None
    return int(card("memory.used").split()[0]) * 2**20


def card(field):
    query = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"nvidia-smi says nothing about a GPU ({error}); `--device cpu` runs PyTorch on the CPU")


def golden(arguments, results):
    """How far the golden files are from the reference programs' outputs and gradients."""
    if results["golden"]:
        return
    command = [str(arguments.ours), "--golden", str(arguments.fixtures)]
    for row in run_once(arguments, command)["golden"]:
        # JSON has no other way to say that a number is none.
        numbers = {it: float("nan") if row[it] is None else row[it] for it in ("output", "gradient")}
        ok = all(number <= GOLDEN_TOLERANCE[row["dtype"]] for number in numbers.values())
        results["golden"].append(dict(row, ok=ok))
        print(f"  {row['name']:24} {row['dtype']:5} output {numbers['output']:.1e} "
              f"gradient {numbers['gradient']:.1e}{'' if ok else '  TOO FAR'}", flush=True)


def run_once(arguments, command):
    """The answer of a command. Speed does not count, and choosing the fastest kernels takes longer than running them."""
    left = max(1, arguments.deadline - time.monotonic())
    environment = dict(os.environ, CUBECL_AUTOTUNE_LEVEL="minimal")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=left, env=environment)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command)}: out of time") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {last_words(done.stderr)}")
    return json.loads(done.stdout.splitlines()[-1])


def losses(arguments, results):
    """The first steps of the default pre-training, here in bf16 and on the CPU in f32."""
    for name, options in {"here": ["--dtype", arguments.dtypes[0]], "cpu f32": ["--cpu"]}.items():
        if name in results["losses"] or out_of_time(arguments, f"losses {name}"):
            continue
        folder = arguments.work / "losses"
        command = [str(arguments.ours), "--losses", str(folder), "--steps", str(arguments.loss_steps)]
        answer = run_once(arguments, command + options)
        label = f"{answer['backend']} {arguments.dtypes[0]}" if name == "here" else name
        results["losses"][name] = {"label": label, "losses": answer["losses"]}
        print(f"  losses {label}: {answer['losses'][0]:.3f} to {answer['losses'][-1]:.3f}", flush=True)
        save(arguments, results)


def prepare(arguments, results):
    """Checkpoints, and the card's own measure: rates of a large matrix product."""
    command = [sys.executable, str(HERE / "models.py"), str(arguments.work), *arguments.models]
    subprocess.run(command, check=True)
    if results["products"]:
        return
    size = [256] * 3 if arguments.quick else [8192] * 3
    dtype = arguments.dtypes[0]
    named = {"torch": [sys.executable, str(HERE / "sgemm.py"), "--device", arguments.device, "--dtype", dtype],
             "ours": [str(arguments.ours), "--sgemm", "--dtype", dtype]}
    for name, command in named.items():
        for worker in open_workers(arguments, [(name, command)], results["products"]):
            attempt([worker], results["products"], lambda it: results["products"].update(it.ask(shape=size)))
            worker.close()
    print(f"  {dtype} matrix product {size[0]}: {results['products']} GFLOP/s", flush=True)


def out_of_time(arguments, what):
    if time.monotonic() + LEAST < arguments.deadline:
        return False
    print(f"no time for {what}; call again to go on", flush=True)
    return True


def save(arguments, results):
    (arguments.work / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.work / "results.md").write_text(gpu_report.markdown(results))
    if results["losses"]:
        (arguments.work / "losses.svg").write_text(gpu_report.curves(results["losses"]))


def begin(arguments):
    """What an earlier call has measured on the same card, or an empty record."""
    name = card("name") if arguments.device == "cuda" else "this CPU"
    peak = next((it for model, it in PEAKS.items() if model in name), None)
    path = arguments.work / "results.json"
    if path.exists():
        results = json.loads(path.read_text())
        if results["device"] == name:
            return results
    return {"device": name, "peak_tflop_per_s": peak, "products": {}, "golden": [], "differences": {}, "speed": {},
            "memory": {}, "losses": {}}


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path, help="folder for checkpoints, logs and results")
    parser.add_argument("--ours", type=Path, required=True, help="the example `peer_worker`, built for the device")
    parser.add_argument("--fixtures", type=Path, default=HERE / "../../crates/deberta-model/tests/fixtures")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS[:3])
    parser.add_argument("--models", nargs="+", choices=models.CONFIGS)
    parser.add_argument("--dtypes", nargs="+", choices=GOLDEN_TOLERANCE)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="where PyTorch runs")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loss-steps", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="a tiny network and short sequences")
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.models = arguments.models or (["v3-tiny"] if quick else ["v3-base", "v3-large"])
    arguments.dtypes = arguments.dtypes or (["f32"] if quick else ["bf16", "f32"])
    arguments.shapes, arguments.long = (QUICK, {"2x60": [60] * 2}) if quick else (FORWARD, MEMORY)
    arguments.block = 0.1 if quick else 0.4
    arguments.deadline = time.monotonic() + 60 * arguments.minutes
    return arguments


def main():
    arguments = parse()
    arguments.work.mkdir(parents=True, exist_ok=True)
    results = begin(arguments)
    print(f"{results['device']}, into {arguments.work}", flush=True)
    problems = []
    for step in (golden, prepare, speed, memory, losses):
        if step.__name__ in arguments.steps or step is prepare and {"speed", "memory"} & set(arguments.steps):
            try:
                step(arguments, results)
            except RuntimeError as error:
                problems.append(f"{step.__name__}: {error}")
            save(arguments, results)
    print("\n" + gpu_report.markdown(results))
    if not all(row["ok"] for row in results["golden"]):
        problems.append("golden files differ")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
