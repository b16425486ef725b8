# SPDX-License-Identifier: BSD-3-Clause
"""The program: chooses checks, runs them one after another, and tells what came of them."""
from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from dataclasses import dataclass
from typing import Iterable, Iterator, Sequence

from . import clients, malformed, messages
from .check import QEMU_JSON, Check, Differs, Probe, Skipped, error_text
from .wire import VERSION, Ended, Silent, version

CHECKS: list[Check] = [*clients.CHECKS, *messages.CHECKS, *malformed.CHECKS]
HOLDS, DIFFERS, BREAKS, SKIPPED, DEAD = "holds", "differs", "breaks", "skipped", "dead"
EPILOG = """Each check opens connections of its own. Do not use it with a device that matters: it is written to, reset, and
given malformed messages.

exit status: 0 everything holds (or does not apply), 1 something does not, 2 usage, 3 nothing could be checked"""


@dataclass(frozen=True)
class Outcome:
    """What came of a check. DEAD: the server serves no more after it."""

    check: Check
    result: str
    detail: str = ""


def outcome_of(check: Check, probe: Probe) -> Outcome:
    """Runs one check."""
    failed = BREAKS if check.breaks else DIFFERS
    try:
        check.run(probe)
        return Outcome(check, HOLDS)
    except Skipped as reason:
        return Outcome(check, SKIPPED, str(reason))
    except Differs as problem:
        return Outcome(check, failed, str(problem))
    except Ended:
        return Outcome(check, failed, "the server ended the connection")
    except Silent as problem:
        return Outcome(check, failed, f"no reply ({problem})")
    except (OSError, ValueError, IndexError, ArithmeticError) as problem:
        return Outcome(check, failed, f"the reply makes no sense: {problem}")
    except Exception as problem:  # struct.error and its like: a reply that is too short
        return Outcome(check, failed, f"the reply makes no sense: {problem}")
    finally:
        probe.clean()


def serves(probe: Probe) -> str:
    """Why the server does not take a client, or nothing. Whatever it answers, it serves."""
    try:
        if probe.restarts:
            probe.greet()
        else:
            probe.connect().ask(VERSION, version(QEMU_JSON))
        return ""
    except (Differs, Ended, Silent) as problem:
        return str(problem) or "it ends the connection"
    finally:
        probe.clean()


def run(checks: Iterable[Check], probe: Probe) -> Iterator[Outcome]:
    """Runs checks until all are done or the server is dead."""
    for check in checks:
        outcome = outcome_of(check, probe)
        if reason := serves(probe):
            yield Outcome(check, DEAD, f"{outcome.detail or 'afterwards'}; the server takes no client any more: {reason}")
            return
        yield outcome


def is_attached(path: str) -> bool:
    """Whether a client is connected to the socket at `path`, as the kernel tells: a state of 3 is connected."""
    wanted = os.path.realpath(path)
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
        for line in sockets:
            fields = line.split(maxsplit=7)
            if len(fields) == 8 and fields[5] == "03" and os.path.realpath(fields[7].rstrip("\n")) == wanted:
                return True
    return False


def text_line(outcome: Outcome) -> str:
    check = outcome.check
    line = f"{outcome.result:8} {check.name}: {check.title}"
    if outcome.detail:
        line += f"\n         {outcome.detail}"
    if outcome.result == BREAKS:
        line += f"\n         breaks {', '.join(check.breaks)}"
    elif outcome.result in (DIFFERS, DEAD):
        line += f"\n         specification: {check.section}"
    return line


def tap_line(number: int, outcome: Outcome) -> str:
    is_good = outcome.result in (HOLDS, SKIPPED)
    line = f"{'ok' if is_good else 'not ok'} {number} - {outcome.check.name}: {outcome.check.title}".replace("#", "\\#")
    if outcome.result == SKIPPED:
        return f"{line} # SKIP {outcome.detail}"
    return line if is_good else f"{line}\n# {outcome.result}: {outcome.detail}"


def as_object(outcome: Outcome) -> dict[str, object]:
    check = outcome.check
    return {"check": check.name, "title": check.title, "specification": check.section, "result": outcome.result,
            "detail": outcome.detail, "breaks": list(check.breaks) if outcome.result == BREAKS else []}


def summary(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {result: sum(each.result == result for each in outcomes) for result in (HOLDS, DIFFERS, BREAKS, SKIPPED, DEAD)}


def matches(check: Check, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(check.name, each) for each in patterns)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="vfu-conform", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EPILOG,
        description="Checks whether a vfio-user server keeps to the specification, and which clients it would break.")
    parser.add_argument("socket", metavar="SOCKET", nargs="?", help="path of the server's socket")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--tap", action="store_true", help="print TAP, as test harnesses read it")
    parser.add_argument("--all", action="store_true", help="in text, tell what holds or was skipped too")
    parser.add_argument("--only", metavar="PATTERN", action="append",
                        help="checks with such names, as in 'qemu.*' (repeatable)")
    parser.add_argument("--skip", metavar="PATTERN", action="append", default=[], help="no such checks (repeatable)")
    parser.add_argument("--list", action="store_true", help="name all checks, and run none")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=5.0,
                        help="how long to wait for a reply (default 5)")
    parser.add_argument("--restarts", action="store_true",
                        help="the server ends with its client, and somebody starts it anew: wait for that, for as long")
    parser.add_argument("--force", action="store_true",
                        help="although a client is attached, which then may lose its device")
    options = parser.parse_args(arguments)
    if not 0 < options.timeout <= 3600:
        parser.error("--timeout: seconds, more than 0 and at most 3600")
    options.checks = [check for check in CHECKS if matches(check, options.only or ["*"]) and not matches(check, options.skip)]
    if not options.checks:
        parser.error("no check has such a name: see --list")
    if options.socket is None and not options.list:
        parser.error("the following arguments are required: SOCKET")
    return options


def refuse(options: argparse.Namespace, reason: str) -> int:
    if options.json:
        print(json.dumps({"socket": options.socket, "error": reason}))
    elif options.tap:
        print(f"Bail out! {reason}")
    print(f"vfu-conform: {options.socket}: {reason}", file=sys.stderr)
    return 3


def tell(options: argparse.Namespace, outcomes: Iterator[Outcome]) -> list[Outcome]:
    """Prints what comes, as it comes where the format allows it."""
    seen: list[Outcome] = []
    if options.tap:
        print(f"TAP version 13\n1..{len(options.checks)}", flush=True)
    for outcome in outcomes:
        seen.append(outcome)
        if options.tap:
            print(tap_line(len(seen), outcome), flush=True)
        elif not options.json and (options.all or outcome.result not in (HOLDS, SKIPPED)):
            print(text_line(outcome), flush=True)
    counts = summary(seen)
    if options.json:
        print(json.dumps({"socket": options.socket, "summary": counts, "checks": [as_object(each) for each in seen]}))
    elif options.tap and len(seen) < len(options.checks):
        print("Bail out! the server takes no client any more")
    elif not options.tap:
        print(", ".join(f"{count} {result}" for result, count in counts.items() if count))
    return seen


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit status."""
    options = parse(arguments)
    if options.list:
        print("\n".join(f"{check.name}: {check.title}" for check in options.checks))
        return 0
    probe = Probe(options.socket, options.timeout, options.restarts)
    try:
        if not options.force and is_attached(options.socket):
            return refuse(options, "a client is attached, and could lose its device: --force checks all the same")
        if not options.restarts and not os.path.exists(options.socket):
            return refuse(options, error_text(2))
        if reason := serves(probe):
            return refuse(options, f"no vfio-user server that takes a client: {reason}")
        seen = tell(options, run(options.checks, probe))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads: nothing to say at the end either
        return 1
    return 0 if all(each.result in (HOLDS, SKIPPED) for each in seen) else 1
