# SPDX-License-Identifier: BSD-3-Clause
"""The page of a run, and that of two runs compared: one HTML file each, which loads nothing."""
from html import escape
from pathlib import Path

from .. import compare
from ..sampling.profile import read_folded
from ..summary import number
from ..traffic import KINDS
from . import flame, plots

HERE = Path(__file__).resolve().parent
CPU_NOTE = "In percent of one CPU: 100 is a thread that never sleeps."


def page(title, body):
    style, script = ((HERE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)}</title><style>{style}</style></head><body><main>{body}</main><div id="tip"></div><script>{script}</script></body></html>\n'
    )


def run_page(run, rows):
    about = run.about
    facts = "".join(
        f"<dt>{name}</dt><dd>{escape(str(about[name]))}</dd>"
        for name in ("machine", "subject", "traffic", "processes", "started")
        if about.get(name)
    )
    status = (
        ""
        if about.get("status") == "complete"
        else f'<p class="warn">This run is not complete: {escape(str(about.get("status")))}. What was measured until then is below.</p>'
    )
    body = [f"<h1>{escape(run.title)}</h1>", status, f"<dl>{facts}</dl>", _failures(run), _tiles(rows)]
    for heading, figures in (
        ("Traffic", _traffic_plots(run)),
        ("CPU", _cpu_plots(run)),
        ("Interrupts and exits", _interrupt_plots(run)),
        ("IOMMU and tracepoints", _iommu_plots(run)),
    ):
        figures = [figure for figure in figures if figure]
        if figures:
            body += [f"<h2>{heading}</h2>", *figures]
    body += [_profile(run), "<h2>All figures</h2>", _table(rows), _missing(about)]
    return page(run.title, "\n".join(part for part in body if part))


def _failures(run):
    failed = [phase for phase in run.phases if "failed" in phase]
    items = "".join(f"<li>{escape(phase['phase'])}, round {phase['round']}: {escape(phase['failed'])}</li>" for phase in failed)
    return f'<div class="warn"><b>Phases without figures</b><ul>{items}</ul></div>' if items else ""


def _missing(about):
    items = "".join(
        f"<li>{escape(entry['what'])}<br><code>{escape(entry['mend'])}</code></li>" for entry in about.get("missing", [])
    )
    return f"<h2>Not measured</h2><ul>{items}</ul>" if items else ""


def _tiles(rows):
    tiles = []
    for row in rows:
        if row["metric"] not in ("throughput", "rtt median"):
            continue
        others = {other["metric"]: other for other in rows if other["phase"] == row["phase"]}
        extra = [
            f"{number(others[name]['value'])} {unit}"
            for name, unit in (("rtt p99", "us p99"), ("lost", "% lost"), ("CPU per GB", "CPU s/GB"))
            if name in others
        ]
        spread = f" ± {number(row['plus_minus'])}" if row["plus_minus"] is not None else ""
        tiles.append(
            f'<div class="tile"><span>{escape(KINDS[row["phase"]].title if row["phase"] in KINDS else row["phase"])}</span>'
            f'<b>{number(row["value"])}</b> {row["unit"]}<small>{escape(spread)}</small><small>{escape(" · ".join(extra))}</small></div>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _time(run, title, unit, series, note=""):
    bands = list(run.phases)
    if run.about.get("profile"):
        start, end = run.about["profile"]
        bands.append({"phase": "profile", "round": 1, "start": start, "end": end})
    return plots.time_plot(title, unit, series, bands, _span(run), note)


def _span(run):
    """From just before the first phase, so that the boot of guests takes no room, to the last reading."""
    begin = min((phase["start"] for phase in run.phases), default=1) - 1
    return max(0, begin), max([*(phase["end"] for phase in run.phases), *(sample["t"] for sample in run.samples)], default=1)


def _named(kind):
    return KINDS[kind].title if kind in KINDS else kind


def _traffic_plots(run):
    throughput = {_named(kind): points for kind, points in run.series("throughput", "mbits").items()}
    lost = {
        _named(kind): points
        for kind, points in run.series("throughput", "lost_percent").items()
        if any(value for _, value in points)
    }
    latency = {_named(kind): points for kind, points in run.series("latency", "median_us").items()}
    return [
        _time(run, "Throughput, as received", "Mbit/s", throughput),
        _time(run, "UDP lost", "%", lost),
        _time(run, "Round trip, median of each second", "us", latency),
        plots.percentile_plot("Round trips", _percentiles(run)),
    ]


def _percentiles(run):
    """Of each kind the median over its rounds, point by point."""
    found = {}
    for phase in run.phases:
        for percent, value in phase.get("latency", {}).get("percentiles", []):
            found.setdefault(_named(phase["phase"]), {}).setdefault(percent, []).append(value)
    return {
        name: [(percent, sorted(values)[len(values) // 2]) for percent, values in sorted(points.items())]
        for name, points in found.items()
    }


def _cpu_plots(run):
    threads = run.series("thread", "cpu")
    processes = {who: points for who, points in threads.items() if "/" not in who}
    return [
        _time(
            run, "Machines, all their CPUs", "%", run.series("cpu", "busy"), "The VMs' own view: what their kernels call busy."
        ),
        _time(run, "Processes", "% of a CPU", processes, CPU_NOTE),
        _time(run, "Threads", "% of a CPU", {who: points for who, points in threads.items() if "/" in who}, CPU_NOTE),
        _time(
            run,
            "Context switches of the processes",
            "/s",
            {who: points for who, points in run.series("thread", "switches").items() if "/" not in who},
        ),
    ]


def _interrupt_plots(run):
    figures = [_time(run, "Interrupts", "/s", run.series("interrupts", "all"))]
    for who in sorted({who for who, _ in run.names("interrupts")}):
        lines = {
            name: run.series("interrupts", name)[who] for owner, name in run.names("interrupts") if owner == who and name != "all"
        }
        figures.append(_time(run, f"Interrupts of {who} by line", "/s", lines))
    for who in sorted({who for who, _ in run.names("exits")}):
        lines = {name: run.series("exits", name)[who] for owner, name in run.names("exits") if owner == who and "exits" in name}
        figures.append(_time(run, f"Exits of {who}, as KVM counts them", "/s", lines))
    requests = run.series("vmux", "client.requests")
    figures.append(
        _time(
            run,
            "Messages from the VMM to vMux",
            "/s",
            requests,
            "Each is an access to the device that left the VM, a DMA map or an unmap.",
        )
    )
    return figures


def _iommu_plots(run):
    figures = []
    for source, title in (("tracepoints", "Tracepoints of {}"), ("qemu-trace", "The emulated IOMMU of {}, as QEMU traces it")):
        for who in sorted({who for who, _ in run.names(source)}):
            lines = {name: run.series(source, name)[who] for owner, name in run.names(source) if owner == who}
            figures.append(
                _time(
                    run,
                    title.format(who),
                    "/s",
                    {name: points for name, points in lines.items() if any(value for _, value in points)},
                )
            )
    maps = {
        f"{who} {name.removeprefix('client.').removeprefix('model.')}": run.series("vmux", name)[who]
        for who, name in run.names("vmux")
        if name in ("client.dma_maps", "client.dma_unmaps", "model.dma.maps", "model.dma.unmaps")
    }
    maps = {who: points for who, points in maps.items() if any(value for _, value in points)}
    figures.append(_time(run, "DMA maps and unmaps: asked of vMux, and done by it in this machine's IOMMU", "/s", maps))
    figures.append(_time(run, "Pages pinned for passed-through devices", "pages", run.series("vmux", "model.dma.pages_pinned")))
    return figures


def _profile(run):
    folded = read_folded(run.path / "profile.folded")
    if not folded:
        return ""
    graph = flame.svg(folded, f"{run.title}: {sum(folded.values())} samples while TCP ran to the VM")
    return (
        '<h2>Profile</h2><p class="note">Width is time on a CPU. Grey bottom: processes and threads; green: vMux; blue: the kernel; orange: other code; '
        "grey: code without a name, as what QEMU translates for an emulated VM. Click enlarges, Escape goes back, / searches.</p>"
        + graph
    )


def _table(rows):
    lines = []
    for at, row in enumerate(rows):
        first = at == 0 or rows[at - 1]["phase"] != row["phase"]
        lines.append(
            f'<tr{" class=first" if first else ""}><td>{escape(_named(row["phase"])) if first else ""}</td><td>{escape(row["metric"])}</td>'
            f'<td class="n">{number(row["value"])}</td><td class="n">{"" if row["plus_minus"] is None else "± " + number(row["plus_minus"])}</td><td>{escape(row["unit"])}</td>'
            f'<td class="n">{len(row["samples"])} {row["of"]}</td></tr>'
        )
    return (
        f'<div class="scroll"><table><thead><tr><th>phase</th><th>figure</th><th class="n">mean</th><th class="n">95 %</th><th>unit</th><th class="n">of</th></tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table></div>'
    )


def compare_page(first, second, rows, only):
    lines = []
    for at, row in enumerate(rows):
        head = at == 0 or rows[at - 1]["phase"] != row["phase"]
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3f}"
        noise = "" if row["noise"] is None else f"± {row['noise']:.3f}"
        lines.append(
            f'<tr{" class=first" if head else ""}><td>{escape(_named(row["phase"])) if head else ""}</td><td>{escape(row["metric"])}</td><td class="n">{number(row["a"])}</td>'
            f'<td class="n">{number(row["b"])}</td><td>{escape(row["unit"])}</td><td class="n">{ratio}</td><td class="n">{noise}</td>'
            f'<td>{plots.ratio_mark(row["ratio"], row["noise"], row["verdict"])}</td><td class="v {row["verdict"].split()[0]}">{row["verdict"]}</td></tr>'
        )
    hints = "".join(f"<li>{escape(note)}</li>" for note in compare.notes(first, second, only))
    body = (
        f"<h1>{escape(first.title)} and {escape(second.title)}</h1><dl><dt>A</dt><dd>{escape(first.title)} <code>{escape(str(first.path))}</code></dd>"
        f"<dt>B</dt><dd>{escape(second.title)} <code>{escape(str(second.path))}</code></dd></dl>"
        + (f'<ul class="warn">{hints}</ul>' if hints else "")
        + '<p class="note">B/A: the axis is logarithmic, from 1/2 to 2, the line is 1; the bar is the 95 % interval (Welch). One figure in twenty is beyond it by chance.</p>'
        + '<div class="scroll"><table><thead><tr><th>phase</th><th>figure</th><th class="n">A</th><th class="n">B</th><th>unit</th><th class="n">B/A</th><th class="n">noise</th><th></th><th></th></tr></thead>'
        + f'<tbody>{"".join(lines)}</tbody></table></div>'
    )
    return page(f"{first.title} and {second.title}", body)
