"""What the workers share: requests as lines of JSON on standard input, an answer to each on standard output.

    {"check": true}                                     ->  {"difference": 1e-6}
    {"lengths": [20, 7], "warmup": 1, "iters": 3}       ->  {"times": [...], "peak_kb": ...}

`lengths` are the real tokens of each sequence of a batch; times are in seconds, for one batch or one training step.
With `"release": true` the worker then gives back the device's memory that it does not need. {"error": ...} is an answer,
too.
"""

import json
import sys
import time

import numpy as np


def batch(lengths):
    """Padded ids and mask, `[batch, seq]`, the same for every worker in Python."""
    seq_len = max(lengths)
    mask = (np.arange(seq_len)[None] < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.random.default_rng(len(lengths) * 1000 + seq_len).integers(5, 30000, mask.shape)
    return ids * mask, mask


def peak_kb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def serve(prepare, check, wait=lambda: None, release=lambda: None):
    """Answers requests until the input ends.

    `prepare(ids, mask)` gives a function that computes once, `wait()` waits for the device, and `release()` gives back
    the memory of the device that holds nothing.
    """
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"difference": check()} if request.get("check") else measure(prepare, request, wait)
        except Exception as error:  # out of memory, or a compiler's
            answer = {"error": (str(error) or type(error).__name__).strip().splitlines()[0]}
        print(json.dumps(answer), flush=True)
        if request.get("release"):
            release()


def measure(prepare, request, wait):
    run = prepare(*batch(request["lengths"]))
    times = []
    for _ in range(request["warmup"] + request["iters"]):
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return {"times": times[request["warmup"] :], "peak_kb": peak_kb()}


def difference(ours, check):
    """Largest difference to the reference output at real tokens."""
    return float(np.abs(ours - check["last_hidden_state"])[check["attention_mask"] == 1].max())
