"""Reference tokenizers for awkward texts, written from the published algorithms.

SentencePiece runs as the library it is. What microsoft/DeBERTa and GPT-2 do around it is stated here in a
few lines each; nothing of the Rust code is used.
"""

import hashlib
import json
import struct
import unicodedata

import regex
import tokenizers
from tokenizers import models

# --- texts -----------------------------------------------------------------------------------------------

WHITE = [" ", " ", " ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2009", "\u200b", "\u0085", "\x1c", "    "]
MARKS = [".", ",", "'", "'s", "'re", "'LL", "\"", "--", "…", "—", "¿", "«", "[", "]]", "$", "^", "<", "|", "。", "_", "#", "`"]
NAMES = ["[MASK]", "[MASK][MASK]", " [MASK] ", "[CLS]", "[SEP]", "[[MASK]]", "[MASK", "<<ENT>>", "<<SEP>>", "<pad>", "<0x0A>"]
SNIPPETS = [
    "e\u0301", "\u0301\u0323", "ﬁ", "①", "½", "Ａ１", "ｶﾞ", "か\u3099", "\u1100\u1161\u11a8", "مرحبا بالعالم", "שָׁלוֹם", "ไทยแลนด์",
    "हिन्दी", "русский", "日本語テキスト", "中文字符", "한국어", "👍🏽", "👨\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "🇩🇪🇫🇷", "𝓗𝓮𝓵𝓵𝓸", "\ufeff", "\ufffd", "\0", "\x07",
    "\x1b[0m", "\x7f", "\u202eabc\u202c", "\u2066x\u2069", "so\u00adft", "▁", "▁▁a", "İ", "ß", "ΑΣ", "ŉ", "ǅ", "ẞ", "\u1e9b\u0323", "\u2028", "ﷺ",
    "http://a.b/c?d=1&e=%20", "x_y.z()", "C++", "3.14159e-10", "1,000,000", "don't", "I'll", "WE'VE", "naïve", "Ⅷ", "²³", "٣٤٥", "੧੨", "\U0010ffff",
    "\ue000", "\U000e0001", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "the the the", "Supercalifragilisticexpialidocious",
]
SYLLABLES = ["the", "of", "an", "in", "re", "con", "tion", "ing", "er", "ly", "A", "Th", "un", "pre", "s", "ed", "vis", "or", "ma", "ter", "é", "ö"]
POOLS = [
    (0x20, 0x7F), (0x00, 0x20), (0x7F, 0x250), (0x300, 0x370), (0x370, 0x600), (0x600, 0x700), (0x900, 0xE00), (0x1100, 0x1200), (0x1E00, 0x2000),
    (0x2000, 0x2070), (0x2070, 0x2200), (0x2460, 0x2600), (0x3000, 0x3400), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFB50), (0xFE00, 0xFFFE),
    (0x1D400, 0x1D800), (0x1F300, 0x1FA00), (0x20000, 0x2A6DF),
]
# Texts of one unit, many times over.
LONG = [
    ["x", 100_000], ["ab", 50_000], ["é", 50_000], ["語", 33_000], [" ", 100_000], ["\n ", 50_000], ["a ", 50_000], ["\u0301", 30_000],
    ["👩\u200d👩\u200d👧", 4_000], ["▁", 30_000], ["[MASK]", 2_000], ["!", 50_000], ["Internationalization", 5_000], ["\0", 20_000], ["[", 20_000],
]


class Lcg:
    """Knuth's MMIX generator; the tests draw the same numbers."""

    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % bound

    def choice(self, items):
        return items[self.below(len(items))]


def recipe():
    """What the tests need to draw the same texts."""
    return {"white": WHITE, "marks": MARKS, "names": NAMES, "snippets": SNIPPETS, "syllables": SYLLABLES, "pools": POOLS, "long": LONG}


def random_text(rng):
    text = []
    for _ in range(rng.below(24)):
        kind = rng.below(16)
        if kind < 6:
            text += [rng.choice(SYLLABLES) for _ in range(1 + rng.below(4))]
        elif kind < 10:
            text.append(rng.choice(WHITE))
        elif kind < 11:
            text.append(rng.choice(MARKS))
        elif kind < 12:
            text.append(rng.choice(NAMES))
        elif kind < 14:
            text.append(rng.choice(SNIPPETS))
        else:
            first, end = rng.choice(POOLS)
            text.append(chr(first + rng.below(end - first)))
    return "".join(text)


# --- tokens ----------------------------------------------------------------------------------------------
# A tokenizer here is a function from a text to a list of (id, piece, first character, last character + 1).


def sentencepiece_tokenizer(processor):
    def encode(text):
        at, table = 0, {}
        for index, char in enumerate(text):
            table[at] = index
            at += len(char.encode())
        table[at] = len(text)
        pieces = processor.encode(text, return_type="proto").pieces
        return [(piece.id, piece.piece, table[piece.begin], table[piece.end]) for piece in pieces]

    return encode


def gpt2_tokenizer(encoder, merges, renumber):
    """GPT-2's encoder.py: split, spell in byte letters, merge the best pair until there is none."""
    pattern = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters, extra = {byte: chr(byte) for byte in printable}, 256
    for byte in range(256):
        if byte not in letters:
            letters[byte], extra = chr(extra), extra + 1
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    cache = {}

    def merge(word):
        symbols = [letters[byte] for byte in word.encode()]
        while True:
            pairs = set(zip(symbols, symbols[1:]))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)), default=None)
            if best not in ranks:
                return symbols
            merged, at = [], 0
            while at < len(symbols):
                if tuple(symbols[at : at + 2]) == best:
                    merged.append(symbols[at] + symbols[at + 1])
                    at += 2
                else:
                    merged.append(symbols[at])
                    at += 1
            symbols = merged

    def encode(text):
        owners = [index for index, char in enumerate(text) for _ in char.encode()]
        tokens, at = [], 0
        for word in pattern.findall(text):
            if word not in cache:
                cache[word] = merge(word)
            for piece in cache[word]:
                tokens.append((renumber(encoder[piece]), piece, owners[at], owners[at + len(piece) - 1] + 1))
                at += len(piece)
        return tokens

    return encode


def shifted(tokens, by):
    return [(id, piece, start + by, end + by) for id, piece, start, end in tokens]


def with_split_punctuation(encode):
    """Microsoft's `split_by_punct`: every punctuation character is a text of its own."""

    def is_punctuation(char):
        ascii_sign = "!" <= char <= "~" and not char.isalnum()
        return ascii_sign or unicodedata.category(char).startswith("P")

    def split(text):
        words, start = [], 0
        for index, char in enumerate(text):
            if is_punctuation(char):
                words += [(start, text[start:index]), (index, char)]
                start = index + 1
        return [(at, word) for at, word in [*words, (start, text[start:])] if word]

    return lambda text: [token for at, word in split(text) for token in shifted(encode(word), at)]


def with_lower_case(encode):
    """Character by character, as transformers lower-cases."""

    def lowered(text):
        origins = [index for index, char in enumerate(text) for _ in char.lower()]
        tokens = []
        for id, piece, start, end in encode("".join(char.lower() for char in text)):
            first = origins[start] if start < len(origins) else len(text)
            tokens.append((id, piece, first, origins[end - 1] + 1 if end > start else first))
        return tokens

    return lowered


def with_added_tokens(encode, added):
    """Takes added tokens out of the text; the `tokenizers` library says where they are.

    `added` maps names to ids and settings.
    """
    finder = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    finder.add_tokens([tokenizers.AddedToken(name, normalized=False, **settings) for name, (_, settings) in added.items()])

    def encode_around(text):
        tokens = []
        found = finder.encode(text, add_special_tokens=False)
        for piece, (start, end) in zip(found.ids, found.offsets):
            part = text[start:end]
            if piece == 0:
                tokens += shifted(encode(part), start)
                continue
            name = finder.id_to_token(piece)
            # The library counts stripped white space as part of the token; here it belongs to nobody.
            at = start + part.index(name)
            tokens.append((added[name][0], name, at, at + len(name)))
        return tokens

    return encode_around


# --- golden files ----------------------------------------------------------------------------------------


def case(encode, text):
    tokens = encode(text)
    return {
        "text": text,
        "ids": [token[0] for token in tokens],
        "tokens": [token[1] for token in tokens],
        "offsets": [list(token[2:]) for token in tokens],
    }


def digest(token_lists):
    """SHA-256 over ids and offsets as 32-bit little-endian numbers, with a separator after each text."""
    sha = hashlib.sha256()
    for tokens in token_lists:
        for id, _, start, end in tokens:
            sha.update(struct.pack("<III", id, start, end))
        sha.update(b"\xff\xff\xff\xff")
    return sha.hexdigest()[:16]


def write_json(path, value):
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    path.write_text(text.replace('{"text"', '\n{"text"') + "\n")
