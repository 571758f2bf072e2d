"""Makes tiny tokenizers and what their reference libraries do with awkward texts.

    python3 -m venv venv && venv/bin/pip install sentencepiece==0.2.3 tokenizers==0.23.3 regex
    venv/bin/python scripts/make_tokenizer_golden.py

Writes crates/deberta-data/tests/fixtures/tokenizer/. All text is generated here.
"""

import io
import json
import random
from pathlib import Path

import sentencepiece
from tokenizer_reference import (
    case, sentencepiece_tokenizer, with_added_tokens, with_lower_case, with_split_punctuation, write_json,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

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
    "\u202aשלום kano\u202c عالم", "👩\u200d❤\ufe0f\u200d💋\u200d👨", "🏳️\u200d🌈\u200d", "\u200d\u200c", "ka\0\0no\0", "\x01\x02\x1f\x9f",
    " " * 200, "ka" + " " * 99 + "no", "\n" * 50 + "ka", "\t \n \u00a0 \u3000", "((((ka))))", "[[ka] [no]]", "\u0327ka\u0327",
    "ﷺ", "\u1e9b\u0323\u0301", "\U000e0067\U000e007f", "ΑΣ ας", "ǅ ẞ ß", "http://kano.mito/tora?sel=1&ra=%20", "if (a[i] < b) { return c; }", "İıſŉ", "\u1e9b\u0323",
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


def write_golden(name, library, cases):
    write_json(OUT / f"{name}.golden.json", {"library": library, "cases": cases})


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
    encode = sentencepiece_tokenizer(sentencepiece.SentencePieceProcessor(model_proto=model))
    write_golden(name, f"sentencepiece {sentencepiece.__version__}", [case(encode, text) for text in inputs])
    return encode


# Tokens beside the model `nmt_nfkc`, whose 600 pieces lack a mask.
ADDED = {
    "[MASK]": (600, {}), "<<ENT>>": (601, {}), "<<SEP>>": (602, {"lstrip": True, "rstrip": True}), "<<E": (603, {}),
    "tora": (604, {"single_word": True}), "kano mito": (605, {"lstrip": True}), "👍": (606, {"rstrip": True}),
}
AROUND = [
    "[MASK]", "[MASK][MASK]", "[MASK] kano [MASK]", " [MASK] ", "kano[MASK]mito", "[[MASK]]", "[MASK", "MASK]", "[mask]", "[MASK]\n[MASK]",
    "<<ENT>>", "kano<<ENT>>mito", "<<ENT>> kano <<SEP>> mito", "  <<SEP>>  ", "<<SEP>><<SEP>>", "<<SEP>> \t <<SEP>>", "<<E", "<<EN", "<<<<ENT>>>>",
    "tora", "tora tora", "toratora", "xtora torax tora.", "(tora)", "éTora torá tora_", "kano mito kano mito", "a  kano mito", "kano  mito",
    "👍🏽 👍 👍", "[CLS] [SEP]<<ENT>>[PAD]", "e\u0301<<ENT>>\u0301", "<<ENT>>" * 20, "",
]


def make_options(encode, inputs):
    """Added tokens and the options of the original, on top of the model `nmt_nfkc`."""
    mask = {"[MASK]": ADDED["[MASK]"]}
    variants = {
        "added_tokens": (with_added_tokens(encode, ADDED), AROUND),
        "split_by_punct": (with_added_tokens(with_split_punctuation(encode), mask), inputs),
        "lower_case": (with_added_tokens(with_lower_case(encode), mask), inputs),
        "both": (with_added_tokens(with_lower_case(with_split_punctuation(encode)), mask), inputs),
    }
    golden = {name: [case(encode, text) for text in texts] for name, (encode, texts) in variants.items()}
    tokens = [{"content": name, **settings} for name, (_, settings) in ADDED.items()]
    write_json(OUT / "options.golden.json", {"tokens": tokens, **golden})


def make_sequences():
    """How the library cuts texts of some lengths, and its windows.

    A case is the lengths of the texts (-1: no second), the most tokens, strategy, side, stride, and for each
    window the ids: tokens of the texts are 100, 101, … and 200, 201, ….
    """
    vocab = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3}
    vocab |= {f"a{index}": 100 + index for index in range(30)} | {f"b{index}": 200 + index for index in range(30)}
    library = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    rng, cases = random.Random(3), []
    for _ in range(400):
        first, second = rng.randint(0, 30), rng.choice([-1, rng.randint(0, 30)])
        # With room for markers alone the library empties both texts, whatever the strategy.
        most, stride = rng.randint(4, 40), rng.choice([0, 0, 1, 3])
        strategy, side = rng.choice(["longest_first", "only_first", "only_second"]), rng.choice(["left", "right"])
        if strategy == "only_second" and second < 0:
            continue
        texts = [" ".join(f"{letter}{index}" for index in range(length)) for letter, length in [("a", first), ("b", second)]]
        try:
            library.enable_truncation(most, stride=stride, strategy=strategy, direction=side)
            encoding = library.encode(texts[0], None if second < 0 else texts[1])
        except BaseException:
            # A text that would vanish, or a stride that leaves no progress.
            cases.append([first, second, most, strategy, side, stride, None, [], []])
            continue
        windows = [window.ids for window in [encoding, *encoding.overflowing]]
        cases.append([first, second, most, strategy, side, stride, windows, encoding.type_ids, encoding.special_tokens_mask])
    text = json.dumps(cases, separators=(",", ":"))
    (OUT / "sequences.golden.json").write_text(text.replace("[[", "[\n[", 1).replace("]],[", "]],\n[") + "\n")


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
    encode = make_sentencepiece(
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
    make_options(encode, inputs[: len(AWKWARD)])
    make_sequences()


main()
