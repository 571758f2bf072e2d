#!/usr/bin/env python3
"""Twenty steps of fine-tuning a sequence classifier with transformers and torch's AdamW.

Starts from the committed weights of the network's fixtures hf/v1_seqcls and hf/v3_seqcls, dropout 0, a new padded batch of
eight sequences each step; two groups of parameters (no decay of biases and layer norms), clipping at 1.0, linear warm-up
and decay.  Needs torch==2.15.0 transformers==5.23.0 safetensors.
Writes crates/deberta-train/tests/fixtures/finetune.json: settings, batches, loss before each step and gradient norm.
"""
import json, os
os.environ["OMP_NUM_THREADS"] = "1"
import torch
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "../../crates/deberta-model/tests/fixtures/hf")
OUT = os.path.join(HERE, "../../crates/deberta-train/tests/fixtures/finetune.json")
STEPS, BATCH, WARMUP, LR, DECAY, CLIP = 20, 8, 5, 1e-3, 0.01, 1.0


def batches(vocab, generator):
    for _ in range(STEPS):
        lengths = torch.randint(6, 21, (BATCH,), generator=generator)
        seq_len = int(lengths.max())
        ids = torch.randint(3, vocab, (BATCH, seq_len), generator=generator)
        mask = torch.arange(seq_len)[None] < lengths[:, None]
        ids[~mask] = 0
        labels = ids[:, 1] % 3   # so that there is something to learn
        yield {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


def train(name):
    model = AutoModelForSequenceClassification.from_pretrained(os.path.join(MODELS, name), dtype=torch.float32)
    assert model.config.hidden_dropout_prob == 0 and model.config.attention_probs_dropout_prob == 0
    model.train()
    plain = lambda name: not ("bias" in name or "LayerNorm" in name)
    groups = [{"params": [p for n, p in model.named_parameters() if plain(n)], "weight_decay": DECAY},
              {"params": [p for n, p in model.named_parameters() if not plain(n)], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.999), eps=1e-6)
    scheduler = get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    steps = []
    for batch in batches(model.config.vocab_size, torch.Generator().manual_seed(17)):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step(); scheduler.step()
        steps.append({"input_ids": batch["input_ids"].flatten().tolist(), "lengths": batch["attention_mask"].sum(1).tolist(),
                      "labels": batch["labels"].tolist(), "loss": float(loss), "grad_norm": float(norm)})
    return steps


settings = {"lr": LR, "warmup": WARMUP, "weight_decay": DECAY, "max_grad_norm": CLIP, "epsilon": 1e-6}
runs = {name: train(name) for name in ("v1_seqcls", "v3_seqcls")}
json.dump({"settings": settings, "runs": runs}, open(OUT, "w"), separators=(",", ":"))
for name, steps in runs.items():
    print(name, [round(s["loss"], 4) for s in steps])
