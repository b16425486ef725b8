# SPDX-License-Identifier: BSD-3-Clause
"""Two recorded runs side by side: what they have in common, as ratios, and whether a ratio is more than noise."""
from . import stats
from .rundir import Trouble
from .summary import number, rows_of
from .traffic import KINDS

# `better` of a row, and whether the second run has more of it.
VERDICTS = {
    ("more", True): "better",
    ("more", False): "worse",
    ("less", True): "worse",
    ("less", False): "better",
    (None, True): "more",
    (None, False): "less",
}


def compare(first, second):
    """[{"phase", "metric", "unit", "a", "b", "ratio", "noise", "verdict"}], and what only one of them has."""
    a, b = ({(row["phase"], row["metric"]): row for row in rows_of(run)} for run in (first, second))
    if not a.keys() & b.keys():
        raise Trouble(f"{first.path} and {second.path} have no figure in common")
    rows = [_compared(row, b[key]) for key, row in a.items() if key in b]
    return rows, {"a": [list(key) for key in a if key not in b], "b": [list(key) for key in b if key not in a]}


def _compared(a, b):
    found = stats.difference(a["samples"], b["samples"])
    if found.noise is None:
        verdict = "one sample" if min(len(a["samples"]), len(b["samples"])) < 2 else "no ratio"
    elif not found.beyond_noise:
        verdict = "within noise"
    else:
        verdict = VERDICTS[a["better"], b["value"] > a["value"]]
    return {
        "phase": a["phase"],
        "metric": a["metric"],
        "unit": a["unit"],
        "a": a["value"],
        "b": b["value"],
        "ratio": None if found.ratio is None else round(found.ratio, 4),
        "noise": None if found.noise is None else round(found.noise, 4),
        "verdict": verdict,
        "of": a["of"] if a["of"] == b["of"] else "seconds",
    }


def notes(first, second, only):
    """What a reader has to know before believing a ratio."""
    found = []
    for key, what in (("machine", "machines"), ("subject", "subjects"), ("traffic", "settings of the traffic")):
        if first.about.get(key) != second.about.get(key):
            found.append(f"different {what}: A {first.about.get(key)}; B {second.about.get(key)}")
    for name, run in (("A", first), ("B", second)):
        if run.about.get("status") != "complete":
            found.append(f"{name} is not complete: {run.about.get('status')}")
    for name, keys in (("A", only["a"]), ("B", only["b"])):
        if keys:
            shown = ", ".join(f"{phase} {metric}" for phase, metric in keys[:4])
            found.append(f"only in {name}: {shown}" + (f" and {len(keys) - 4} more" if len(keys) > 4 else ""))
    return found


def text_of(first, second, rows, only):
    table = [["phase", "figure", "unit", "A", "B", "B/A", "noise", ""]]
    for row in rows:
        title = KINDS[row["phase"]].title if row["phase"] in KINDS else row["phase"]
        table.append(
            [
                title,
                row["metric"],
                row["unit"],
                number(row["a"]),
                number(row["b"]),
                "" if row["ratio"] is None else f"{row['ratio']:.3f}",
                "" if row["noise"] is None else f"±{row['noise']:.3f}",
                row["verdict"],
            ]
        )
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    right = {3, 4, 5, 6}
    lines = [
        f"A: {first.title} ({first.path})",
        f"B: {second.title} ({second.path})",
        *(f"note: {note}" for note in notes(first, second, only)),
        "",
    ]
    lines += [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width) for at, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in table
    ]
    lines.append("\nnoise: the 95 % interval of B/A (Welch); one figure in twenty is beyond it by chance.")
    if any(row["of"] == "seconds" for row in rows):
        lines.append(
            "Fewer than three rounds on a side: the noise is that of seconds within a round, and what differs from round to round is not in it."
        )
    return "\n".join(lines) + "\n"
