# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel's modes of DMA protection cost: the same work in a host VM with a VT-d IOMMU, started in each mode.

The work is traffic between the host VM's e1000e, whose DMA the IOMMU translates, and a virtio-net on the same wire, whose DMA it does not,
in a network namespace. Each mode is a run of its own; what is counted in each is set side by side here."""
import json
from html import escape

from . import lab_pair, session, stats, summary, traffic
from .access import LabPlace, NamespacePlace
from .report import page, plots
from .rundir import Recorded, RunDirectory, Trouble, write
from .sampling import sources
from .summary import number

# Kernel parameters; what Linux says they mean is recorded with each run.
MODES = {"strict": "iommu.strict=1", "lazy": "iommu.strict=0", "pt": "iommu=pt"}
NIC, PEER = "52:54:00:00:02:00", "52:54:00:00:02:01"  # lab/host_vm.py: the e1000e and the virtio-net on its wire
ADDRESSES = ("10.80.0.1", "10.80.0.2")
PHASES = ["tcp", "tcp-reverse", "rtt-udp"]
# Hits of the IOTLB are left out: one for each access of the device would be a measurement of the trace.
TRACES = ("vtd_inv_desc_*", "vtd_iotlb_page_update")
COUNTERS = ("iommu:", "intel_iommu:", "vtd_")

SET_UP = f"""
nic() {{ grep -l "$1" /sys/class/net/*/address | head -1 | cut -d/ -f5; }}
near=$(nic {NIC}); far=$(nic {PEER})
test -n "$near" -a -n "$far" || {{ echo "the host VM has not the cards that lab/host_vm.py names"; exit 1; }}
ip netns add peer && ip link set "$far" netns peer && ip addr add {ADDRESSES[0]}/24 dev "$near" && ip link set "$near" up
ip netns exec peer sh -c "ip addr add {ADDRESSES[1]}/24 dev $far && ip link set $far up && ip link set lo up"
for i in 1 2 3 4 5 6 7 8 9 10; do ping -c 1 -W 1 {ADDRESSES[1]} >/dev/null && exit 0; sleep 0.5; done
echo "no answer through the e1000e"; exit 1
"""
POLICY = "dmesg | grep -E 'iommu: Default domain type|iommu: DMA domain TLB' | sed 's/.*iommu: //'"


def measure_mode(mode, path, directory, options, about):
    """One host VM in one mode; its run."""
    progress = session.Progress(options.quiet)
    run = RunDirectory(path, {**about, "title": mode})
    trace, streams = directory / f"{mode}.trace", [run.raw("guest.log"), run.raw("perf-stat-guest.csv")]
    host_vm = lab_pair.load("host_vm")
    vm = host_vm.HostVm(
        mode,
        append=MODES[mode],
        directory=directory / mode,
        qemu_args=[*LabPlace.qemu_args(streams), *(word for name in TRACES for word in ("-trace", name)), "-D", str(trace)],
    )
    logs, status = session.GuestLogs(run), "failed"
    try:
        progress.begin(f"{mode}: booting a host VM with {MODES[mode]}", 0)
        vm.start()
        vm.check(SET_UP, 60)
        progress.end(f"{mode} ({MODES[mode]})")
        run.describe(iommu="; ".join(line.strip() for line in vm.run(POLICY).output.splitlines() if line.strip()))
        place = LabPlace(vm, streams, "host VM")
        logs.add(place, streams[0])
        logs.add_tracepoints(place, streams[1])
        processes, _ = sources.find_processes([str(vm.process.pid)])
        processes = dict.fromkeys(processes, "qemu")  # one name in all modes
        options.qemu_trace, options.rpc = [trace], None
        work = traffic.Work(run, place, NamespacePlace(vm, "peer"), ADDRESSES[1], options)
        status = session.perform(
            run, work, session.host_sources(run, processes, options, None) + logs.sources, processes, options, progress
        )
    except KeyboardInterrupt:
        status = "interrupted"
    except (host_vm.GuestError, AssertionError, Trouble) as problem:
        run.missing(f"the rest of the run: {problem}", "see the message")
        progress.say(f"{mode}: {problem}")
    finally:
        vm.kill()
    run.finish(status)
    session.write_results(run.path)
    return status


def rows_of(runs):
    """{(phase, figure, unit, better): {mode: samples}}: traffic and CPU, then each counter for every megabyte that was moved."""
    table = {}
    for mode, run in runs.items():
        rows = summary.rows_of(run)
        speed = {row["phase"]: row["value"] for row in rows if row["metric"] == "throughput"}
        for row in rows:
            if row["metric"] in ("throughput", "rtt median", "CPU per GB", "CPU host VM"):
                table.setdefault((row["phase"], row["metric"], row["unit"], row["better"]), {})[mode] = row["samples"]
            elif row["metric"].startswith(COUNTERS) and speed.get(row["phase"]):
                per_megabyte = [value * 8 / speed[row["phase"]] for value in row["samples"]]
                table.setdefault((row["phase"], row["metric"].split(",")[0], "per MB", None), {})[mode] = per_megabyte
    order = {kind: at for at, kind in enumerate(traffic.KINDS)}
    # A counter that a mode never moved has no row there: it is nought.
    return {
        key: {mode: cells.get(mode, [0.0, 0.0] if key[2] == "per MB" else []) for mode in runs}
        for key, cells in sorted(table.items(), key=lambda item: (order.get(item[0][0], 99), item[0][2] == "per MB"))
    }


def _cells(samples, first, better):
    """Mean, ratio to the first mode, verdict."""
    if not samples or not first:
        return "", "", ""
    found = stats.difference(first, samples)
    ratio = "" if found.ratio is None else f"{found.ratio:.2f}"
    if samples is first:
        return number(stats.mean(samples)), "", ""
    if better is None:
        return number(stats.mean(samples)), ratio, ""
    verdict = "within noise" if not found.beyond_noise else "better" if (found.ratio > 1) == (better == "more") else "worse"
    return number(stats.mean(samples)), ratio, verdict


def text_of(runs):
    table = rows_of(runs)
    modes = list(runs)
    lines = [["phase", "figure", "unit", modes[0], *(word for mode in modes[1:] for word in (mode, f"/{modes[0]}", ""))]]
    for (phase, metric, unit, better), cells in table.items():
        line = [summary.KINDS[phase].title, metric, unit, _cells(cells[modes[0]], cells[modes[0]], better)[0]]
        for mode in modes[1:]:
            line += _cells(cells[mode], cells[modes[0]], better)
        lines.append(line)
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    out = [
        f"{mode:<8}{MODES[mode]:<16}{run.about.get('iommu', '')} ({run.about.get('status')})" for mode, run in runs.items()
    ] + [""]
    for line in lines:
        # Words to the left, numbers to the right.
        cells = (
            cell.ljust(width) if at < 3 or (at >= 6 and at % 3 == 0) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths))
        )
        out.append("  ".join(cells).rstrip())
    return "\n".join(out) + "\n"


def page_of(runs, title):
    modes = list(runs)
    head = "".join(
        f'<th class="n">{mode}</th><th class="n">/{modes[0]}</th><th></th>' if at else f'<th class="n">{mode}</th>'
        for at, mode in enumerate(modes)
    )
    lines, before = [], None
    for (phase, metric, unit, better), cells in rows_of(runs).items():
        row = [
            f'<td>{escape(summary.KINDS[phase].title) if phase != before else ""}</td><td>{escape(metric)}</td><td>{escape(unit)}</td>',
            f'<td class="n">{_cells(cells[modes[0]], cells[modes[0]], better)[0]}</td>',
        ]
        for mode in modes[1:]:
            value, ratio, verdict = _cells(cells[mode], cells[modes[0]], better)
            found = stats.difference(cells[modes[0]], cells[mode]) if cells[mode] and cells[modes[0]] else None
            mark = plots.ratio_mark(found.ratio, found.noise, verdict, 110) if found else ""
            row.append(
                f'<td class="n">{value}</td><td class="n v {verdict.split()[0] if verdict else ""}">{ratio}</td><td>{mark}</td>'
            )
        lines.append(f'<tr{" class=first" if phase != before else ""}>{"".join(row)}</tr>')
        before = phase
    facts = "".join(
        f'<dt>{mode}</dt><dd><a href="{mode}/report.html">{escape(MODES[mode])}</a>: {escape(run.about.get("iommu", ""))}</dd>'
        for mode, run in runs.items()
    )
    body = (
        f'<h1>{escape(title)}</h1><dl>{facts}</dl><p class="note">The same traffic in a host VM with an emulated VT-d (caching-mode=off), between an e1000e behind the IOMMU and a virtio-net '
        "that is not. Counters are for each megabyte that was moved: maps and unmaps by the VM's kernel, what it submitted to the IOMMU's queue (intel_iommu:qi_submit), and what the IOMMU "
        "was asked to do as QEMU saw it (vtd_*). Ratios are to the first mode; the axis is logarithmic, from 1/2 to 2.</p>"
        f'<div class="scroll"><table><thead><tr><th>phase</th><th>figure</th><th>unit</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )
    return page.page(title, body)


def write_results(path, title):
    runs = {mode: Recorded(path / mode) for mode in MODES if (path / mode / "run.json").exists()}
    if not runs:
        raise Trouble(f"{path} holds no run of a mode")
    text = text_of(runs)
    write(path / "summary.txt", text)
    write(path / "report.html", page_of(runs, title))
    table = [
        {"phase": phase, "figure": metric, "unit": unit, "samples": cells}
        for (phase, metric, unit, _), cells in rows_of(runs).items()
    ]
    write(path / "summary.json", json.dumps({"title": title, "rows": table}, indent=1) + "\n")
    return text


def modes_of(text):
    modes = [word for word in text.split(",") if word]
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown or not modes:
        raise Trouble(f"no mode named {', '.join(unknown) or repr(text)}; there are: {', '.join(MODES)}")
    return modes
