"""Compares this program with the transformers library, on every published size, in both directions.

    pip install torch==2.15.0 transformers==5.23.0 safetensors
    cargo build --release && python3 scripts/parity.py [--deberta target/release/deberta] [--sizes NAME ...]

Reading: transformers makes a random checkpoint of the size's architecture (real widths, few layers, few rows of the
word table) with each of its heads; `deberta forward` must give the same numbers. Writing: `deberta init` makes one;
transformers must load it without missing or unexpected keys and give the numbers that `deberta forward` gives.
Sequences are padded, so only real tokens are compared; a second batch is longer than the 512 positions of the table.
Prints the largest absolute difference of each, and fails if one is above the tolerance.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

V1 = dict(vocab=50265, kind="v1")
V2 = dict(vocab=128100, kind="v2")
# name: layers and widths as published
SIZES = {
    "deberta-base": dict(V1, layers=12, hidden=768, heads=12),
    "deberta-large": dict(V1, layers=24, hidden=1024, heads=16),
    "deberta-xlarge": dict(V1, layers=48, hidden=1024, heads=16),
    "deberta-v2-xlarge": dict(V2, layers=24, hidden=1536, heads=24, conv=True),
    "deberta-v2-xxlarge": dict(V2, layers=48, hidden=1536, heads=24, conv=True),
    "deberta-v3-xsmall": dict(V2, layers=12, hidden=384, heads=6),
    "deberta-v3-small": dict(V2, layers=6, hidden=768, heads=12),
    "deberta-v3-base": dict(V2, layers=12, hidden=768, heads=12),
    "deberta-v3-large": dict(V2, layers=24, hidden=1024, heads=16),
    "mdeberta-v3-base": dict(V2, layers=12, hidden=768, heads=12, vocab=251000),
}
# transformers' class, our head, outputs as (theirs, ours)
HEADS = {
    "Model": ("encoder", [("last_hidden_state", "last_hidden_state")]),
    "ForMaskedLM": ("masked-lm", [("logits", "logits")]),
    "ForSequenceClassification": ("sequence", [("logits", "logits")]),
    "ForTokenClassification": ("token", [("logits", "logits")]),
    "ForQuestionAnswering": ("question-answering", [("start_logits", "start_logits"), ("end_logits", "end_logits")]),
    "ForMultipleChoice": ("multiple-choice", [("logits", "logits")]),
}


def hf_config(size, ending, layers, vocab):
    common = dict(
        vocab_size=vocab, hidden_size=size["hidden"], num_hidden_layers=layers, num_attention_heads=size["heads"],
        intermediate_size=4 * size["hidden"], relative_attention=True, position_biased_input=False, type_vocab_size=0,
        max_relative_positions=-1, max_position_embeddings=512, pos_att_type=["p2c", "c2p"], layer_norm_eps=1e-7,
        num_labels=2 if ending == "ForQuestionAnswering" else 3, legacy=False,
    )
    if size["kind"] == "v1":
        return transformers.DebertaConfig(**common)
    conv = dict(conv_kernel_size=3, conv_act="gelu") if size.get("conv") else {}
    return transformers.DebertaV2Config(
        **common, position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True, **conv
    )


def class_of(size, ending):
    family = "Deberta" if size["kind"] == "v1" else "DebertaV2"
    return getattr(transformers, family + ending, None)


def batch(ending, vocab, lengths, generator):
    seq_len = max(lengths)
    shape = (len(lengths), seq_len)
    mask = torch.arange(seq_len)[None] < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, vocab, shape, generator=generator) * mask
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    if ending == "ForMultipleChoice":  # [questions, choices, seq_len]
        inputs = {name: torch.stack([it, it.flip(0)], 1).contiguous() for name, it in inputs.items()}
    return inputs


def worst(theirs, ours, mask):
    difference = (theirs - ours).abs()
    if theirs.dim() >= 2 and theirs.shape[: mask.dim()] == mask.shape:
        difference = difference[mask.bool()]
    return difference.max().item()


def compare(program, model, folder, ending, inputs):
    """Largest difference between a model of transformers and the program on the same folder."""
    head, outputs = HEADS[ending]
    source, target = folder / "in.safetensors", folder / "out.safetensors"
    save_file(inputs, source)
    subprocess.run(
        [program, "forward", "--model", folder, "--inputs", source, "--out", target, "--head", head,
         "--compatibility", "huggingface"],
        check=True, stdout=subprocess.DEVNULL,
    )
    ours = load_file(target)
    with torch.no_grad():
        theirs = model(**inputs)
    return max(worst(theirs[a], ours[b], inputs["attention_mask"]) for a, b in outputs)


def read_direction(program, size, ending, layers, vocab, lengths, generator):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        torch.manual_seed(1)
        model = class_of(size, ending)(hf_config(size, ending, layers, vocab)).eval()
        with torch.no_grad():  # biases and norms as well, so that each of them matters
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
        model.save_pretrained(folder)
        return compare(program, model, folder, ending, batch(ending, vocab, lengths, generator))


def write_direction(program, name, size, ending, layers, vocab, lengths, generator):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        plain = ["--plain"] if ending == "ForMaskedLM" else []
        subprocess.run(
            [program, "init", folder, "--size", name, "--layers", str(layers), "--vocab", str(vocab), "--head",
             HEADS[ending][0], "--labels", "a,b,c", "--seed", "3", *plain],
            check=True, stdout=subprocess.DEVNULL,
        )
        model, report = class_of(size, ending).from_pretrained(folder, output_loading_info=True)
        problems = {kind: sorted(keys) for kind, keys in report.items() if keys}
        if problems:
            sys.exit(f"{name} {ending}: transformers reports {problems}")
        return compare(program, model.eval(), folder, ending, batch(ending, vocab, lengths, generator))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--deberta", default="target/release/deberta")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES))
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocab", type=int, default=1000, help="rows of the word table, 0 for as many as published")
    parser.add_argument("--tolerance", type=float, default=5e-5)
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"| {'size':18} | {'class':25} | read | read, 530 tokens | written |")
    print("|---|---|---|---|---|")
    failed = False
    for name in arguments.sizes:
        size = SIZES[name]
        vocab = arguments.vocab or size["vocab"]
        for ending in HEADS:
            if class_of(size, ending) is None:
                continue
            generator = torch.Generator().manual_seed(7)
            common = (size, ending, arguments.layers, vocab)
            short, long = [40, 31, 7], [530, 200]
            row = [
                read_direction(arguments.deberta, *common, short, generator),
                read_direction(arguments.deberta, *common, long, generator) if ending == "Model" else None,
                write_direction(arguments.deberta, name, *common, short, generator),
            ]
            cells = ["" if it is None else f"{it:.1e}" for it in row]
            print(f"| {name:18} | {ending:25} | " + " | ".join(cells) + " |", flush=True)
            failed |= any(it is not None and not it <= arguments.tolerance for it in row)
    if failed:
        sys.exit(f"a difference is above {arguments.tolerance}")


main()
