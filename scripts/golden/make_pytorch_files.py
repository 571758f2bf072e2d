#!/usr/bin/env python3
"""Files of torch.save in every layout that checkpoints come in, for the reader's tests.

Writes crates/deberta-model/tests/fixtures/pytorch (torch 2.15.0, safetensors 0.8.0). Every number is exact in bf16, so that files of all
types hold the same numbers: those of expected.safetensors, in float64.

  zip_<type>.bin, legacy_<type>.bin   a dictionary of tensors in the zip format and the one before 2020
  zip_protocol<n>.bin                 the same with pickles of protocols 3, 4 and 5
  <format>_strided.bin                transposed, permuted, sliced and shared storages
  zip_training.bin                    weights under "model_state_dict" beside the state of an optimiser, arguments, a
                                      random state and an object that runs a program when it is unpickled
  zip_parameters.bin                  torch.nn.Parameter instead of tensors, names of torch.nn.DataParallel
  sharded/                            two parts and their index
"""
import argparse, json, os, shutil
from collections import OrderedDict

import torch
from safetensors.torch import save_file

OUT = os.path.join(os.path.dirname(__file__), "../../crates/deberta-model/tests/fixtures/pytorch")
TYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def numbers(*shape, first):
    count = torch.Size(shape).numel()
    return ((torch.arange(count, dtype=torch.float64) + first) % 256 - 128).reshape(shape) / 8


class Harmful:
    """Leaves a file behind if a reader executes pickles."""

    def __reduce__(self):
        return os.system, ("touch /tmp/executed-by-a-pickle",)


def save(name, value, legacy=False, **kwargs):
    torch.save(value, f"{OUT}/{name}.bin", _use_new_zipfile_serialization=not legacy, **kwargs)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(f"{OUT}/sharded")
    weights = OrderedDict(
        [
            ("deberta.embeddings.word_embeddings.weight", numbers(7, 6, first=0)),
            ("deberta.encoder.layer.0.attention.self.query_proj.weight", numbers(4, 6, first=50)),
            ("deberta.encoder.conv.conv.weight", numbers(4, 2, 3, first=90)),
            ("deberta.encoder.LayerNorm.bias", numbers(6, first=120)),
            ("scalar", numbers(first=5)),
            ("empty", numbers(0, 3, first=0)),
        ]
    )
    save_file({name: value.contiguous() for name, value in weights.items()}, f"{OUT}/expected.safetensors")

    for name, dtype in TYPES.items():
        state = OrderedDict((key, value.to(dtype)) for key, value in weights.items())
        state["deberta.embeddings.position_ids"] = torch.arange(9).expand((1, -1))
        save(f"zip_{name}", state)
        save(f"legacy_{name}", state, legacy=True)
    state = OrderedDict((key, value.float()) for key, value in weights.items())
    for protocol in [3, 4, 5]:
        save(f"zip_protocol{protocol}", state, pickle_protocol=protocol)

    table, matrix, kernel, bias = [value.float() for value in list(weights.values())[:4]]
    # One storage for two tensors, one of which begins in its middle.
    shared = torch.cat([torch.full((5,), 99.0), bias, table.flatten()])
    strided = OrderedDict(state)
    strided["deberta.embeddings.word_embeddings.weight"] = shared[11:].view(7, 6)
    strided["deberta.encoder.LayerNorm.bias"] = shared[5:11]
    strided["deberta.encoder.layer.0.attention.self.query_proj.weight"] = matrix.t().contiguous().t()
    wide = torch.full((4, 5, 6), 77.0)
    wide[:, 1:4:2, ::2] = kernel
    strided["deberta.encoder.conv.conv.weight"] = wide[:, 1:4:2, ::2]
    for legacy in [False, True]:
        save("legacy_strided" if legacy else "zip_strided", strided, legacy)

    parameter = torch.nn.Parameter(matrix.clone())
    optimiser = torch.optim.AdamW([parameter], lr=1e-3)
    parameter.sum().backward()
    optimiser.step()
    training = {
        "epoch": 3,
        "args": argparse.Namespace(lr=1e-3, name="test", sizes=[1, 2, (3, 4)]),
        "harmful": Harmful(),
        "optimizer_state_dict": optimiser.state_dict(),
        "model_state_dict": state,
        "rng_state": torch.arange(16, dtype=torch.uint8),
        "seen": {"a", "b"},
        "best": 0.5,
    }
    save("zip_training", training)

    parameters = OrderedDict(("module." + key, torch.nn.Parameter(value)) for key, value in state.items())
    save("zip_parameters", parameters)

    names = list(state)
    parts = {"pytorch_model-00001-of-00002.bin": names[:2], "pytorch_model-00002-of-00002.bin": names[2:]}
    for part, keys in parts.items():
        torch.save({key: state[key] for key in keys}, f"{OUT}/sharded/{part}")
    weight_map = {key: part for part, keys in parts.items() for key in keys}
    with open(f"{OUT}/sharded/pytorch_model.bin.index.json", "w") as file:
        json.dump({"metadata": {"total_size": 0}, "weight_map": weight_map}, file, indent=1)


main()
