"""PyTorch with transformers, as a worker of compare.py and gpu.py.

    python3 torch_worker.py FOLDER/NAME eager|compile|train|train-compile|train-labelled [--device D] [--dtype T]

`train` is a step of masked language modelling as people run it: logits everywhere. `train-labelled` computes them at
labelled tokens only. `tf32` is f32 with matrix products of less precision. A network answers in `dtype`; it is trained
with parameters in f32 and computes under autocast.
"""

import argparse
import os
from pathlib import Path

import torch
import transformers
from safetensors.numpy import load_file

import models
import protocol

DTYPES = {"f32": torch.float32, "tf32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

transformers.logging.set_verbosity_error()
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def release(device):
    if device == "cuda":
        torch.cuda.empty_cache()


def serve(arguments, prepare, check):
    """`prepare` and `check` with their tensors on the device."""
    device = arguments.device

    def prepare_there(ids, mask):
        return prepare(torch.as_tensor(ids).to(device), torch.as_tensor(mask).to(device))

    protocol.serve(prepare_there, check, lambda: wait(device), lambda: release(device))


def inference(arguments):
    folder = arguments.folder
    model = models.build(folder.name).eval().to(arguments.device, DTYPES[arguments.dtype])
    if arguments.variant == "compile":
        import torch._inductor.config as inductor
        inductor.freezing = arguments.device == "cpu"
        model = torch.compile(model, dynamic=False)

    @torch.no_grad()
    def forward(ids, mask):
        return model(input_ids=ids, attention_mask=mask).last_hidden_state

    def check():
        reference = load_file(folder / "check.safetensors")
        ids, mask = (torch.as_tensor(reference[it]).to(arguments.device) for it in ("input_ids", "attention_mask"))
        return protocol.difference(forward(ids, mask).float().cpu().numpy(), reference)

    serve(arguments, lambda ids, mask: lambda: forward(ids, mask), check)


def training(arguments):
    model = models.build(arguments.folder.name, masked_lm=True).train().to(arguments.device)
    on_gpu = arguments.device == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=on_gpu)
    labelled_only = arguments.variant == "train-labelled"
    compute = torch.compile(model, dynamic=False) if arguments.variant == "train-compile" else model
    dtype = DTYPES[arguments.dtype]
    scaler = torch.amp.GradScaler(arguments.device, enabled=dtype == torch.float16)

    def prepare(ids, mask):
        chosen = (torch.arange(ids.numel(), device=ids.device).reshape(ids.shape) % 7 == 1) & mask.bool()
        labels = torch.where(chosen, ids, -100)
        masked = torch.where(chosen, 4, ids)

        def loss():
            if not labelled_only:
                return compute(input_ids=masked, attention_mask=mask, labels=labels).loss
            states = model.deberta(input_ids=masked, attention_mask=mask).last_hidden_state[chosen]
            logits = model.lm_predictions(states, model.deberta.embeddings.word_embeddings)
            return torch.nn.functional.cross_entropy(logits, labels[chosen])

        def step():
            with torch.autocast(arguments.device, dtype, enabled=dtype != torch.float32):
                value = loss()
            scaler.scale(value).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)

        return step

    serve(arguments, prepare, lambda: None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("variant", choices=["eager", "compile", "train", "train-compile", "train-labelled"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    arguments = parser.parse_args()
    if arguments.dtype == "tf32":
        torch.set_float32_matmul_precision("high")
    if arguments.variant.startswith("train"):
        training(arguments)
    else:
        inference(arguments)


if __name__ == "__main__":
    main()
