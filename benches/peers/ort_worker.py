"""ONNX Runtime on the CPU, as a worker of compare.py.

    python3 ort_worker.py FOLDER/NAME
"""

import os
import sys
from pathlib import Path

import onnxruntime as ort
from safetensors.numpy import load_file

import protocol


def main():
    folder = Path(sys.argv[1])
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])

    def forward(ids, mask):
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    def check():
        reference = load_file(folder / "check.safetensors")
        return protocol.difference(forward(reference["input_ids"], reference["attention_mask"]), reference)

    protocol.serve(lambda ids, mask: lambda: forward(ids, mask), check)


if __name__ == "__main__":
    main()
