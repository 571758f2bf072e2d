"""Makes tiny tokenizers and what their reference libraries do with awkward texts.

    python3 -m venv venv && venv/bin/pip install sentencepiece==0.2.3 tokenizers==0.23.3
    venv/bin/python scripts/make_tokenizer_golden.py

Writes crates/deberta-data/tests/fixtures/tokenizer/. All text is generated here.
"""

import io
import json
import random
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

OUT = Path(__file__).parents[1] / "crates/deberta-data/tests/fixtures/tokenizer"
SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]

AWKWARD = [
    "", " ", "   ", "\t", "\n", "\0", "a\0b", "\u200b", "\ufeffkano", " kano", "kano ", "  ka  no  ",
    "ka\tno\nmi\r\nto", "KANO Mito tOrA", "kano, mito! (tora) \"sel\" - 42.5%", "don't we'll I'm",
    "é", "e\u0301", "ka\u0301no", "ka \u0301no", "\u0301", "e\u0301\u0323\u0327", "naïve café", "ﬁ ﬂ ﬃ",
    "① ② ½ ¼ ㎏ ™ ℃ Ⅷ", "Ａ Ｂ １２３", "\u00a0kano\u00a0mito\u3000tora", "… ‥ — – ‐", "“quotes” ‘single’ «angle»",
    "日本語テキスト", "ｶﾞ が か\u3099", "한국어 \u1100\u1161\u11a8", "مرحبا", "שלום", "ไทย", "हिन्दी",
    "русский текст", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪🇫🇷", "𝓗𝓮𝓵𝓵𝓸", "\U0010ffff", "\ufffd", "▁", "▁ka▁no", "ka ▁ no",
    "<0x41>", "[CLS] kano [SEP] mito [PAD] [UNK]", "<keep> kano<keep>mito", "\u0007\u001b[0m\x7f", "so\u00adft",
    "\u2028kano\u2029mito", "\u202ekano\u202c", "x" * 300, "kano" * 60, "é" * 100, "語" * 50, "k a n o",
    "http://kano.mito/tora?sel=1&ra=%20", "if (a[i] < b) { return c; }", "İıſŉ", "\u1e9b\u0323",
]


def words(rng, count):
    """A few hundred made-up words with a Zipf-like use."""
    syllables = ["ka", "no", "mi", "to", "ra", "sel", "un", "dor", "é", "ing", "ed", "s", "ly", "pra", "vi"]
    lexicon = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(300)]
    return rng.choices(lexicon, [1 / (rank + 1) for rank in range(300)], k=count)


def sentences(rng, count):
    for _ in range(count):
        text = " ".join(words(rng, rng.randint(3, 12)))
        if rng.random() < 0.3:
            text += " " + str(rng.randint(0, 9999))
        yield text.capitalize() + rng.choice([".", "!", "?", ", etc.", " (" + words(rng, 1)[0] + ")."])


def texts(rng):
    yield from AWKWARD
    yield from sentences(rng, 40)
    pools = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x2000, 0x2070), (0x2100, 0x2200), (0x3000, 0x3100), (0x1F300, 0x1F600)]
    for _ in range(60):
        chars = (chr(rng.randrange(*rng.choice(pools))) if rng.random() < 0.7 else " " for _ in range(rng.randint(1, 30)))
        yield "".join(chars)


def char_offsets(text):
    """Byte position of each character start, to its character position."""
    at, table = 0, {}
    for index, char in enumerate(text):
        table[at] = index
        at += len(char.encode())
    table[at] = len(text)
    return table


def write_golden(name, library, cases):
    golden = {"library": library, "cases": cases}
    text = json.dumps(golden, ensure_ascii=True, separators=(",", ":"))
    (OUT / f"{name}.golden.json").write_text(text.replace('{"text"', '\n{"text"') + "\n")


def make_sentencepiece(name, corpus, inputs, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="unigram",
        pad_id=0, bos_id=1, eos_id=2, unk_id=3,
        pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]",
        num_threads=1, minloglevel=2, **options,
    )
    model = model.getvalue()
    (OUT / f"{name}.model").write_bytes(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    cases = []
    for text in inputs:
        pieces = processor.encode(text, return_type="proto").pieces
        at = char_offsets(text)
        cases.append({
            "text": text,
            "ids": [piece.id for piece in pieces],
            "tokens": [piece.piece for piece in pieces],
            "offsets": [[at[piece.begin], at[piece.end]] for piece in pieces],
        })
    write_golden(name, f"sentencepiece {sentencepiece.__version__}", cases)


def make_bpe(corpus, inputs):
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator(corpus, trainer)
    model = json.loads(learner.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    vocab["[MASK]"] = len(vocab)
    merges = [tuple(merge) for merge in model["merges"]]
    folder = OUT / "bpe"
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))

    reference = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.decoder = decoders.ByteLevel()
    encodings = reference.encode_batch(inputs, add_special_tokens=False)
    cases = [
        {"text": text, "ids": it.ids, "tokens": it.tokens, "offsets": [list(span) for span in it.offsets]}
        for text, it in zip(inputs, encodings)
    ]
    import tokenizers
    write_golden("bpe", f"tokenizers {tokenizers.__version__}", cases)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    corpus = list(sentences(random.Random(1), 4000))
    inputs = list(texts(random.Random(2)))
    make_sentencepiece(
        "nmt_nfkc", corpus, inputs, vocab_size=600, byte_fallback=True,
        normalization_rule_name="nmt_nfkc",
    )
    make_sentencepiece(
        "verbatim", corpus, inputs, vocab_size=300, normalization_rule_name="identity",
        user_defined_symbols=["<keep>", "no m", "ra"], add_dummy_prefix=False, remove_extra_whitespaces=False,
        control_symbols=["[MASK]"],
    )
    make_sentencepiece(
        "suffix", corpus, inputs, vocab_size=300, normalization_rule_name="identity",
        treat_whitespace_as_suffix=True,
    )
    make_bpe(corpus, inputs)


main()
