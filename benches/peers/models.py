"""Random checkpoints of published shapes for the comparison, with one reference output each.

    python3 models.py FOLDER [--onnx] NAME ...

Writes FOLDER/NAME/{config.json, model.safetensors, check.safetensors}, and model.onnx with --onnx; what is there stays.
check.safetensors holds a padded batch and what transformers makes of it, so that every program can show that it computes
the same function before its time counts.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from safetensors.torch import load_file, save_file

COMMON = dict(
    max_position_embeddings=512, relative_attention=True, max_relative_positions=-1, position_biased_input=False,
    type_vocab_size=0, hidden_act="gelu", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
    initializer_range=0.02, layer_norm_eps=1e-7, pad_token_id=0, pos_att_type=["p2c", "c2p"], legacy=False,
)
V3 = dict(COMMON, vocab_size=128100, position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True)
CONFIGS = {
    "v3-large": dict(V3, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
    "v3-base": dict(V3, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
    "v3-small": dict(V3, hidden_size=768, num_hidden_layers=6, num_attention_heads=12, intermediate_size=3072),
    "v3-xsmall": dict(V3, hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536),
    # No published shape: to try the comparison itself.
    "v3-tiny": dict(V3, vocab_size=30720, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
                    intermediate_size=256),
    "v1-base": dict(COMMON, vocab_size=50265, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                    intermediate_size=3072),
}


def build(name, masked_lm=False):
    """The network of transformers with random weights, always the same."""
    family = "Deberta" if name.startswith("v1") else "DebertaV2"
    ending = "ForMaskedLM" if masked_lm else "Model"
    config = getattr(transformers, family + "Config")(**CONFIGS[name])
    torch.manual_seed(0)
    return getattr(transformers, family + ending)(config)


def make_checkpoint(name, folder):
    model = build(name).eval()
    model.save_pretrained(folder)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 30000, (2, 200), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 150:] = 0
    ids[mask == 0] = 0
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    check = {"input_ids": ids, "attention_mask": mask, "last_hidden_state": states.contiguous()}
    save_file(check, folder / "check.safetensors")


def export_onnx(name, folder):
    """The dynamo exporter: the tracing one freezes lengths into DeBERTa's relative positions."""

    class LastHiddenState(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = build(name).eval()

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    check = load_file(folder / "check.safetensors")
    axes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("seq", min=2, max=512)}
    names = ["input_ids", "attention_mask"]
    with torch.no_grad():
        torch.onnx.export(
            LastHiddenState(), tuple(check[it] for it in names), folder / "model.onnx", dynamo=True, input_names=names,
            output_names=["last_hidden_state"], dynamic_shapes={it: axes for it in names}, opset_version=18,
            external_data=True,
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", choices=CONFIGS)
    parser.add_argument("--onnx", action="store_true")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    for name in arguments.names:
        folder = arguments.folder / name
        for path, make in [("check.safetensors", make_checkpoint)] + [("model.onnx", export_onnx)] * arguments.onnx:
            if (folder / path).exists():
                continue
            start = time.time()
            make(name, folder)
            print(f"{folder / path}: {time.time() - start:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
