"""Tables and curves of gpu.py's results."""

# Times PyTorch eager, by tokens of a sequence, as the chart in FlashDeBERTa's README has it.
FLASH_DEBERTA = {128: 1.1, 512: 1.5, 2048: 3.5}
COLOURS = ["#c2410c", "#0f766e"]
WIDTH, HEIGHT, MARGIN = 640, 360, 45


def markdown(results):
    parts = [f"# {results['device']}\n"]
    if results["golden"]:
        parts.append(golden(results["golden"]))
    if results["speed"]:
        parts.append(speed(results))
    if results["memory"]:
        parts.append(memory(results["memory"]))
    if len(results["losses"]) == 2:
        parts.append(losses(results["losses"]))
    return "\n".join(parts)


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def exponent(number):
    return "not a number" if number is None else f"{number:.1e}"


def golden(rows):
    """Largest and median distances over the golden files, by type."""
    cells = []
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        of_type = [row for row in rows if row["dtype"] == dtype]
        line = [dtype, str(len(of_type))]
        for kind in ("output", "gradient"):
            worst = max(of_type, key=lambda row: float("inf") if row[kind] is None else row[kind])
            line.append(f"{exponent(worst[kind])} ({worst['name']})")
        cells.append(line + ["yes" if all(row["ok"] for row in of_type) else "NO"])
    return table(["type", "golden files", "output off by at most", "gradients off by at most", "within bounds"], cells)


def speed(results):
    header = ["case", "ours, tokens/s", "over eager", "over compiled", "goal over eager", "TFLOP/s", "share of peak"]
    rows = []
    for key, case in results["speed"].items():
        workers = case["workers"]
        if "ours" not in workers:
            rows.append([key, case["failed"].get("ours", "failed"), *["–"] * 5])
            continue
        ours = workers["ours"]
        rows.append([key, f"{ours['tokens_per_s']:.0f}", *(ratio(case, it) for it in ("torch", "torch-compiled")),
                     goal(key, case), f"{ours['tflop_per_s']:.1f}", share(results, key, ours)])
    notes = ["\nRatios are medians of rounds, with the lowest and the highest.\n"]
    rates = results["products"]
    if results["peak_tflop_per_s"]:
        notes.append(f"Peak: {results['peak_tflop_per_s']} TFLOP/s in bf16 by the data sheet.\n")
    measured = [f"{name} {rate / 1e3:.1f}" for name, rate in rates.items() if isinstance(rate, float)]
    notes.append(f"Large matrix product, TFLOP/s: {', '.join(measured) or 'not measured'}.\n")
    for name, numbers in results["differences"].items():
        numbers = ", ".join(f"{worker} {exponent(number)}" for worker, number in numbers.items())
        notes.append(f"Largest difference to transformers in f32, {name}: {numbers}.\n")
    return table(header, rows) + "\n".join(notes)


def ratio(case, name):
    entry = case["workers"].get(name, {}).get("ours_is_faster")
    if entry is None:
        return case["failed"].get(name, "–").replace("|", "/")[:80]
    return "{:.2f} ({:.2f} to {:.2f})".format(*entry)


def goal(key, case):
    """Twice eager, and 1.2 times the better of compiled PyTorch and FlashDeBERTa."""
    workers, length = case["workers"], int(key.rsplit("x", 1)[1])
    if "torch" not in workers:
        return "–"
    compiled = workers.get("torch-compiled", workers["torch"])
    others = max(workers["torch"]["seconds"] / compiled["seconds"], FLASH_DEBERTA.get(length, 1.0))
    wanted = max(2.0, 1.2 * others)
    reached = workers["torch"]["ours_is_faster"][0] >= wanted
    return f"{wanted:.2f}: {'reached' if reached else 'missed'}"


def share(results, key, ours):
    peak = results["peak_tflop_per_s"]
    if peak is None or " bf16 " not in key:
        return "–"
    return f"{100 * ours['tflop_per_s'] / peak:.0f} %"


def memory(cases):
    rows = []
    for key, case in cases.items():
        for name, entry in case["workers"].items():
            rows.append([key, name, f"{entry['gb']:.2f} GB", f"{entry['seconds']:.3f} s"])
        rows += [[key, name, reason.replace("|", "/")[:80], "–"] for name, reason in case["failed"].items()]
    return table(["training step", "program", "memory", "time"], rows)


def losses(curves):
    here, cpu = curves["here"], curves["cpu f32"]
    pairs = list(zip(here["losses"], cpu["losses"]))
    last = pairs[-20:]
    mean = [sum(it) / len(last) for it in zip(*last)]
    largest = max(abs(a - b) for a, b in pairs)
    return (f"Default pre-training, {len(pairs)} steps: mean loss of the last {len(last)} is {mean[0]:.4f} nats on "
            f"{here['label']}, {mean[1]:.4f} on {cpu['label']}; they differ by {largest:.4f} at most (losses.svg).\n")


def curves(series):
    """Losses by step, one line for each run."""
    most = max(max(it["losses"]) for it in series.values())
    least = min(min(it["losses"]) for it in series.values())
    steps = max(len(it["losses"]) for it in series.values())

    def point(step, loss):
        x = MARGIN + step / max(steps - 1, 1) * (WIDTH - 2 * MARGIN)
        y = MARGIN + (most - loss) / max(most - least, 1e-9) * (HEIGHT - 2 * MARGIN)
        return f"{x:.1f},{y:.1f}"

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
             f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             f'<text x="5" y="{MARGIN}">{most:.2f}</text><text x="5" y="{HEIGHT - MARGIN}">{least:.2f}</text>',
             f'<text x="{WIDTH - 2 * MARGIN}" y="{HEIGHT - 20}">step {steps}</text>',
             f'<text x="{MARGIN}" y="20">Loss in nats</text>']
    for index, curve in enumerate(series.values()):
        points = " ".join(point(step, loss) for step, loss in enumerate(curve["losses"]))
        colour = COLOURS[index % len(COLOURS)]
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{points}"/>')
        lines.append(f'<text x="{WIDTH - 200}" y="{40 + 18 * index}" fill="{colour}">{curve["label"]}</text>')
    return "\n".join(lines) + "</svg>\n"
