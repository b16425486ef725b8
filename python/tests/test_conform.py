# SPDX-License-Identifier: BSD-3-Clause
"""vfu-conform: of a server without faults everything holds, each fault is found, and so it is told."""
from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Iterator

import pytest
from conftest import BUILD, EXAMPLES, program, python_program
from faulty_server import FaultyServer

PROGRAM = Path(__file__).resolve().parent.parent / "bin/vfu-conform"


def conform(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, timeout=110)


@contextlib.contextmanager
def server(path: Path, *faults: str) -> Iterator[Path]:
    made = FaultyServer(str(path), *faults)
    try:
        yield path
    finally:
        made.end()


def test_everything_holds_of_a_server_without_faults(tmp_path: Path) -> None:
    with server(tmp_path / "s") as path:
        done = conform("--all", path)
    assert done.returncode == 0, done.stdout
    assert "holds    qemu.memory" in done.stdout and "breaks" not in done.stdout and "differs" not in done.stdout


@pytest.mark.parametrize(("fault", "check"), [
    ("wrong_number", "agreed.info"), ("wrong_command", "agreed.info"), ("no_reply_type", "agreed.info"),
    ("no_error_flag", "agreed.unknown"), ("minor_1", "qemu.version"), ("long_version", "qemu.version"),
    ("no_nul", "qemu.limits"), ("many_fds", "qemu.limits"), ("no_capabilities", "cloud.version"),
    ("maps_need_fds", "qemu.memory"), ("long_map_reply", "qemu.memory"), ("few_regions", "qemu.device"),
    ("not_pci", "qemu.device"), ("no_region_fd", "qemu.regions"), ("one_region_fd", "qemu.regions"),
    ("areas_too_long", "qemu.regions"), ("looping_areas", "qemu.regions"), ("odd_config", "qemu.regions"),
    ("config_by_4_differs", "qemu.config"), ("bars_have_no_size", "qemu.sizing"), ("ignores_no_reply", "qemu.posted"),
    ("msix_needs_fds", "qemu.msix"), ("no_resample", "qemu.intx_resample"), ("no_reset", "qemu.reset"),
    ("no_unmap_all", "qemu.unmap_all"), ("features_end", "qemu.feature"), ("no_reset", "cloud.reset"),
    ("short_unmap_reply", "cloud.memory"), ("few_irq_fds", "cloud.vectors"), ("short_errors", "cloud.errors"),
    ("serves_before_version", "early.info"), ("unknown_ends", "memory.unknown"), ("long_read", "interrupts.read"),
    ("any_feature", "reset.feature_unknown"), ("ignores_no_reply", "stream.no_reply"),
    ("errors_despite_no_reply", "stream.no_reply"), ("wants_whole_messages", "stream.pieces"),
    ("wants_whole_messages", "stream.together"), ("keeps_memory", "stream.clients"), ("writes_ids", "stream.read_only"),
    ("any_argsz", "wrong.info_argsz"), ("reads_beyond", "wrong.read_over_the_end"), ("wraps", "wrong.read_wraps"),
    ("maps_may_overlap", "wrong.map_overlaps"), ("unmaps_parts", "wrong.unmap_part"), ("two_actions", "wrong.irqs_two_actions"),
    ("short_is_fine", "short.info"), ("any_major", "version.major"), ("any_json", "version.no_json"),
    ("any_json", "version.limits_are_text"), ("takes_any_type", "header.type"),
])
def test_each_fault_is_found(tmp_path: Path, fault: str, check: str) -> None:
    with server(tmp_path / "s", fault) as path:
        done = conform("--json", "--only", check, path)
    report = json.loads(done.stdout)
    (found,) = report["checks"]
    assert done.returncode == 1
    assert found["check"] == check and found["detail"]
    assert found["result"] == ("breaks" if check.startswith(("qemu.", "cloud.")) else "differs")
    assert bool(found["breaks"]) == (found["result"] == "breaks")


def test_size_that_is_believed_is_found_by_silence(tmp_path: Path) -> None:
    with server(tmp_path / "s", "believes_sizes") as path:
        done = conform("--timeout", "0.5", "--only", "header.size_max", path)
    assert done.returncode == 1 and "neither a reply nor the end" in done.stdout


@pytest.mark.parametrize("output", ["--all", "--tap", "--json"])
def test_server_that_dies_ends_the_run(tmp_path: Path, output: str) -> None:
    with server(tmp_path / "s", "dies_at_reset") as path:
        done = conform(output, "--only", "cloud.*", path)
    assert done.returncode == 1
    assert {"--all": "dead     cloud.reset", "--tap": "Bail out!", "--json": '"dead": 1'}[output] in done.stdout
    assert "cloud.memory" not in done.stdout


def test_server_that_ends_with_its_client_may_be_started_anew(tmp_path: Path) -> None:
    path, stop = tmp_path / "s", threading.Event()

    def supervise() -> None:
        while not stop.is_set():
            FaultyServer(str(path), "ends_with_its_client").wait()
            path.unlink()

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        done = conform("--restarts", "--only", "qemu.*", "--only", "early.*", "--only", "stream.*", path)
    finally:
        stop.set()
        while thread.is_alive():  # the one that waits, if there is one already
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
            thread.join(0.01)
    assert done.returncode == 0, done.stdout
    with server(path, "ends_with_its_client"):
        assert "dead     qemu.version" in conform("--only", "qemu.*", path).stdout


def test_tap_is_a_plan_and_a_line_for_each(tmp_path: Path) -> None:
    with server(tmp_path / "s", "no_resample") as path:
        lines = conform("--tap", "--only", "qemu.*", path).stdout.splitlines()
    assert lines[:2] == ["TAP version 13", "1..14"]
    results = [line for line in lines if line.startswith(("ok ", "not ok "))]
    assert [line.split(" - ")[0].split()[-1] for line in results] == [str(each) for each in range(1, 15)]
    assert [line for line in results if line.startswith("not")] == [
        "not ok 11 - qemu.intx_resample: INTx may be unmasked by an eventfd"]


def test_server_with_a_client_is_left_alone_unless_forced(tmp_path: Path) -> None:
    with server(tmp_path / "s") as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        done = conform("--json", path)
        assert done.returncode == 3
        assert "a client is attached" in done.stderr and "a client is attached" in json.loads(done.stdout)["error"]
        client.close()
        assert conform("--only", "qemu.version", path).returncode == 0


def test_force_goes_ahead_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with program(path, BUILD / "bin/gpio-pci-idio-16", path, log=tmp_path / "log"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            done = conform("--force", "--timeout", "1", "--only", "qemu.version", path)
            assert "a client is attached" not in done.stderr


@pytest.mark.parametrize(("arguments", "status", "text"), [
    (["--nonsense"], 2, "unrecognized"), ([], 2, "SOCKET"), (["--only", "none.such", "s"], 2, "--list"),
    (["--timeout", "0", "s"], 2, "--timeout"), (["/nowhere"], 3, "No such file"), (["--json", "--tap", "s"], 2, "not allowed"),
])
def test_usage_and_what_cannot_be_done_are_told(arguments: list[str], status: int, text: str) -> None:
    done = conform(*arguments)
    assert done.returncode == status and text in done.stderr


def test_what_is_no_server_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "silent"))
        listener.listen()
        assert conform("--timeout", "0.2", tmp_path / "silent").returncode == 3
    assert conform(tmp_path / "file").returncode == 3


def test_checks_are_left_out_by_name() -> None:
    assert conform("--list", "--only", "qemu.r*", "--skip", "*.regions").stdout.startswith("qemu.reset")


def test_list_names_each_check_once() -> None:
    names = [line.split(":")[0] for line in conform("--list").stdout.splitlines()]
    assert len(names) == len(set(names)) > 250
    page = (PROGRAM.parent.parent.parent / "docs/man/vfu-conform.1").read_text()
    assert {name.split(".")[0] for name in names} == {
        line.split()[1].rstrip(".*") for line in page.splitlines() if line.startswith(".B ") and line.endswith(".*")}


def test_our_servers_in_cpp_hold(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with program(path, BUILD / "bin/gpio-pci-idio-16", path, log=tmp_path / "log"):
        done = conform(path)
    assert done.returncode == 0, done.stdout


# The C interface answers as libvfio-user does: errors without a body, which cloud-hypervisor waits for, and, of a region
# that is mapped, as the device in C has one, the descriptor with the second of two replies only.
OF_THE_C_INTERFACE = {"cloud.errors", "wrong.irqs_unknown_flags"}
OF_MAPPED_REGIONS: dict[str, set[str]] = {"c": {"qemu.regions"}, "python": set()}


@pytest.mark.parametrize("language", ["c", "python"])
def test_our_servers_of_the_c_interface_differ_where_it_does(tmp_path: Path, language: str) -> None:
    path, log = tmp_path / "s", tmp_path / "log"
    in_c = program(path, BUILD / "tests/capi-device", path, log=log)
    with in_c if language == "c" else python_program(path, EXAMPLES / "edu.py", log=log):
        report = json.loads(conform("--json", path).stdout)
    found = {each["check"] for each in report["checks"] if each["result"] not in ("holds", "skipped")}
    assert found == OF_THE_C_INTERFACE | OF_MAPPED_REGIONS[language]
