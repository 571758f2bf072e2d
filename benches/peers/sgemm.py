"""Matrix products of the machine's best libraries, as lines of JSON on request.

    python3 sgemm.py                              {"shape": [rows, columns, depth]}
                                             ->   {"torch": GFLOP/s, "onednn_packed": …, "numpy": …}
    python3 sgemm.py --device cuda --dtype bf16   ->   {"torch": GFLOP/s}

The bar that a forward pass is measured against. Each figure is the median of fifteen runs.
"""

import argparse
import json
import os
import statistics
import sys
import time

import numpy as np
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def rate(product, flops, wait=lambda: None):
    repeats = max(1, round(4e9 / flops))
    times = []
    for _ in range(16):
        start = time.perf_counter()
        for _ in range(repeats):
            product()
        wait()
        times.append(time.perf_counter() - start)
    return flops * repeats / statistics.median(times[1:]) / 1e9


def cpu_products(a, b):
    """Of other libraries, in f32 on the CPU."""
    weight = torch.ops.mkldnn._reorder_linear_weight(b.t().contiguous(), a.shape[0])
    x, y = a.numpy(), b.numpy()
    return {
        "onednn_packed": lambda: torch.ops.mkldnn._linear_pointwise(a, weight, None, "none", [], ""),
        "numpy": lambda: x @ y,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    arguments = parser.parse_args()
    on_gpu = arguments.device == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        rows, columns, depth = json.loads(line)["shape"]
        a, b = (torch.randn(it, device=arguments.device).to(DTYPES[arguments.dtype])
                for it in [(rows, depth), (depth, columns)])
        products = {"torch": lambda: torch.matmul(a, b)}
        if not on_gpu and arguments.dtype == "f32":
            products.update(cpu_products(a, b))
        flops = 2 * rows * columns * depth
        print(json.dumps({name: rate(it, flops, wait) for name, it in products.items()}), flush=True)


if __name__ == "__main__":
    main()
