#!/usr/bin/env python3
"""Golden numbers of microsoft/DeBERTa's optimiser and schedules.

Uses $MS_DEBERTA: a folder that holds a clone of microsoft/DeBERTa (4d7fe0b), see the README of the network's fixtures.
Writes crates/deberta-train/tests/fixtures/optim.json:
  schedules   factor of the learning rate per step, for 60 steps of which 12 are warm-up
  xadam       twenty steps on sum(w * x**2) + sum(x): values of x after each, in float64
"""
import contextlib, json, os, sys
sys.path.insert(0, os.environ["MS_DEBERTA"])
import torch
from DeBERTa.optims.lr_schedulers import SCHEDULES
from DeBERTa.optims.xadam import XAdam

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "../../crates/deberta-train/tests/fixtures/optim.json")
TOTAL, WARMUP = 60, 12


def schedules():
    return {name: {str(ends): [f(step, TOTAL, WARMUP / TOTAL, ends) for step in range(TOTAL)] for ends in (0, 0.1)}
            for name, f in SCHEDULES.items()}


def xadam():
    start, weight = [0.5, -1.5, 2.0, 0.0], [1.0, 0.3, 2.0, 0.01]
    x = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    w = torch.tensor(weight, dtype=torch.float64)
    settings = dict(lr=0.05, weight_decay_rate=0.1, e=1e-6, warmup=WARMUP / TOTAL, t_total=TOTAL, schedule="warmup_linear")
    optimizer = XAdam([{"params": [x], "rank": -1}], **settings)  # of no rank: updated in this process
    torch.cuda.device = contextlib.nullcontext  # it selects the device of x, which need not be a GPU
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        ((w * x * x).sum() + x.sum()).backward()
        optimizer.step()
        values.append(x.detach().tolist())
    return {"start": start, "weight": weight, "settings": settings, "values": values}


json.dump({"total": TOTAL, "warmup": WARMUP, "schedules": schedules(), "xadam": xadam()}, open(OUT, "w"), indent=1)
