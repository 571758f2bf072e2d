"""f32 matrix products of the machine's best libraries, as lines of JSON on request.

    python3 sgemm.py        {"shape": [rows, columns, depth]}  ->  {"torch": GFLOP/s, "onednn_packed": …, "numpy": …}

The bar that a forward pass is measured against. Each figure is the median of fifteen runs.
"""

import json
import os
import statistics
import sys
import time

import numpy as np
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def rate(product, flops):
    repeats = max(1, round(4e9 / flops))
    times = []
    for _ in range(16):
        start = time.perf_counter()
        for _ in range(repeats):
            product()
        times.append(time.perf_counter() - start)
    return flops * repeats / statistics.median(times[1:]) / 1e9


def main():
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        rows, columns, depth = json.loads(line)["shape"]
        a, b = torch.randn(rows, depth), torch.randn(depth, columns)
        weight = torch.ops.mkldnn._reorder_linear_weight(b.t().contiguous(), rows)
        x, y = a.numpy(), b.numpy()
        flops = 2 * rows * columns * depth
        rates = {
            "torch": rate(lambda: torch.matmul(a, b), flops),
            "onednn_packed": rate(
                lambda: torch.ops.mkldnn._linear_pointwise(a, weight, None, "none", [], ""), flops
            ),
            "numpy": rate(lambda: x @ y, flops),
        }
        print(json.dumps(rates), flush=True)


if __name__ == "__main__":
    main()
