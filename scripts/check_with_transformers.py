#!/usr/bin/env python3
"""Checks that transformers reads what we wrote: no missing or unexpected keys, the same outputs.

    check_with_transformers.py FOLDER=FIXTURE ...

FOLDER was written by us, FIXTURE (config.json, model.safetensors, io.safetensors) by transformers. Used by
crates/deberta-model/tests/it/transformers.rs; needs torch, transformers and safetensors (checked with 2.15.0, 5.23.0
and 0.8.0).
"""
import json, sys

import torch, transformers
from safetensors.torch import load_file

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# Rounding to half precision moves the outputs of these networks by less than this.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 2e-5, torch.float16: 0.02, torch.bfloat16: 0.2}


def load(folder):
    with open(f"{folder}/config.json") as file:
        name = json.load(file)["architectures"][0]
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    problems = {key: value for key, value in info.items() if value}
    assert not problems, f"{folder}: {problems}"
    return name, model.eval()


def outputs(model, inputs):
    with torch.no_grad():
        found = model.float()(**inputs)
    return {key: value for key, value in found.items() if torch.is_tensor(value)}


for pair in sys.argv[1:]:
    folder, fixture = pair.split("=")
    recorded = load_file(f"{fixture}/io.safetensors")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    inputs = {name: recorded[f"inputs.{name}"].long() for name in names if f"inputs.{name}" in recorded}
    name, model = load(folder)
    expected_name, original = load(fixture)
    assert name == expected_name, f"{folder}: {name}, expected {expected_name}"
    stored = model.dtype
    tolerance = TOLERANCE[stored]
    found, expected = outputs(model, inputs), outputs(original, inputs)
    assert found.keys() == expected.keys() and found
    real = inputs["attention_mask"].bool()
    for key, value in found.items():
        difference = (value - expected[key]).abs()
        if difference.shape[: real.dim()] == real.shape:
            difference = difference[real]
        worst = difference.max().item()
        assert worst <= tolerance, f"{folder}: {key} differs by {worst}"
    print(f"{name} {stored} {folder}: the same")
