# SPDX-License-Identifier: BSD-3-Clause
"""What a recorded run comes to: a list of rows, each one figure of one phase with the samples behind it."""
from . import stats
from .traffic import KINDS

ENOUGH_ROUNDS = 3  # with fewer, the seconds of the rounds are the samples, which do not show what differs from round to round
SETTLING = 1.0  # seconds at a phase's start that are not counted: connections open, slow start


# The last four are those of a passed-through device: what vMux does with the IOMMU of this machine.
VMUX_FIGURES = (
    ("client.requests", "messages to vMux, {who}", "/s"),
    ("client.dma_maps", "DMA maps, {who}", "/s"),
    ("client.dma_unmaps", "DMA unmaps, {who}", "/s"),
    ("model.dma.maps", "IOMMU maps by vMux, {who}", "/s"),
    ("model.dma.unmaps", "IOMMU unmaps by vMux, {who}", "/s"),
    ("model.dma.map_us", "time in IOMMU maps, {who}", "us/s"),
    ("model.dma.pages_pinned", "pages pinned, {who}", "pages"),
)


def rows_of(run):
    """[{"phase", "metric", "unit", "better", "value", "plus_minus", "samples", "of"}]; better is "more", "less" or None."""
    rows = []
    for kind in ordered_kinds(run):
        phases = [phase for phase in run.phases if phase["phase"] == kind and "failed" not in phase]
        if phases:
            rows += _traffic_rows(kind, phases) + _cost_rows(run, kind, phases)
    return rows


def ordered_kinds(run):
    return list(dict.fromkeys(phase["phase"] for phase in run.phases))


def _row(kind, metric, unit, better, rounds):
    """rounds: the samples of each round. None if there is nothing at all."""
    rounds = [samples for samples in rounds if samples]
    if not rounds:
        return None
    by_round = len(rounds) >= ENOUGH_ROUNDS
    samples = [stats.mean(samples) for samples in rounds] if by_round else [value for samples in rounds for value in samples]
    return {
        "phase": kind,
        "metric": metric,
        "unit": unit,
        "better": better,
        "value": round(stats.mean(samples), 4),
        "plus_minus": _rounded(stats.half_width(samples)),
        "samples": [round(value, 4) for value in samples],
        "of": "rounds" if by_round else "seconds",
    }


def _rounded(value):
    return None if value is None else round(value, 4)


def _traffic_rows(kind, phases):
    rows = []
    if any("throughput" in phase for phase in phases):
        reports = [phase["throughput"] for phase in phases]
        rows.append(_row(kind, "throughput", "Mbit/s", "more", [report["seconds"] or [report["mbits"]] for report in reports]))
        for name, unit in (("lost_percent", "%"), ("retransmits", "segments")):
            rows.append(
                _row(kind, name.replace("_percent", ""), unit, "less", [[report[name]] for report in reports if name in report])
            )
    if any("latency" in phase for phase in phases):
        reports = [phase["latency"] for phase in phases]
        rows.append(
            _row(kind, "rtt median", "us", "less", [report["seconds"] or [_percentile(report, 50)] for report in reports])
        )
        for percent in (99, 99.9):
            rows.append(
                _row(
                    kind,
                    f"rtt p{percent:g}",
                    "us",
                    "less",
                    [[value] for value in (_percentile(report, percent) for report in reports) if value is not None],
                )
            )
    return [row for row in rows if row]


def _percentile(report, percent):
    return next((value for at, value in report["percentiles"] if at == percent), None)


def within(points, phase):
    """The readings that tell of the second before them, of a phase that had settled."""
    inside = [value for t, value in points if phase["start"] + SETTLING + 0.9 <= t <= phase["end"] + 0.1]
    return inside or [value for t, value in points if phase["start"] + 0.5 <= t <= phase["end"] + 0.6]


def _sampled(run, kind, phases, source, name, unit, metric, keep=lambda who: True, better="less"):
    rows = []
    for who, points in sorted(run.series(source, name).items()):
        if keep(who):
            rows.append(_row(kind, metric.format(who=who), unit, better, [within(points, phase) for phase in phases]))
    return [row for row in rows if row]


def _cost_rows(run, kind, phases):
    rows = _sampled(run, kind, phases, "cpu", "busy", "% of all CPUs", "CPU {who}")
    rows += _sampled(run, kind, phases, "thread", "cpu", "% of a CPU", "CPU {who}", lambda who: "/" not in who)
    rows += _cpu_per_gigabyte(run, kind, phases)
    rows += _sampled(run, kind, phases, "interrupts", "all", "/s", "interrupts {who}", better=None)
    rows += _nic_interrupts(run, kind, phases)
    rows += _sampled(run, kind, phases, "exits", "exits", "/s", "exits {who}", better=None)
    rows += _sampled(run, kind, phases, "thread", "switches", "/s", "context switches {who}", lambda who: "/" not in who, None)
    for name, metric, unit in VMUX_FIGURES:
        rows += _sampled(run, kind, phases, "vmux", name, unit, metric, better=None)
    for source in ("tracepoints", "qemu-trace"):
        for name in dict.fromkeys(name for _, name in run.names(source)):
            found = _sampled(run, kind, phases, source, name, "/s", f"{name}, {{who}}", better=None)
            rows += [row for row in found if any(row["samples"])]
    return rows


def _nic_interrupts(run, kind, phases):
    """Of a VM's interrupt lines, those that carry the name of one of its interfaces."""
    interfaces = {}
    for who, name in run.names("interfaces"):
        interfaces.setdefault(who, set()).add(name.rsplit(".", 1)[0])
    totals = {}
    for who, name in run.names("interrupts"):
        if who != "host" and any(word in name.split(" ", 1)[-1] for word in interfaces.get(who, ())):
            for t, value in run.series("interrupts", name).get(who, []):
                totals.setdefault(who, {}).setdefault(t, []).append(value)
    found = (
        _row(
            kind,
            f"NIC interrupts {who}",
            "/s",
            None,
            [within([(t, sum(values)) for t, values in sorted(points.items())], phase) for phase in phases],
        )
        for who, points in sorted(totals.items())
    )
    return [row for row in found if row]


def _cpu_per_gigabyte(run, kind, phases):
    """CPU seconds of all measured processes for each 10^9 bytes that arrived: what a byte costs, whatever the speed."""
    series = {who: points for who, points in run.series("thread", "cpu").items() if "/" not in who}
    rounds = []
    for phase in phases:
        mbits = phase.get("throughput", {}).get("mbits", 0)
        used = sum(stats.mean(within(points, phase)) for points in series.values() if within(points, phase))
        if mbits and used:
            rounds.append([used / 100 / (mbits / 8000)])
    row = _row(kind, "CPU per GB", "CPU s/GB", "less", rounds)
    return [row] if row else []


# -- the table for a terminal ---------------------------------------------------------------------------------------------

HEADLINES = ("throughput", "rtt median", "rtt p99", "lost", "retransmits")


def text_of(run, rows):
    about = run.about
    lines = [f"{run.title}: {about.get('status')}, {about.get('seconds', '?')} s, {about['started']}"]
    for name in ("machine", "subject", "traffic"):
        if about.get(name):
            lines.append(f"  {name + ':':<9}{about[name]}")
    lines += ["", *_table(rows)]
    failed = [phase for phase in run.phases if "failed" in phase]
    lines += [f"failed: {phase['phase']}, round {phase['round']}: {phase['failed']}" for phase in failed]
    for entry in about["missing"]:
        lines.append(f"not measured: {entry['what']}\n    mend: {entry['mend']}")
    return "\n".join(lines) + "\n"


def _table(rows):
    """One line a phase: its figures, then CPU. Everything else is in summary.json and report.html."""
    phases = {}
    for row in rows:
        phases.setdefault(row["phase"], {})[row["metric"]] = row
    costs = [metric for metric in dict.fromkeys(row["metric"] for row in rows) if metric.startswith("CPU ")]
    table = [["phase", "result", "", *costs]]
    for kind, found in phases.items():
        figures = [
            f"{number(found[name]['value'])} {found[name]['unit']}" + (f" ({name})" if at or name == "retransmits" else "")
            for at, name in enumerate(name for name in HEADLINES if name in found)
        ]
        table.append(
            [
                KINDS[kind].title if kind in KINDS else kind,
                figures[0] if figures else "-",
                ", ".join(figures[1:]),
                *(number(found[name]["value"]) if name in found else "" for name in costs),
            ]
        )
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at < 3 else cell.rjust(width) for at, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in table
    ]
    return (
        lines + ["CPU of host and VMs in percent of all their CPUs, of processes in percent of one.", ""]
        if len(table) > 1
        else ["no phase was completed", ""]
    )


def number(value):
    """As many digits as a reader can use."""
    if value is None:
        return ""
    size = abs(value)
    return (
        f"{value:,.0f}"
        if size >= 1000
        else f"{value:.1f}"
        if size >= 10
        else f"{value:.2f}"
        if size >= 0.005 or not size
        else f"{value:.2g}"
    )
