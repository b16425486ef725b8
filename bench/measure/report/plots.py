# SPDX-License-Identifier: BSD-3-Clause
"""Plots as SVG text, to stand in a page that has the colours --c1 to --c8 and the script of page.py for what the pointer is over."""
import json
import math
from html import escape

WIDTH, HEIGHT = 1080, 210
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 22, 24
MOST_LINES = 8
GAP = 2.6  # seconds without a reading: the line is not drawn across


def ticks(top, count=4):
    """Round numbers from 0 to at least `top`."""
    if top <= 0 or not math.isfinite(top):
        return [0, 1]
    step = 10 ** math.floor(math.log10(top / count))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if step * factor * count >= top * 0.999)
    return [step * at for at in range(math.ceil(top / step - 0.001) + 1)]


def short(value):
    """An axis label."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def biggest(series, most=MOST_LINES):
    """The lines worth drawing, in their own order, and how many were left out: those beyond `most`, and those that would lie on the axis."""
    sums = {who: sum(value for _, value in points) for who, points in series.items()}
    least = max(sums.values()) * 0.003
    kept = [who for who in sorted(sums, key=lambda who: -sums[who])[:most] if sums[who] >= least]
    return {who: points for who, points in series.items() if who in kept}, len(series) - len(kept)


def time_plot(title, unit, series, phases, span, note=""):
    """Lines over the run's seconds, with the phases as bands. '' if there is nothing to draw."""
    begin, end = span
    series = {who: [(t, value) for t, value in points if begin <= t <= end] for who, points in series.items()}
    series = {who: points for who, points in series.items() if points}
    if not series:
        return ""
    series, left_out = biggest(series)
    if left_out:
        note = f"{note} The {left_out} smallest lines are not drawn; samples.jsonl has them.".strip()
    marks = ticks(max(value for points in series.values() for _, value in points))
    across = (WIDTH - LEFT - RIGHT) / max(end - begin, 0.001)

    def x(t):
        return LEFT + (t - begin) * across

    def y(value):
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / marks[-1])

    parts = [*_bands(phases, x), *_grid(marks, y, short), *_time_axis(begin, end, x)]
    for at, (who, points) in enumerate(series.items()):
        parts.append(_line(points, x, y, f"l{at + 1}"))
    data = {
        "begin": begin,
        "end": end,
        "unit": unit,
        "lines": [
            {"name": who, "points": [[round(t, 2), round(value, 3)] for t, value in points]} for who, points in series.items()
        ],
        "phases": [[phase["phase"], phase["round"], phase["start"], phase["end"]] for phase in phases],
    }
    return _figure(title, unit, list(series), parts, note, data)


def _line(points, x, y, style):
    path, before = [], None
    for t, value in points:
        path.append(f"{'M' if before is None or t - before > GAP else 'L'}{x(t):.1f} {y(value):.1f}")
        before = t
    dots = ""
    # A reading with no neighbour would be a line of no length.
    for at, (t, value) in enumerate(points):
        lonely = (at == 0 or t - points[at - 1][0] > GAP) and (at + 1 == len(points) or points[at + 1][0] - t > GAP)
        dots += f'<circle class="{style}" cx="{x(t):.1f}" cy="{y(value):.1f}" r="2.5"/>' if lonely else ""
    return f'<path class="line {style}" d="{"".join(path)}"/>{dots}'


def _bands(phases, x):
    parts = []
    for at, phase in enumerate(phases):
        begin, width = x(phase["start"]), max(0.0, x(phase["end"]) - x(phase["start"]))
        parts.append(
            f'<rect class="band{" odd" if at % 2 else ""}{" failed" if "failed" in phase else ""}" x="{begin:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
        )
        if width > len(phase["phase"]) * 5.6 + 4:
            parts.append(f'<text class="phase" x="{begin + 3:.1f}" y="{TOP - 6}">{escape(phase["phase"])}</text>')
    return parts


def _grid(marks, y, text):
    parts = []
    for mark in marks:
        parts.append(
            f'<path class="grid" d="M{LEFT} {y(mark):.1f}H{WIDTH - RIGHT}"/><text class="tick" x="{LEFT - 6}" y="{y(mark) + 3.5:.1f}" text-anchor="end">{text(mark)}</text>'
        )
    return parts


def _time_axis(begin, end, x):
    step = next(
        (step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200) if (end - begin) / step <= 12),
        (end - begin) / 10,
    )
    parts, t = [], math.ceil(begin / step) * step
    while t <= end:
        parts.append(f'<text class="tick" x="{x(t):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{t:g} s</text>')
        t += step
    return parts


def percentile_plot(title, lines):
    """lines: {name: [(percent, us)]}. The axis of microseconds is logarithmic, that of percentiles has a step for each point."""
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    percents = sorted({percent for points in lines.values() for percent, _ in points})
    values = [value for points in lines.values() for _, value in points if value > 0]
    low, high = math.floor(math.log10(min(values)) * 3) / 3, math.ceil(math.log10(max(values)) * 3) / 3
    high = max(high, low + 1 / 3)

    def x(percent):
        return LEFT + (WIDTH - LEFT - RIGHT - 40) * percents.index(percent) / max(1, len(percents) - 1) + 20

    def y(value):
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (math.log10(max(value, 1e-3)) - low) / (high - low))

    marks = [
        factor * 10**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for factor in (1, 2, 5)
        if low <= math.log10(factor * 10**power) + 1e-9 <= high + 2e-9
    ]
    parts = _grid(marks, y, short)
    for percent in percents:
        name = {0: "min", 50: "median", 100: "max"}.get(percent, f"p{percent:g}")
        parts.append(f'<text class="tick" x="{x(percent):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{name}</text>')
    for at, points in enumerate(lines.values()):
        parts.append(
            f'<path class="line l{at + 1}" d="M'
            + "L".join(f"{x(percent):.1f} {y(value):.1f}" for percent, value in points)
            + '"/>'
        )
        parts += [
            f'<circle class="l{at + 1}" cx="{x(percent):.1f}" cy="{y(value):.1f}" r="3"><title>p{percent:g}: {value:.1f} us</title></circle>'
            for percent, value in points
        ]
    return _figure(title, "us, logarithmic", list(lines), parts, "", None)


def _figure(title, unit, names, parts, note, data):
    legend = "".join(f'<span><i class="b{at + 1}"></i>{escape(name)}</span>' for at, name in enumerate(names))
    # "</" would end the script element that holds the data.
    script = f'<script type="application/json">{json.dumps(data).replace("</", "<" + chr(92) + "/")}</script>' if data else ""
    foot = f'<p class="note">{escape(note)}</p>' if note else ""
    return (
        f'<figure{" data-plot" if data else ""}><figcaption><b>{escape(title)}</b> <em>{escape(unit)}</em><div class="legend">{legend}</div></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>{script}{foot}</figure>'
    )


def ratio_mark(ratio, noise, verdict, width=190, height=16):
    """B/A on a logarithmic axis from 1/2 to 2, with the noise as a bar; what is beyond stands at the edge."""
    if ratio is None or ratio <= 0:
        return ""

    def x(value):
        return width / 2 * (1 + max(-1.0, min(1.0, math.log2(max(value, 1e-6))))) * 0.94 + width * 0.03

    middle = height / 2
    bar = "" if noise is None else f'<path class="noise" d="M{x(ratio - noise):.1f} {middle}H{x(ratio + noise):.1f}"/>'
    style = verdict if verdict in ("better", "worse") else "same"
    return (
        f'<svg class="ratio" viewBox="0 0 {width} {height}" width="{width}" height="{height}"><path class="grid" d="M{x(1):.1f} 0V{height}"/>{bar}'
        f'<circle class="{style}" cx="{x(ratio):.1f}" cy="{middle}" r="4"/></svg>'
    )
