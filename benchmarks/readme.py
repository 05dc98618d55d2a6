"""Put the newest figures of results.csv into README.md, and draw quality.svg from curves.csv.

python -m benchmarks.readme
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.timing import RESULTS
from benchmarks.training import CURVES
from minillm.plots import BASELINE, NUMPY, TORCH, use_style

FOLDER = Path(__file__).parent
START, END = "<!-- figures -->", "<!-- end of figures -->"
COLORS = {"reference": BASELINE, "ours, short": TORCH, "ours, long": NUMPY}


def table():
    """The newest row of each comparison, as a table in Markdown."""
    rows = pd.read_csv(RESULTS, dtype=str)
    rows["other"] = rows["against"].str.split("[:;]").str[0]  # without this run's losses
    newest = rows.drop_duplicates(["threads", "what", "other"], keep="last")
    lines = [
        "| what | against | threads | ms | ratio (quartiles) | date |",
        "|---|---|--:|--:|--:|---|",
    ]
    for r in newest.itertuples():
        ratio = f"{r.ratio} ({r.low}–{r.high})"
        cells = [r.what, r.against, r.threads, f"{_short(float(r.ms))}", ratio, r.date]
        lines.append(f"| {' | '.join(cells)} |")
    machines = "; ".join(newest["machine"].unique())
    versions = "; ".join(newest["versions"].unique())
    return "\n".join([*lines, "", f"On {machines}. {versions}."])


def _short(ms):
    """Three digits, or all before the point."""
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.3g}"


def draw(path):
    """The loss against the seconds of training, every seed a line."""
    use_style()
    figure, ax = plt.subplots(figsize=(7, 3.5))
    for (side, seed), curve in pd.read_csv(CURVES).groupby(["side", "seed"]):
        label = side if seed == 0 else None
        ax.plot(curve["seconds"], curve["loss"], "o-", ms=3, color=COLORS[side], label=label)
    ax.set(xlabel="seconds of training", ylabel="held-out loss (nats per token)")
    ax.legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main():
    readme = FOLDER / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(START)
    readme.write_text(f"{before}{START}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    if CURVES.exists() and pd.read_csv(CURVES).groupby(["side", "seed"]).size().max() > 1:
        draw(FOLDER / "quality.svg")


if __name__ == "__main__":
    main()
