"""PyTorch with transformers, as a worker of compare.py.

    python3 torch_worker.py FOLDER/NAME eager|compile|bf16|train|train-labelled

`train` is a step of masked language modelling as people run it: logits everywhere. `train-labelled` computes them at
labelled tokens only.
"""

import os
import sys
from pathlib import Path

import torch
import transformers
from safetensors.numpy import load_file

import models
import protocol

transformers.logging.set_verbosity_error()
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def inference(folder, variant):
    if variant == "compile":
        import torch._inductor.config as inductor
        inductor.freezing = True
    model = models.build(folder.name).eval()
    if variant == "bf16":
        model = model.to(torch.bfloat16)
    if variant == "compile":
        model = torch.compile(model, dynamic=False)

    @torch.no_grad()
    def forward(ids, mask):
        return model(input_ids=torch.as_tensor(ids), attention_mask=torch.as_tensor(mask)).last_hidden_state

    def check():
        reference = load_file(folder / "check.safetensors")
        states = forward(reference["input_ids"], reference["attention_mask"])
        return protocol.difference(states.float().numpy(), reference)

    protocol.serve(lambda ids, mask: lambda: forward(ids, mask), check)


def training(folder, labelled_only):
    model = models.build(folder.name, masked_lm=True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)

    def prepare(ids, mask):
        ids, mask = torch.as_tensor(ids), torch.as_tensor(mask)
        chosen = (torch.arange(ids.numel()).reshape(ids.shape) % 7 == 1) & mask.bool()
        labels = torch.where(chosen, ids, -100)
        masked = torch.where(chosen, 4, ids)

        def step():
            if labelled_only:
                states = model.deberta(input_ids=masked, attention_mask=mask).last_hidden_state[chosen]
                logits = model.lm_predictions(states, model.deberta.embeddings.word_embeddings)
                loss = torch.nn.functional.cross_entropy(logits, labels[chosen])
            else:
                loss = model(input_ids=masked, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    protocol.serve(prepare, lambda: None)


if __name__ == "__main__":
    path, variant = Path(sys.argv[1]), sys.argv[2]
    if variant.startswith("train"):
        training(path, variant == "train-labelled")
    else:
        inference(path, variant)
