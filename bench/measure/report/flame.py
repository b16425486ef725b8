# SPDX-License-Identifier: BSD-3-Clause
"""Folded stacks as a flame graph: one SVG that needs nothing else. Click a frame to enlarge it, Escape to go back, / to search."""
from html import escape
from pathlib import Path

WIDTH, ROW, TOP, LEAST = 1200, 18, 34, 0.4  # pixels; a frame narrower than LEAST is not drawn
HEADS = 3  # levels that are no code: all, process, thread
CHARACTER = 6.6  # of the 11-pixel font, about


class Frame:
    def __init__(self, name):
        self.name, self.count, self.inner = name, 0, {}

    def add(self, path, count):
        self.count += count
        if path:
            self.inner.setdefault(path[0], Frame(path[0])).add(path[1:], count)

    def depth(self):
        return 1 + max((frame.depth() for frame in self.inner.values()), default=0)


def tree(folded):
    root = Frame("all")
    for stack, count in folded.items():
        root.add(stack.split(";"), count)
    return root


def colour(name, level):
    """The kind of code by hue, neighbours by lightness: steady between graphs, so two can be looked at side by side."""
    shade = sum(ord(letter) * (at + 1) for at, letter in enumerate(name)) % 5
    if level < HEADS:
        return f"p{shade}"
    if name.endswith("_[k]"):
        return f"k{shade}"
    if name.startswith("["):
        return f"u{shade}"
    return f"v{shade}" if "vmux" in name else f"n{shade}"


def _rows(frame, x, level, scale, total, out):
    width = frame.count * scale
    if width < LEAST:
        return
    share = 100 * frame.count / total
    out.append(
        (x, level, width, frame.name.removesuffix("_[k]"), colour(frame.name, level), f"{frame.count} samples, {share:.1f} %")
    )
    at = x
    for inner in sorted(frame.inner.values(), key=lambda one: one.name):
        _rows(inner, at, level + 1, scale, total, out)
        at += inner.count * scale


def svg(folded, title):
    """The whole file. Sizes are fractions of the width, so enlarging is a matter of arithmetic in the file's own script."""
    root = tree(folded)
    if not root.count:
        return ""
    style, script = (Path(__file__).with_name(f"flame.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    rows = []
    _rows(root, 0.0, 0, WIDTH / root.count, root.count, rows)
    height = TOP + (max(row[1] for row in rows) + 1) * ROW + 8
    parts = [
        f'<svg class="flame" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" aria-label="{escape(title)}">',
        f"<style>{style}</style>",
        f'<text class="t" x="4" y="16">{escape(title)}</text><text class="s" x="{WIDTH - 4}" y="16"></text>',
    ]
    for x, level, width, name, kind, note in rows:
        y = height - 8 - (level + 1) * ROW
        shown = label(name, width)
        parts.append(
            f'<g class="f" data-x="{x:.2f}" data-w="{width:.2f}" data-l="{level}"><title>{escape(name)} ({note})</title>'
            f'<rect class="{kind}" x="{x:.2f}" y="{y}" width="{max(width - 0.5, 0.4):.2f}" height="{ROW - 1}" rx="2"/>'
            f'<text x="{x + 3:.2f}" y="{y + 12.5}">{escape(shown)}</text></g>'
        )
    parts.append(f"<script><![CDATA[{script}]]></script></svg>")
    return "\n".join(parts)


def label(name, width):
    room = int((width - 6) / CHARACTER)
    if room < 3:
        return ""
    return name if len(name) <= room else name[: room - 1] + "…"
