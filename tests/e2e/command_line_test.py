# SPDX-License-Identifier: BSD-3-Clause
"""Command lines of all programs, as programs: what needs a terminal, a daemon or a program to start. The rest is told by
unit tests (src/app)."""
import json
import os
import pty
import subprocess

import pytest
from harness import BIN


def run(program, *words, cwd=None, **variables):
    return subprocess.run([str(BIN / program), *map(str, words)], capture_output=True, text=True, timeout=90, cwd=cwd,
                          env={**os.environ, **variables})


def on_a_terminal(*words, **variables):
    """What vmuxctl prints on a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen([str(BIN / "vmuxctl"), *words], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
                          env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **variables}) as process:
        os.close(slave)
        said = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # EIO: nobody has the other end any more
                break
            if not piece:
                break
            said += piece
        process.wait(90)
    os.close(master)
    return said.decode().replace("\r\n", "\n")


def test_verdicts_are_coloured_and_lines_wrapped_on_a_terminal_alone():
    shown = on_a_terminal("host", "check", COLUMNS="90")
    assert "\x1b[3" in shown
    plain = on_a_terminal("host", "check", COLUMNS="90", NO_COLOR="1")
    assert "\x1b" not in plain
    piped = run("vmuxctl", "host", "check", COLUMNS="90").stdout
    assert "\x1b" not in piped
    assert max(map(len, piped.splitlines())) > 90  # each finding is a line: nothing was broken
    assert len(plain.splitlines()) > len(piped.splitlines())


def test_vmuxctl_waits_for_a_daemon_that_comes(rig, tmp_path):
    vmux = rig.vmux()
    assert vmux.stop() == 0
    with subprocess.Popen([str(BIN / "vmuxctl"), "--rpc", str(vmux.rpc), "--wait", "90", "port", "list", "--json"],
                          stdout=subprocess.PIPE, text=True) as waiting:
        vmux.start()
        assert json.loads(waiting.communicate(timeout=90)[0]) == []
        assert waiting.returncode == 0


def test_vmuxctl_does_not_wait_longer_than_it_is_told(tmp_path):
    done = run("vmuxctl", "--rpc", tmp_path / "none.sock", "--wait", "1", "port", "list")
    assert done.returncode == 1
    assert "no vmux answers" in done.stderr


def test_several_names_are_several_calls(rig, tmp_path):
    vmux = rig.vmux("-s", tmp_path / "a.sock", "-s", tmp_path / "b.sock")
    assert [row["name"] for row in vmux.ctl("port", "list", "--filter", "name=b", "--columns", "name")] == ["b"]
    done = vmux.ctl_run("port", "remove", "a", "c", "b")
    assert (done.returncode, done.stdout) == (1, "removed a\nremoved b\n")
    assert done.stderr == "vmuxctl: c: there is no port named c\n"
    assert vmux.ctl("por", "li") == []


@pytest.mark.parametrize("program, words", [
    ("vmuxctl", ["prot", "list"]),
    ("vmuxctl", ["port", "list", "--columsn", "x"]),
    ("vmuxctl", ["host", "bnid", "01:00.0"]),
    ("vmuxctl", ["host", "hugepages", "010"]),
    ("vfu-info", ["/tmp/x.sock", "--timeout", "0"]),
    ("vfu-info", ["/tmp/x.sock", "--nonsense"]),
    ("vmux-bench", ["rtt", "--ruonds", "3"]),
    ("vmux-bench", ["nonsense"]),
    ("vmux-bench", ["ports", "--", "--nonsense"]),
    ("vmux-bench", ["limits", "--", "--nonsense"]),
    ("vmux-bench", ["vm", "compare", "a"]),
    ("vmux-bench", ["v", "compare", "a"]),
    ("vmux-bench", ["compare", "/nonexistent", "/nonexistent"]),
])
def test_a_usage_error_is_json_where_json_was_asked_for(program, words):
    done = run(program, *words[:1], "--json", *words[1:])
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "invalid"
    assert error["message"] in done.stderr
    assert run(program, *words).stdout == ""


@pytest.mark.parametrize("program, words, expected", [
    ("vmuxctl", ["help", "port", "add"], "vmuxctl port add"),
    ("vmuxctl", ["help", "host", "bind"], "vmuxctl host bind"),
    ("vmux", ["help"], "--poller-cpus"),
    ("vmux-bench", ["help", "rtt"], "vmux-bench rtt"),
    ("vmux-bench", ["help", "vm", "compare"], "vmux-bench vm compare"),
    ("vmux-bench", ["vm", "help", "comp"], "vmux-bench vm compare"),
    ("vmux-bench", ["help", "comp"], "vmux-bench compare"),
    ("vmux-bench", ["v", "help"], "vmux-bench vm"),
])
def test_help_is_a_word(program, words, expected):
    done = run(program, *words)
    assert done.returncode == 0
    assert expected in done.stdout


@pytest.mark.parametrize("program, option, meant", [
    ("vmux", "--poller-cpu", "--poller-cpus"),
    ("vmux-vfio-run", "--devcie", "--device"),
    ("vmux-bench", "--round", "--rounds"),
    ("vfu-info", "--timeuot", "--timeout"),
    ("gpio-pci-idio-16", "--onec", "--once"),
])
def test_a_mistyped_option_is_told_with_the_one_that_was_meant(program, option, meant):
    done = run(program, option, "1")
    assert done.returncode == 2
    assert f"'{option}' is no option of {program}; did you mean '{meant}'?" in done.stderr


# -- vmux-vfio-run ----------------------------------------------------------------------------------------------------------

def test_vfio_run_means_a_relative_socket_from_where_it_was_started(rig, tmp_path):
    rig.vmux("-s", tmp_path / "v.sock")
    done = run("vmux-vfio-run", "-d", "40:00.0=v.sock", "--", "sh", "-c", "cd /; ls /dev/vfio", cwd=tmp_path)
    assert "0" in done.stdout.split(), done.stderr


@pytest.mark.parametrize("words, status, sentence", [
    (["-d", "40:00.0", "--", "true"], 2, "a device is written BDF=SOCKET"),
    (["-d", "40:00.0=v.sock", "-d", "0000:40:00.0=v.sock", "--", "true"], 2, "given twice"),
    (["-d", "40:00.0=w.sock", "--", "true"], 1, "No such file"),
    (["-d", "40:00.0=v.sock", "--library", "/etc/passwd", "--", "true"], 1, "this is no libvmux-vfio.so"),
    (["-d", "40:00.0=v.sock", "--", "/etc/passwd"], 126, "no program that may be run"),
    (["-d", "40:00.0=v.sock", "--", "no-such-program"], 127, "command not found"),
    (["-d", "40:00.0=v.sock", "--", "sh", "-c", "exit 7"], 7, ""),
])
def test_vfio_run_ends_with_the_status_that_its_manual_tells(rig, tmp_path, words, status, sentence):
    rig.vmux("-s", tmp_path / "v.sock")
    done = run("vmux-vfio-run", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert sentence in done.stderr
    assert "ld.so" not in done.stderr
