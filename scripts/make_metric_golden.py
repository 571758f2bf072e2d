"""Makes random and degenerate predictions and what the reference tools say about them.

    python3 -m venv venv
    venv/bin/pip install numpy scikit-learn==1.9.1 scipy==1.17.1 seqeval==1.2.2
    venv/bin/pip install --no-deps farm==0.8.0 jiant==2.2.0
    venv/bin/python scripts/make_metric_golden.py

SQuAD 2.0 is judged by the official script as shipped in farm, SQuAD 1.1 and ReCoRD by the functions of ReCoRD's
official script (which took them from SQuAD 1.1) as shipped in jiant; neither package is imported as a whole.
Writes crates/deberta-data/tests/fixtures/metric/. NaN is written as null.
"""

import importlib.util
import json
import math
import random
import re
import string
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
from scipy import stats
from seqeval import metrics as seqeval
from seqeval.scheme import IOB2, IOBES
from sklearn import metrics as sk

OUT = Path(__file__).parents[1] / "crates/deberta-data/tests/fixtures/metric"


def load(package, file):
    """A single file of an installed package, without the imports of the package."""
    folder = Path(importlib.util.find_spec(package).submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location(Path(file).stem, folder / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SQUAD2 = load("farm", "evaluation/squad_evaluation.py")
RECORD = load("jiant", "utils/string_comparing.py")


def plain(value):
    """Numbers that JSON knows; null for NaN."""
    if isinstance(value, dict):
        return {key: plain(it) for key, it in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(it) for it in value]
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else float(value)
    return value


def prf(scores):
    precision, recall, f1, _ = scores
    return [precision, recall, f1]


def classification(rng):
    cases = [([0], [0], 1), ([1, 1, 1], [1, 1, 1], 2), ([0, 0, 0], [1, 1, 1], 2), ([0, 1], [1, 0], 2), ([0, 0, 0], [0, 1, 2], 3), ([2, 2], [2, 2], 5), ([1], [0], 2)]
    for _ in range(25):
        num_labels, n = rng.choice([2, 2, 3, 5, 9]), rng.choice([1, 2, 5, 40])
        gold = [rng.randrange(num_labels) for _ in range(n)]
        noise = rng.random()
        cases.append(([rng.randrange(num_labels) if rng.random() < noise else it for it in gold], gold, num_labels))
    for predictions, references, num_labels in cases:
        labels = list(range(num_labels))
        yield {
            "predictions": predictions,
            "references": references,
            "num_labels": num_labels,
            "accuracy": sk.accuracy_score(references, predictions),
            "matthews": sk.matthews_corrcoef(references, predictions),
            "kappa": sk.cohen_kappa_score(references, predictions, labels=labels, weights="quadratic"),
            "micro": prf(sk.precision_recall_fscore_support(references, predictions, average="micro")),
            "macro": prf(sk.precision_recall_fscore_support(references, predictions, average="macro")),
            "weighted": prf(sk.precision_recall_fscore_support(references, predictions, average="weighted")),
            "per_label": np.transpose(sk.precision_recall_fscore_support(references, predictions, labels=labels)),
            "matrix": sk.confusion_matrix(references, predictions, labels=labels),
        }


def multi_label(rng):
    cases = [([[]], [[]], 2), ([[0]], [[]], 2), ([[], []], [[0], [1]], 2), ([[0, 1], [1]], [[0, 1], [1]], 3)]
    for _ in range(15):
        num_labels, n, density = rng.choice([2, 4, 7]), rng.choice([1, 3, 30]), rng.random()
        some = lambda: [[it for it in range(num_labels) if rng.random() < density] for _ in range(n)]
        cases.append((some(), some(), num_labels))
    for predictions, references, num_labels in cases:
        hot = lambda sets: np.array([[int(it in labels) for it in range(num_labels)] for labels in sets])
        y, p = hot(references), hot(predictions)
        yield {
            "predictions": predictions,
            "references": references,
            "num_labels": num_labels,
            "subset_accuracy": sk.accuracy_score(y, p),
            "samples_f1": sk.f1_score(y, p, average="samples"),
            "micro": prf(sk.precision_recall_fscore_support(y, p, average="micro")),
            "macro": prf(sk.precision_recall_fscore_support(y, p, average="macro")),
            "weighted": prf(sk.precision_recall_fscore_support(y, p, average="weighted")),
            "per_label": np.transpose(sk.precision_recall_fscore_support(y, p)),
        }


def regression(rng):
    cases = [([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [2, 2, 2]), ([0, 1], [1, 0]), ([3, 2, 1], [1, 2, 3]), ([0.1] * 7, [0.3] * 7), ([1, 2, 2, 2, 3], [5, 5, 1, 1, 0]), ([0.0, -0.0, 1.0], [1, 2, 3]), ([1e12 + it for it in range(6)], [it * it for it in range(6)])]
    for _ in range(20):
        n, step = rng.choice([2, 3, 10, 60]), rng.choice([0, 0.5, 1])
        number = lambda: round(rng.gauss(2.5, 1.5) / step) * step if step else rng.gauss(2.5, 1.5)
        gold = [number() for _ in range(n)]
        cases.append(([it * 0.7 + number() for it in gold], gold))
    for predictions, references in cases:
        predictions, references = [float(it) for it in predictions], [float(it) for it in references]
        yield {
            "predictions": predictions,
            "references": references,
            "pearson": stats.pearsonr(predictions, references)[0],
            "spearman": stats.spearmanr(predictions, references)[0],
            "mse": sk.mean_squared_error(references, predictions),
            "mae": sk.mean_absolute_error(references, predictions),
        }


def roc_auc(rng):
    cases = [([0.5, 0.5], [True, False]), ([0.1, 0.2], [True, True]), ([0.1, 0.2], [False, True]), ([0.2, 0.1], [False, True])]
    for _ in range(15):
        n, digits = rng.choice([2, 5, 50]), rng.choice([1, 12])
        cases.append(([round(rng.random(), digits) for _ in range(n)], [rng.random() < 0.4 for _ in range(n)]))
    for scores, references in cases:
        yield {"scores": scores, "references": references, "auc": sk.roc_auc_score(references, scores)}


def entity(rng):
    kinds = ["PER", "LOC", "creative-work"]
    random_tag = lambda prefixes: rng.choice(["O"] + [f"{p}-{k}" for p in prefixes for k in kinds])
    cases = [
        ("lenient", [["O"]], [["O"]]), ("lenient", [[]], [[]]), ("lenient", [["O", "O"]], [["B-PER", "I-PER"]]),
        ("lenient", [["B-PER", "I-PER"]], [["O", "O"]]), ("lenient", [["B-PER", "I-LOC"]], [["I-PER", "E-LOC"]]),
        ("lenient", [["B", "I", "O"]], [["B", "I", "O"]]), ("lenient", [["I-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]]),
        ("lenient", [["B-", "I-"]], [["B", "I"]]), ("lenient", [["PER", "O"]], [["B-PER", "O"]]), ("lenient", [[".", "B-A", "."]], [["I-A", "S-A", "E-A"]]),
        ("iob2", [["I-PER", "B-PER"]], [["B-PER", "I-PER"]]), ("iob2", [["O"]], [["O"]]), ("iob2", [["B", "I"]], [["B", "I"]]),
        ("iobes", [["B-PER", "E-PER", "E-PER"]], [["B-PER", "E-PER", "S-PER"]]), ("iobes", [["B-PER", "I-PER"]], [["B-PER", "I-PER"]]),
    ]
    for scheme, prefixes in [("lenient", "BI"), ("lenient", "BIES"), ("iob2", "BI"), ("iobes", "BIES")]:
        for _ in range(12):
            gold = [[random_tag(prefixes) for _ in range(rng.randint(0, 12))] for _ in range(rng.choice([1, 3, 8]))]
            noise = rng.random()
            cases.append((scheme, [[random_tag(prefixes) if rng.random() < noise else it for it in tags] for tags in gold], gold))
    for scheme, predictions, references in cases:
        strict = {"iob2": {"mode": "strict", "scheme": IOB2}, "iobes": {"mode": "strict", "scheme": IOBES}}.get(scheme, {})
        score = lambda average: prf([getattr(seqeval, f"{name}_score")(references, predictions, average=average, **strict) for name in ("precision", "recall", "f1")] + [0])
        report = seqeval.classification_report(references, predictions, output_dict=True, **strict) if any(score("micro")) or any(it != "O" for tags in references for it in tags) else {}
        kinds_only = {k: [v["precision"], v["recall"], v["f1-score"], v["support"]] for k, v in report.items() if not k.endswith(" avg")}
        words = sum(map(len, references))
        averages = {average: score(average) for average in ["micro", "macro", "weighted"]}
        # The mean over no types is a NaN by numpy, not by intent: 0 here, like the other averages.
        averages["macro"] = [0.0 if math.isnan(it) else it for it in averages["macro"]]
        yield {"scheme": scheme, "predictions": predictions, "references": references, "accuracy": seqeval.accuracy_score(references, predictions) if words else math.nan, **averages, "per_kind": kinds_only}


WORDS = ["the", "a", "an", "The", "An", "Normandy", "normandy", "10th", "U.S.", "co-op", "e.g.", "naïve", "ÜBER", "İstanbul", "ΟΔΟΣ", "ς", "ß", "--", "“quoted”", "'s", "a\u0301", "and", "theme", "x_y", "1,000", "\u00a0", "\x1c", "\u200b", "日本", "…", "", "%", "ª", "²", "Ⅷ", "the-a", "(an)", "ﬁ"]


def answer(rng):
    return rng.choice([" ", "  ", "\t", " "]).join(rng.choice(WORDS) for _ in range(rng.randint(0, 5)))


def near(rng, text):
    words = text.split(" ")
    rng.shuffle(words)
    return " ".join(words[: rng.randint(0, len(words))] + ([rng.choice(WORDS)] if rng.random() < 0.5 else []))


def text_pairs(rng):
    pairs = [("", ""), ("the", "a"), ("The", ""), ("a b", "b a"), ("b b", "b"), ("Α", "α")]
    for _ in range(120):
        gold = answer(rng)
        pairs.append((near(rng, gold), gold))
    for prediction, reference in pairs:
        yield {
            "prediction": prediction,
            "reference": reference,
            "normalized": RECORD.normalize_answer(prediction),
            "exact": bool(RECORD.exact_match_score(prediction, reference)),
            "f1": float(RECORD.string_f1_score(prediction, reference)),
        }


def squad1(rng):
    for n in [1, 1, 2, 5, 20, 20]:
        questions = []
        for _ in range(n):
            golds = [answer(rng) for _ in range(rng.randint(1, 4))]
            prediction = None if rng.random() < 0.1 else near(rng, rng.choice(golds))
            questions.append({"prediction": prediction, "references": golds, "no_answer_prob": 0.0})
        best = lambda score, it: 0 if it["prediction"] is None else max(score(it["prediction"], gold) for gold in it["references"])
        yield {
            "questions": questions,
            "exact_match": 100.0 * sum(best(RECORD.exact_match_score, it) for it in questions) / n,
            "f1": 100.0 * sum(best(RECORD.string_f1_score, it) for it in questions) / n,
        }


def squad2(rng):
    shapes = [(1, 0.0), (1, 1.0), (4, 1.0), (4, 0.0), (6, 0.5), (20, 0.5), (20, 0.3), (20, 0.5), (20, 0.5), (20, 0.5)]
    for case, (n, answerable) in enumerate(shapes):
        questions = []
        for _ in range(n):
            golds = [answer(rng) for _ in range(rng.randint(1, 3))] if rng.random() < answerable else []
            kind = rng.random()
            prediction = None if kind < 0.1 and n > 1 else "" if kind < 0.3 else near(rng, rng.choice(golds)) if golds else answer(rng)
            prob = rng.choice([0.0, 0.25, 0.5, 1.0]) if case % 2 else rng.random()
            questions.append({"prediction": prediction, "references": golds, "no_answer_prob": prob})
        threshold = rng.choice([0.3, 0.5, 1.0])
        dataset = [{"paragraphs": [{"qas": [{"id": str(i), "answers": [{"text": t} for t in it["references"]]} for i, it in enumerate(questions)]}]}]
        preds = {str(i): it["prediction"] for i, it in enumerate(questions) if it["prediction"] is not None}
        probs = {key: questions[int(key)]["no_answer_prob"] for key in preds}
        has_answer = SQUAD2.make_qid_to_has_ans(dataset)
        sys.stdout = open("/dev/null", "w")
        exact_raw, f1_raw = SQUAD2.get_raw_scores(dataset, preds)
        sys.stdout = sys.__stdout__
        exact = SQUAD2.apply_no_ans_threshold(exact_raw, probs, has_answer, threshold)
        f1 = SQUAD2.apply_no_ans_threshold(f1_raw, probs, has_answer, threshold)
        expected = dict(SQUAD2.make_eval_dict(exact, f1))
        for prefix, wanted in [("HasAns", True), ("NoAns", False)]:
            ids = [key for key in preds if has_answer[key] == wanted]
            if ids:
                SQUAD2.merge_eval(expected, SQUAD2.make_eval_dict(exact, f1, ids), prefix)
        SQUAD2.find_all_best_thresh(expected, preds, exact_raw, f1_raw, probs, has_answer)
        yield {"questions": questions, "threshold": threshold, "expected": expected}


def multirc(rng):
    cases = [[("a", True, True)], [("a", False, False)], [("a", True, False)], [("a", False, True), ("b", True, True)]]
    for _ in range(12):
        noise = rng.random()
        questions = rng.sample(string.ascii_lowercase, rng.choice([1, 3, 10]))
        case = []
        for question in questions:
            for _ in range(rng.randint(1, 6)):
                gold = rng.random() < 0.45
                case.append((question, rng.random() < 0.5 if rng.random() < noise else gold, gold))
        rng.shuffle(case)
        cases.append(case)
    for case in cases:
        groups = {}
        for question, prediction, gold in case:
            groups.setdefault(question, []).append((prediction, gold))
        columns = [list(zip(*group)) for group in groups.values()]
        precision = np.mean([sk.precision_score(gold, pred, zero_division=1) for pred, gold in columns])
        recall = np.mean([sk.recall_score(gold, pred, zero_division=1) for pred, gold in columns])
        yield {
            "candidates": case,
            "f1a": sk.f1_score([it[2] for it in case], [it[1] for it in case]),
            "exact_match": np.mean([sk.accuracy_score(gold, pred) == 1 for pred, gold in columns]),
            "f1m": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        }


def ranges(holds):
    found, start = [], None
    for code in range(0x110001):
        inside = code < 0x110000 and not 0xD800 <= code < 0xE000 and holds(chr(code))
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            found.append((start, code - 1))
            start = None
    return found


def python_characters():
    word = re.compile(r"\w")
    everything = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    return {
        "word": ranges(lambda c: word.match(c)),
        "space": ranges(str.isspace),
        "punctuation": string.punctuation,
        "unassigned": ranges(lambda c: unicodedata.category(c) == "Cn"),
        "lower": [(c, c.lower()) for c in everything if c.lower() != c],
    }


def main():
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    OUT.mkdir(parents=True, exist_ok=True)
    for seed, make in enumerate([classification, multi_label, regression, roc_auc, entity, text_pairs, squad1, squad2, multirc]):
        write(make.__name__, list(make(random.Random(seed))))
    write("python_characters", python_characters())


def write(name, content):
    text = json.dumps(plain(content), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    (OUT / f"{name}.json").write_text(text + "\n", encoding="utf-8")


main()
