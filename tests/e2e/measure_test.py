# SPDX-License-Identifier: BSD-3-Clause
"""vmux-bench vm: one short run between two guests of the lab, a VM that runs already (a network namespace plays it), and runs that go wrong."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from harness import BIN
from harness.vmux import wait_until

VM = BIN.parent.parent.parent / "bench" / "vm"


def bench(*arguments, timeout=400, **options):
    return subprocess.run(
        [str(VM), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False, **options
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run of the lab's two guests on vMux: everything once, and short."""
    directory = tmp_path_factory.mktemp("measure") / "run"
    done = bench(
        "lab", "-o", directory, "--phases", "tcp,udp-reverse,rtt-udp", "--seconds", 2, "--rounds", 1, "--profile-seconds", 1
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory, done


def test_lab_run_has_figures_of_every_phase(measured):
    directory, done = measured
    phases = {phase["phase"]: phase for phase in lines(directory / "phases.jsonl")}
    assert phases["tcp"]["throughput"]["mbits"] > 1
    assert phases["udp-reverse"]["throughput"]["mbits"] > 1
    assert phases["rtt-udp"]["latency"]["mean_us"] > 0
    assert re.search(r"TCP to the VM +[\d.,]+ Mbit/s", done.stdout), done.stdout
    assert "TCP to the VM, round 1" in done.stderr, "progress was not shown"


def test_lab_run_accounts_host_guests_and_vmux(measured):
    directory, _ = measured
    seen = {(sample["source"], sample["who"]) for sample in lines(directory / "samples.jsonl")}
    wanted = {
        ("cpu", "host"),
        ("cpu", "VM a"),
        ("cpu", "VM b"),
        ("thread", "vmux"),
        ("thread", "qemu a"),
        ("thread", "qemu b"),
        ("interrupts", "host"),
        ("interrupts", "VM b"),
        ("vmux", "a"),
        ("vmux", "b"),
    }
    assert wanted <= seen, wanted - seen


def test_lab_run_counts_messages_that_left_the_vm(measured):
    directory, _ = measured
    tcp = lines(directory / "phases.jsonl")[0]
    requests = [
        sample["values"]["client.requests"]
        for sample in lines(directory / "samples.jsonl")
        if sample["source"] == "vmux" and sample["t"] > tcp["start"]
    ]
    assert max(requests) > 0


def test_lab_run_is_one_page_with_plots(measured):
    directory, _ = measured
    text = (directory / "report.html").read_text()
    assert text.count("<figure") >= 8 and "prefers-color-scheme:dark" in text
    # What cannot be measured here is said, with what mends it.
    about = json.loads((directory / "run.json").read_text())
    assert about["status"] == "complete" and all(entry["mend"] for entry in about["missing"])


def test_lab_run_has_a_profile_or_says_why_not(measured):
    directory, _ = measured
    missing = [entry["what"] for entry in json.loads((directory / "run.json").read_text())["missing"]]
    if not any("profile" in what for what in missing):
        assert "vmux;" in (directory / "profile.folded").read_text()
        assert "<svg" in (directory / "flame.svg").read_text()


def test_compare_of_a_run_with_itself_is_one(measured):
    directory, _ = measured
    page = directory / "compare.html"
    done = bench("compare", directory, directory, "--json", "--html", page)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["ratio"] for row in rows} <= {1.0, None}
    assert not {"better", "worse"} & {row["verdict"] for row in rows}
    assert page.read_text().startswith("<!doctype html>")


def test_show_makes_the_page_again(measured):
    directory, _ = measured
    (directory / "report.html").unlink()
    done = bench("show", directory)
    assert done.returncode == 0 and (directory / "report.html").exists()


def test_iommu_run_counts_what_the_host_vm_asks_of_its_iommu(tmp_path):
    done = bench(
        "iommu", "-o", tmp_path / "run", "--modes", "strict", "--phases", "tcp", "--seconds", 8, "--rounds", 1, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "invalidation policy: strict mode" in done.stdout
    rows = {
        row["figure"]: row["samples"]["strict"] for row in json.loads((tmp_path / "run" / "summary.json").read_text())["rows"]
    }
    # Strict means that each unmap is an invalidation; the emulated IOMMU and the VM's kernel tell of it each on their own.
    assert max(rows["vtd_inv_desc_iotlb_pages"]) > 1
    assert max(rows["iommu:unmap"]) > 1 and max(rows["intel_iommu:qi_submit"]) > 1


@pytest.fixture
def namespace():
    """A network namespace behind a veth, in the place of a VM that runs already: its address and the way into it."""
    name = f"vmux-meas-{os.getpid()}"
    here, there = f"vmm{os.getpid() % 100000}h", f"vmm{os.getpid() % 100000}v"
    for command in (
        f"ip netns add {name}",
        f"ip link add {here} type veth peer name {there} netns {name}",
        f"ip addr add 10.79.8.1/30 dev {here}",
        f"ip link set {here} up",
        f"ip -n {name} addr add 10.79.8.2/30 dev {there}",
        f"ip -n {name} link set {there} up",
        f"ip -n {name} link set lo up",
    ):
        subprocess.run(command.split(), check=True)
    yield "10.79.8.2", f"ip netns exec {name} sh -c"
    subprocess.run(["ip", "netns", "del", name], check=True)
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["ip", "link", "del", here], check=True, stderr=subprocess.DEVNULL)


def test_vm_that_runs_already_is_measured_through_its_command(namespace, tmp_path):
    address, prefix = namespace
    done = bench(
        "run",
        address,
        "--guest-cmd",
        prefix,
        "-o",
        tmp_path / "run",
        "--phases",
        "tcp,tcp-reverse",
        "--seconds",
        1,
        "--rounds",
        1,
        "--no-profile",
        "--process",
        os.getpid(),
        "--process",
        "no-such-program",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [phase["throughput"]["mbits"] > 1 for phase in lines(tmp_path / "run" / "phases.jsonl")] == [True, True]
    assert "no-such-program: no such process" in done.stdout
    # Nothing that was started in the VM is left there.
    listeners = [*prefix.split(), "ss -ltnH"]
    wait_until(
        lambda: "5201" not in subprocess.run(listeners, capture_output=True, text=True, check=True).stdout, "no listener to be left"
    )


def test_interrupted_run_is_readable(namespace, tmp_path):
    address, prefix = namespace
    directory = tmp_path / "run"
    process = subprocess.Popen(
        [
            str(VM),
            "run",
            address,
            "--guest-cmd",
            prefix,
            "-o",
            str(directory),
            "--phases",
            "ping,tcp",
            "--seconds",
            "1",
            "--rounds",
            "500",
            "--no-profile",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(
            lambda: (directory / "phases.jsonl").exists() and len((directory / "phases.jsonl").read_text().splitlines()) >= 2,
            "two phases",
        )
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert json.loads((directory / "run.json").read_text())["status"] == "interrupted"
    assert "Mbit/s" in output and "This run is not complete" in (directory / "report.html").read_text()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (["lab", "--phases", "tcp,carrier-pigeon"], 2, "no phase named carrier-pigeon; there are: idle, tcp"),
        (["lab", "--seconds", "0"], 2, "expected a number from 1 to 1000000, got '0'"),
        (["lab", "-o", "{full}"], 1, "is there already and not empty"),
        (
            ["run", "127.0.0.1", "--phases", "tcp", "--iperf-port", "{port}", "-o", "{new}"],
            1,
            "nothing answers at 127.0.0.1 port {port}",
        ),
        (
            ["run", "10.0.0.1", "--guest-cmd", "/no/such/program", "-o", "{new}"],
            1,
            "cannot run /no/such/program: No such file or directory",
        ),
        (["run", "10.0.0.1", "--guest-cmd", "false", "-o", "{new}"], 1, "`false 'echo reached'` does not work"),
        (["compare", "{full}", "{full}"], 1, "is not a run: there is no run.json in it"),
        (["show", "{new}"], 1, "is not a run"),
        (["iommu", "-o", "{full}/precious"], 1, "cannot make {full}/precious: Not a directory"),
        (["run", "127.0.0.1", "--guest-cmd", "sh -c", "-o", "{full}/precious"], 1, "cannot make {full}/precious: Not a directory"),
        (["run", "127.0.0.1", "--iperf-port", "99999"], 2, "'99999' is not a port from 1 to 65534"),
        (["run", "a" * 300 + ".b", "--phases", "tcp", "-o", "{new}"], 1, "nothing answers at"),
        (["iommu", "--modes", "strict,loose"], 2, "no mode named loose; there are: strict, lazy, pt"),
    ],
)
def test_bad_input_is_answered_by_a_sentence(tmp_path, arguments, status, said):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    words = {"full": tmp_path / "full", "new": tmp_path / "new", "port": free_port()}
    done = bench(*(argument.format(**words) for argument in arguments))
    assert done.returncode == status and said.format(**words) in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not Path(tmp_path / "new").exists()


FAKE_IPERF = """#!/bin/sh
case "$*" in *-s*) sleep 20;; esac
echo '{"start":{"test_start":{"protocol":"UDP","reverse":1}},"intervals":[],"end":{"sum":{"bits_per_second":0,"lost_percent":null}}}'
"""


def test_a_phase_that_fails_leaves_the_others_and_the_run(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "iperf3").write_text(FAKE_IPERF)
    (tmp_path / "bin" / "iperf3").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = bench("run", "127.0.0.1", "--phases", "udp-reverse,ping", "--seconds", 1, "--rounds", 1, "--no-profile", "--no-vmux",
                 "-o", tmp_path / "r", "--guest-cmd", "sh -c", env=environment)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    udp, ping = lines(tmp_path / "r" / "phases.jsonl")
    assert "no datagram" in udp["failed"] and ping["latency"]["count"] > 1
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "complete"
    done = bench("compare", tmp_path / "r", tmp_path / "r", "--html", "/nonexistent/x.html")
    assert (done.returncode, done.stderr) == (1, "vmux-bench: cannot write /nonexistent/x.html: No such file or directory\n")


def test_vmux_bench_finds_it():
    if not os.access(BIN / "vmux-bench", os.X_OK):
        pytest.skip(f"{BIN / 'vmux-bench'} is not built")
    done = subprocess.run([str(BIN / "vmux-bench"), "vm", "--help"], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0 and "vmux-bench vm compare reference e1000" in done.stdout
