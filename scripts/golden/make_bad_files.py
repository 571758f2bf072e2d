#!/usr/bin/env python3
"""Files that no reader should trust, by hand; those that fuzzing finds lie beside them.

Writes crates/deberta-model/tests/fixtures/bad/{config,index,pickle,pytorch,safetensors}. Needs Python only.
"""
import io, json, os, struct, zipfile

OUT = os.path.join(os.path.dirname(__file__), "../../crates/deberta-model/tests/fixtures/bad")


def write(kind, name, content):
    os.makedirs(f"{OUT}/{kind}", exist_ok=True)
    with open(f"{OUT}/{kind}/{name}", "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(count, kind=b"FloatStorage", key="0"):
    return b"(" + text("storage") + b"ctorch\n" + kind + b"\n" + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(shape, strides, offset=0, count=4, **kwargs):
    arguments = storage(count, **kwargs) + number(offset) + numbers(shape) + numbers(strides) + b"\x89)"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state(*tensors):
    items = b"".join(text(f"embeddings.{index}") + value for index, value in enumerate(tensors))
    return b"\x80\x02}(" + items + b"u."


def archive(pickle, data=b"\0" * 16, order=b"little", compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        stamp = (1980, 1, 1, 0, 0, 0)
        for name, content in [("data.pkl", pickle), ("byteorder", order), ("data/0", data), ("version", b"3\n")]:
            info = zipfile.ZipInfo(f"archive/{name}", stamp)
            file.writestr(info, content, compression)
    return out.getvalue()


def legacy(pickle, key="0", count=4, data=b"\0" * 16):
    return pickle + b"\x80\x02](" + text(key) + b"e." + struct.pack("<q", count) + data


def pytorch():
    good = tensor([2, 2], [2, 1])
    cases = {
        "big_endian": archive(state(good), order=b"big"),
        "compressed": archive(state(good), compression=zipfile.ZIP_DEFLATED),
        "past_the_end": archive(state(tensor([2, 2], [2, 1], offset=1))),
        "negative_offset": archive(state(tensor([2], [1], offset=-1))),
        "negative_shape": archive(state(tensor([-2], [1]))),
        "negative_stride": archive(state(tensor([2], [-1], offset=1))),
        "expanded": archive(state(tensor([1 << 40], [0]))),
        "overflowing_shape": archive(state(tensor([1 << 62, 1 << 62], [1, 1]))),
        "overflowing_stride": archive(state(tensor([3], [1 << 62]))),
        "many_axes": archive(state(tensor([1] * 100, [1] * 100))),
        "short_storage": archive(state(tensor([8], [1], count=8))),
        "huge_storage": archive(state(tensor([8], [1], count=(1 << 63) - 1))),
        "no_storage": archive(state(tensor([2], [1], key="1"))),
        "unknown_type": archive(state(tensor([2], [1], kind=b"QInt8Storage"))),
        "no_dictionary": archive(b"\x80\x02K\x01."),
        "nothing": archive(b""),
        "endless_nesting": archive(b"\x80\x02" + b"(" * 300 + b"."),
        "itself": archive(b"\x80\x02}q\x00" + text("model") + b"h\x00s."),
        "no_pickle": archive(state(good)).replace(b"data.pkl", b"data.xyz"),
        "no_directory": archive(state(good))[:-22],
        "other": b"<!DOCTYPE html>",
    }
    for name, content in cases.items():
        write("pytorch", name, content)
    legacy_cases = {
        "past_the_end": legacy(state(tensor([2, 2], [2, 1], offset=1))),
        "truncated": legacy(state(good))[:-1],
        "huge_storage": legacy(state(good), count=(1 << 62) - 1),
        "negative_storage": legacy(state(good), count=-1),
        "unknown_storage": legacy(state(good), key="1"),
        "no_keys": state(good),
    }
    for name, content in legacy_cases.items():
        write("pickle", name, content)


def safetensors():
    def file(header, data=b"\0" * 16, length=None):
        header = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(header) if length is None else length) + header + data

    def entry(shape, offsets, dtype="F32"):
        return {"embeddings.0": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}

    cases = {
        "huge_header": file({}, length=(1 << 63)),
        "long_header": file({}, length=1 << 20),
        "no_json": file(b"{"),
        "past_the_end": file(entry([8], [0, 32])),
        "wrong_length": file(entry([3], [0, 16])),
        "reversed": file(entry([4], [16, 0])),
        "overflow": file(entry([1 << 62, 1 << 62], [0, 16])),
        "holes": file(entry([1], [4, 8])),
        "unknown_type": file(entry([4], [0, 16], "F31")),
        "integers": file(entry([2], [0, 16], "I64")),
        "short": b"\x01\0",
    }
    for name, content in cases.items():
        write("safetensors", name, content)


def index():
    cases = {
        "no_json": "{",
        "no_map": "{}",
        "empty_map": '{"weight_map": {}}',
        "numbers": '{"weight_map": {"a": 1}}',
        "parent": '{"weight_map": {"a": "../model.safetensors"}}',
        "absolute": '{"weight_map": {"a": "/etc/passwd"}}',
        "dots": '{"weight_map": {"a": ".."}}',
        "nothing": '{"weight_map": {"a": ""}}',
        "nested": '{"weight_map":' * 200,
    }
    for name, content in cases.items():
        write("index", name, content)


def config():
    good = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}

    def changed(**fields):
        return json.dumps(good | fields)

    cases = {
        "no_json": "{",
        "list": "[]",
        "not_utf8": b'{"vocab_size": \xff}',
        "endless_layers": changed(num_hidden_layers=10**15),
        "endless_vocabulary": changed(vocab_size=10**18),
        "negative_size": changed(hidden_size=-1),
        "no_heads": changed(num_attention_heads=0),
        "odd_heads": changed(num_attention_heads=5),
        "endless_heads": changed(attention_head_size=(1 << 63) - 1),
        "endless_distance": changed(relative_attention=True, max_relative_positions=(1 << 63) - 1),
        "endless_convolution": changed(conv_kernel_size=(1 << 63) - 1),
        "no_epsilon": changed(layer_norm_eps=0),
        "full_dropout": changed(hidden_dropout_prob=1.0),
        "unknown_activation": changed(hidden_act="maxout"),
        "unknown_term": changed(pos_att_type="p2p"),
        "unknown_model": changed(model_type="bert"),
        "text_for_number": changed(vocab_size="64"),
        "deep": '{"a":' * 200,
    }
    for name, content in cases.items():
        write("config", name, content)


pytorch()
safetensors()
index()
config()
