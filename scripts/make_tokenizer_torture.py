"""Runs the published vocabularies over 100 000 awkward texts and keeps digests of ids and offsets.

    python3 -m venv venv && venv/bin/pip install sentencepiece==0.2.3 tokenizers==0.23.3 regex
    DEBERTA_DATA=... venv/bin/python scripts/make_tokenizer_torture.py

`DEBERTA_DATA` has the folder `tokenizers` with `deberta-v3/spm.model` and, below `gpt2-bpe`, GPT-2's
`encoder.json` and `vocab.bpe` and fairseq's `dict.txt`. Writes two files to
crates/deberta-data/tests/fixtures/tokenizer/; all texts are generated here.
"""

import json
import os
from pathlib import Path

import sentencepiece
from tokenizer_reference import (
    LONG, Lcg, digest, gpt2_tokenizer, random_text, recipe, sentencepiece_tokenizer, with_added_tokens,
    with_lower_case, with_split_punctuation, write_json,
)

OUT = Path(__file__).parents[1] / "crates/deberta-data/tests/fixtures/tokenizer"
BLOCKS, BLOCK = 100, 1000


def v3(folder):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "deberta-v3/spm.model"))
    encode = sentencepiece_tokenizer(processor)
    mask = {"[MASK]": (128000, {})}
    entities = {"<<ENT>>": (128001, {"lstrip": True, "rstrip": True}), "<<SEP>>": (128002, {"single_word": True})}
    yield "v3", with_added_tokens(encode, mask)
    yield "v3_split_by_punct", with_added_tokens(with_split_punctuation(encode), mask)
    yield "v3_lower_case", with_added_tokens(with_lower_case(with_split_punctuation(encode)), mask)
    yield "v3_added_tokens", with_added_tokens(encode, mask | entities)


def v1(folder):
    folder = folder / "gpt2-bpe"
    encoder = json.loads((folder / "encoder.json").read_text())
    merges = [tuple(line.split()) for line in (folder / "vocab.bpe").read_text().split("\n")[1:-1]]
    symbols = [line.split()[0] for line in (folder / "dict.txt").read_text().splitlines()]
    ids = {symbol: id for id, symbol in enumerate(symbols, 4)}
    encode = gpt2_tokenizer(encoder, merges, lambda number: ids[str(number)])
    yield "v1", with_added_tokens(encode, {"[MASK]": (4 + len(symbols), {"lstrip": True})})


def main():
    folder = Path(os.environ["DEBERTA_DATA"]) / "tokenizers"
    rng = Lcg(1)
    texts = [random_text(rng) for _ in range(BLOCKS * BLOCK)]
    blocks = [texts[at : at + BLOCK] for at in range(0, len(texts), BLOCK)]
    golden = {}
    for name, encode in [*v3(folder), *v1(folder)]:
        golden[name] = {
            "blocks": [digest(map(encode, block)) for block in blocks],
            "long": [digest([encode(unit * times)]) for unit, times in LONG],
        }
        print(name, golden[name]["blocks"][0])
    write_json(OUT / "torture.json", recipe())
    write_json(OUT / "torture.golden.json", golden)


main()
