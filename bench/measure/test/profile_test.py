# SPDX-License-Identifier: BSD-3-Clause
import xml.etree.ElementTree as ElementTree

from measure.report import flame
from measure.sampling import profile

SCRIPT = """vmux 100/102  2087.586121:   10101010 cpu-clock:ppp:
	ffffffff81409e44 __rcu_read_unlock ([kernel.kallsyms])
	           67da7 vmux::Poller::run(int) (/opt/bin/vmux)
	     2630000000a [unknown] ([unknown])
	     2630000000b [unknown] ([unknown])

CPU 0/KVM 200/201 [001]  2087.596148:   10101010 cycles:
	          3b5f55 [unknown] (/tmp/perf-200.map)

CPU 0/KVM 200/201  2087.596149:   1 cycles:
	          3b5f55 operator()(a (b)) (/usr/lib/libfoo (deleted))
"""


def samples():
    return list(profile.stacks(line + "\n" for line in SCRIPT.split("\n")))


def test_stacks_are_read_outermost_first():
    assert samples()[0] == (100, "vmux", ["[no symbol]", "[no symbol]", "vmux::Poller::run(int)", "__rcu_read_unlock_[k]"], 1)


def test_a_thread_name_may_hold_spaces_and_a_slash():
    assert samples()[1][:2] == (200, "CPU 0/KVM")


def test_a_symbol_may_hold_parentheses():
    assert samples()[2][2] == ["operator()(a (b))"]


def test_generated_code_is_called_that():
    assert samples()[1][2] == ["[code that was generated at run time]"]


def test_fold_adds_equal_stacks_and_joins_nameless_frames():
    folded = profile.fold(samples() + samples()[:1], {100: "vmux"})
    assert folded["vmux;vmux;[no symbol];vmux::Poller::run(int);__rcu_read_unlock_[k]"] == 2


def test_fold_names_a_process_that_was_not_asked_for():
    assert "other processes;CPU 0/KVM;operator()(a (b))" in profile.fold(samples(), {100: "vmux"})


def test_folded_stacks_survive_their_file(tmp_path):
    (tmp_path / "f").write_text("a;b c;d(int, int) 7\na;b c;e 1\nbroken\n")
    assert profile.read_folded(tmp_path / "f") == {"a;b c;d(int, int)": 7, "a;b c;e": 1}


def test_flame_graph_is_well_formed_and_widths_are_shares():
    root = ElementTree.fromstring(flame.svg({"p;t;main;<lambda>&x": 3, "p;t;main;other": 1}, "a <title>"))
    frames = {frame.find("{*}title").text: float(frame.get("data-w")) for frame in root.iter("{http://www.w3.org/2000/svg}g")}
    assert frames["<lambda>&x (3 samples, 75.0 %)"] == 900.0
    assert frames["main (4 samples, 100.0 %)"] == 1200.0


def test_flame_graph_of_nothing_is_nothing():
    assert flame.svg({}, "x") == ""


def test_a_label_that_does_not_fit_is_cut():
    assert (flame.label("a_long_name", 60), flame.label("a_long_name", 10), flame.label("short", 400)) == (
        "a_long_…",
        "",
        "short",
    )
