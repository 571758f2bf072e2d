"""What a bag of words reaches on SST-2: the baseline that a fine-tuned network has to beat.

    pip install scikit-learn
    python3 scripts/bag_of_words.py TRAIN.tsv ... --dev dev.tsv [--max-train 6000]

Files have a header and the columns `sentence` and `label`. Prints accuracy for word counts and for words and pairs,
logistic regression with scikit-learn's settings.
"""

import argparse
import csv
import random

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression


def read(paths):
    rows = []
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("train", nargs="+")
    parser.add_argument("--dev", required=True)
    parser.add_argument("--max-train", type=int)
    arguments = parser.parse_args()
    train, dev = read(arguments.train), read([arguments.dev])
    sizes = [len(train)] + ([arguments.max_train] if arguments.max_train else [])
    for size in sizes:
        chosen = random.Random(1).sample(train, size)
        for longest in (1, 2):
            counts = CountVectorizer(ngram_range=(1, longest), token_pattern=r"\S+")
            model = LogisticRegression(max_iter=1000)
            model.fit(counts.fit_transform(row["sentence"] for row in chosen), [row["label"] for row in chosen])
            accuracy = model.score(counts.transform(row["sentence"] for row in dev), [row["label"] for row in dev])
            print(f"{size} examples, up to {longest} words: accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
