# SPDX-License-Identifier: BSD-3-Clause
"""The command line of vmux-bench vm."""
import argparse
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path

from . import compare, iommu, lab_pair, session, traffic
from .access import CommandPlace
from .number import number, positive
from .report import page
from .rundir import Recorded, RunDirectory, Trouble, must_be_new, write
from .sampling import sources
from .words import Parser, understand

EXAMPLES = """examples:
  vmux-bench vm lab -o e1000                              boots two guests on two e1000 ports and measures between them
  vmux-bench vm lab -o reference --qemu-nic e1000         the same guests on QEMU's own card
  vmux-bench vm compare reference e1000                   ratios, and which of them are more than noise
  vmux-bench vm run 10.0.0.5 --guest-cmd 'ssh root@10.0.0.5' --process qemu-system-x86_64 --process vmux
                                                          a VM that runs already; servers are started in it through ssh
  vmux-bench vm run 10.0.0.5 --phases tcp,rtt-udp         the same with nothing done inside: there, by hand, `iperf3 -s`,
                                                          `sockperf server -p 11111 --tcp` and `sockperf server -p 11112`
  vmux-bench vm iommu -o modes                            strict, lazy and pass-through DMA in a host VM with an IOMMU
  vmux-bench vm show e1000                                makes tables and page of a run again
Opened in a browser, DIR/report.html is the whole run on one page. docs/measuring.md explains each figure."""


def parser():
    top = Parser(
        prog="vmux-bench vm",
        description="Measures what a VM's network does and what it costs, and keeps it in a directory.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    lab = commands.add_parser(
        "lab", help="two guests of the lab, booted for this", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    lab.add_argument("--model", default="e1000", help="model of the guests' ports, see vmuxctl models (default e1000)")
    lab.add_argument(
        "--qemu-nic", metavar="DEVICE", help="no vMux: QEMU's own DEVICE (e1000, virtio-net-pci, ...) with -netdev socket"
    )
    lab.add_argument("--kernel", default="6.1", choices=("6.1", "6.12", "7.2"), help="the guests' kernel (default 6.1)")
    lab.add_argument("--cpus", type=positive, default=1, help="CPUs of each guest (default 1)")
    lab.add_argument(
        "--vmux", action="append", default=[], metavar="FLAG", help="one more flag for vmux, as --vmux=--pollers=2 (repeatable)"
    )
    lab.add_argument(
        "--port",
        action="append",
        default=[],
        metavar="FLAG",
        help="one more flag for vmuxctl port add, as --port=--doorbell=poll (repeatable)",
    )
    run = commands.add_parser("run", help="a VM that runs already", formatter_class=argparse.RawDescriptionHelpFormatter)
    run.add_argument("address", help="the VM's address, as seen from where the traffic starts")
    run.add_argument(
        "--guest-cmd",
        metavar="PREFIX",
        help="runs a command in the VM: 'ssh root@vm'. Without it the servers have to run there already",
    )
    run.add_argument(
        "--client-cmd",
        metavar="PREFIX",
        default="",
        help="where the traffic starts, if not on this machine: 'ssh root@vm2', 'ip netns exec red sh -c'",
    )
    modes = commands.add_parser("iommu", help="what strict, lazy and no DMA translation cost, in a host VM of the lab")
    modes.add_argument(
        "--modes", type=checked(iommu.modes_of), default=list(iommu.MODES), metavar="LIST", help="of strict,lazy,pt (default all)"
    )
    for command in (lab, run, modes):
        _common(command)
    modes.set_defaults(profile=False, phases=iommu.PHASES)
    both = commands.add_parser("compare", help="two runs: ratios, and which are within noise")
    both.add_argument("a", type=Path), both.add_argument("b", type=Path)
    both.add_argument("--html", type=Path, metavar="FILE", help="write the comparison as a page too")
    both.add_argument("--json", action="store_true", help="print JSON instead of a table")
    show = commands.add_parser("show", help="tables and page of a run, made again from its raw data")
    show.add_argument("run", type=Path)
    return top


def _common(command):
    command.add_argument("-o", "--output", type=Path, metavar="DIR", help="directory of the run, made new (default vm-DATE-TIME)")
    command.add_argument("--title", help="what tables and plots call this run (default: the directory's name)")
    command.add_argument("--seconds", type=positive, default=5, help="length of each phase (default 5)")
    command.add_argument(
        "--rounds",
        type=positive,
        default=3,
        help="how often all phases are gone through (default 3; fewer say little about noise)",
    )
    command.add_argument(
        "--phases",
        type=checked(traffic.choose),
        default=list(traffic.DEFAULT_KINDS),
        metavar="LIST",
        help=f"of {','.join(traffic.KINDS)} (default all)",
    )
    command.add_argument("--streams", type=positive, default=1, help="iperf3's parallel streams (default 1)")
    command.add_argument(
        "--udp-rate", default="0", metavar="RATE", help="iperf3's -b for UDP: 100M; 0 is as fast as it goes (default 0)"
    )
    command.add_argument("--message-size", type=positive, default=64, metavar="BYTES", help="sockperf's messages (default 64)")
    command.add_argument("--iperf-port", type=port, default=5201, metavar="N", help="iperf3's port (default 5201)")
    command.add_argument(
        "--sockperf-port",
        type=port,
        default=11111,
        metavar="N",
        help="sockperf's port for TCP; UDP has the next (default 11111)",
    )
    command.add_argument(
        "--process",
        action="append",
        default=[],
        metavar="PID|NAME",
        help="account this process, thread by thread (repeatable; lab: its own are)",
    )
    command.add_argument(
        "--rpc",
        metavar="PATH",
        default=os.environ.get("VMUX_RPC"),
        help="vMux's RPC socket, for its counters (default $VMUX_RPC)",
    )
    command.add_argument("--no-vmux", action="store_true", help="do not ask a vMux")
    command.add_argument(
        "--qemu-trace",
        action="append",
        default=[],
        metavar="FILE",
        help="count the events of this trace log of QEMU (repeatable)",
    )
    command.add_argument("--no-profile", dest="profile", action="store_false", help="no perf profile")
    command.add_argument(
        "--profile-seconds", type=positive, default=5, help="length of the profile, a phase of its own (default 5)"
    )
    command.add_argument("--profile-frequency", type=positive, default=499, metavar="HZ", help="samples a second (default 499)")
    command.add_argument(
        "--call-graph",
        default="fp",
        choices=("fp", "dwarf", "lbr"),
        help="how perf finds callers (default fp: frame pointers; dwarf for a QEMU without)",
    )
    command.add_argument("--quiet", action="store_true", help="no progress")


def port(text):
    value = number(text, 65534)  # sockperf's next one is used as well
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65534")
    return value


def checked(function):
    """A function that reads an argument and may refuse it by a sentence, as argparse wants it."""

    def read(text):
        try:
            return function(text)
        except Trouble as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return read


def about(options, subject):
    rate = "no limit" if options.udp_rate == "0" else options.udp_rate
    return {
        "title": options.title,
        "machine": session.machine(),
        "subject": subject,
        "command": " ".join(["vmux-bench vm", *sys.argv[1:]]),
        "traffic": f"{options.seconds} s a phase, {options.rounds} rounds, {options.streams} stream(s), UDP {rate}, messages of {options.message_size} bytes",
    }


def open_run(options, subject):
    path = options.output or Path(time.strftime("vm-%Y%m%d-%H%M%S"))
    must_be_new(path)
    try:
        return RunDirectory(path, about(options, subject))
    except OSError as problem:
        raise Trouble(f"cannot make {path}: {problem.strerror}") from None


def conclude(run, status, progress):
    run.finish(status)
    text = session.write_results(run.path)
    progress.say("")
    print(text, end="")
    print(f"\n{run.path}/report.html")
    return {"complete": 0, "interrupted": 130}.get(status, 1)


def processes_of(run, wanted):
    found, absent = sources.find_processes(wanted)
    for word in absent:
        run.missing(f"CPU of {word}: no such process", "give a pid, or the name that ps -e shows")
    run.describe(processes=", ".join(f"{label} ({pid})" for pid, label in found.items()))
    return found


def measure_lab(options):
    progress = session.Progress(options.quiet)
    lab_pair.load()
    run = open_run(options, "two guests of the lab")
    status = "failed"
    with tempfile.TemporaryDirectory(prefix="vmux-vm-") as directory:
        pair = lab_pair.Pair(run, directory, options)
        logs = session.GuestLogs(run)
        try:
            pair.start(progress)
            run.describe(subject=pair.subject)
            options.rpc = pair.rpc
            places = pair.places
            processes = processes_of(run, pair.processes + options.process)
            work = traffic.Work(run, places[0], places[1], lab_pair.ADDRESSES[1], options)
            work.sockperf = {
                name: f"{lab_pair.SOCKPERF}/ld.so --library-path {lab_pair.SOCKPERF} {lab_pair.SOCKPERF}/sockperf"
                for name in "ab"
            }
            for place, path in zip(places, pair.streams):
                logs.add(place, path)
            things = session.host_sources(run, processes, options, None if options.qemu_nic else lab_pair.find_program("vmuxctl"))
            status = session.perform(run, work, things + logs.sources, processes, options, progress)
        except KeyboardInterrupt:
            status = "interrupted"
        except (pair.lab.GuestError, AssertionError, Trouble) as problem:
            run.missing(f"the rest of the run: {problem}", "see raw/ and the message")
            print(f"vmux-bench: {problem}", file=sys.stderr)
        finally:
            logs.end()
            pair.stop()
    return conclude(run, status, progress)


def measure_run(options):
    progress = session.Progress(options.quiet)
    client = CommandPlace("this machine" if not options.client_cmd else "client", options.client_cmd)
    server = CommandPlace("the VM", options.guest_cmd) if options.guest_cmd else None
    check_reach(options, client, server)
    run = open_run(options, f"the VM at {options.address}")
    work = traffic.Work(run, client, server, options.address, options)
    logs = session.GuestLogs(run)
    status = "failed"
    try:
        processes = processes_of(run, options.process)
        if not options.process:
            run.missing("CPU of the VMM and of vMux: no process was named", "--process qemu-system-x86_64 --process vmux")
        if server:
            logs.add(server)
            logs.add_tracepoints(server)
        else:
            run.missing("the VM's own CPU and interrupts: no way into it was given", "--guest-cmd 'ssh root@vm'")
        vmuxctl = shutil.which("vmuxctl") if not options.rpc else lab_pair.find_program("vmuxctl")
        status = session.perform(
            run, work, session.host_sources(run, processes, options, vmuxctl) + logs.sources, processes, options, progress
        )
    except KeyboardInterrupt:
        status = "interrupted"
    except Trouble as problem:
        run.missing(f"the rest of the run: {problem}", "see raw/ and the message")
        print(f"vmux-bench: {problem}", file=sys.stderr)
    finally:
        logs.end()
        end_quietly(work.close)
    return conclude(run, status, progress)


def end_quietly(end):
    """Of what is over: a VM that went cannot be told to end its servers."""
    try:
        end()
    except Trouble:
        pass


def measure_iommu(options):
    path = options.output or Path(time.strftime("iommu-%Y%m%d-%H%M%S"))
    must_be_new(path)
    lab_pair.load("host_vm")
    lab_pair.build()
    statuses = []
    with tempfile.TemporaryDirectory(prefix="vmux-vm-") as directory:
        for mode in options.modes:
            facts = about(options, f"a host VM of the lab, e1000e behind an emulated VT-d, {iommu.MODES[mode]}")
            statuses.append(iommu.measure_mode(mode, path / mode, Path(directory), options, facts))
            if statuses[-1] == "interrupted":
                break
    print(iommu.write_results(path, options.title or path.name), end="")
    print(f"\n{path}/report.html")
    return 0 if set(statuses) == {"complete"} else 130 if "interrupted" in statuses else 1


def check_reach(options, client, server):
    """Before a directory is made: is there anyone?"""
    if server:
        answer = server.run("echo reached", 20)
        if answer.output.strip() != "reached":
            raise Trouble(
                f"`{options.guest_cmd} 'echo reached'` does not work: {(answer.errors or answer.output).strip()[-300:] or f'status {answer.status}'}"
            )
        return
    if not client.is_local:
        return
    tools = {traffic.KINDS[kind].tool for kind in options.phases}
    for tool, number, line in (
        ("iperf3", options.iperf_port, f"iperf3 -s -p {options.iperf_port}"),
        ("sockperf", options.sockperf_port, f"sockperf server -p {options.sockperf_port} --tcp"),
    ):
        if tool not in tools:
            continue
        try:
            socket.create_connection((options.address, number), 5).close()
        except (OSError, ValueError) as problem:  # ValueError: a name that can be none
            raise Trouble(
                f"nothing answers at {options.address} port {number} ({getattr(problem, 'strerror', None) or problem}): start `{line}` in the VM, or let it be started with --guest-cmd"
            ) from None


def compare_runs(options):
    first, second = Recorded(options.a), Recorded(options.b)
    rows, only = compare.compare(first, second)
    if options.html:
        write(options.html, page.compare_page(first, second, rows, only))
    if options.json:
        print(
            json.dumps(
                {"a": str(first.path), "b": str(second.path), "notes": compare.notes(first, second, only), "rows": rows}, indent=1
            )
        )
    else:
        print(compare.text_of(first, second, rows, only), end="")
    return 0


def show_run(options):
    print(session.write_results(options.run), end="")
    print(f"\n{options.run}/report.html")
    return 0


COMMANDS = {"lab": measure_lab, "run": measure_run, "iommu": measure_iommu, "compare": compare_runs, "show": show_run}


def main(arguments=None):
    for stream in (sys.stdout, sys.stderr):  # a locale without these letters, or a name that is no UTF-8
        stream.reconfigure(errors="backslashreplace")
    options = parser().parse_args(understand(sys.argv[1:] if arguments is None else arguments, COMMANDS))

    def interrupted(_number, _frame):
        raise KeyboardInterrupt

    # Both by hand: a shell starts background jobs with SIGINT ignored, and then Python would leave it so.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    try:
        status = COMMANDS[options.command](options)
        sys.stdout.flush()
        return status
    except Trouble as problem:
        return fail(str(problem))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed at the end
        return 141
    except OSError as problem:
        return fail(f"{problem.filename or 'the output'}: {problem.strerror or problem}")
    except Exception as problem:  # pylint: disable=broad-except
        if os.environ.get("VMUX_BENCH_TRACEBACK"):
            raise
        where = traceback.extract_tb(problem.__traceback__)[-1]
        return fail(
            f"a defect in vmux-bench, please report it: {type(problem).__name__}: {problem} "
            f"({Path(where.filename).name}:{where.lineno}; VMUX_BENCH_TRACEBACK=1 shows more)"
        )


def fail(sentence):
    print(f"vmux-bench: {sentence}", file=sys.stderr)
    return 1
