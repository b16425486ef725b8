# SPDX-License-Identifier: BSD-3-Clause
import json

import pytest

from measure import main
from measure.words import Parser, understand

COMMANDS = ["compare", "run", "show"]


@pytest.mark.parametrize("written, expected", [
    (["run", "x"], ["run", "x"]),
    (["co", "a", "b"], ["compare", "a", "b"]),
    (["help"], ["--help"]),
    (["help", "ru"], ["run", "--help"]),
    (["ls"], ["ls"]),
    ([""], [""]),
    ([], []),
    (["show", "help"], ["show", "help"]),  # a directory of that name
])
def test_commands_may_be_abbreviated_and_help_is_a_word(written, expected):
    assert understand(written, COMMANDS) == expected


def test_two_that_begin_alike_are_left_for_the_parser_to_name():
    assert understand(["s"], ["show", "stop"]) == ["s"]


def refuse(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["vmux-bench vm", *words])
    with pytest.raises(SystemExit) as end:
        main.main(list(words))
    assert end.value.code == 2
    return capsys.readouterr()


def test_a_usage_error_is_json_where_json_was_written(monkeypatch, capsys):
    said = refuse(monkeypatch, capsys, "compare", "--json", "a")
    assert json.loads(said.out)["error"]["kind"] == "invalid"
    assert "b" in json.loads(said.out)["error"]["message"] and "error:" in said.err
    assert refuse(monkeypatch, capsys, "compare", "a").out == ""


def test_a_mistyped_option_is_told_with_the_one_that_was_meant(monkeypatch, capsys):
    assert "did you mean '--html'?" in refuse(monkeypatch, capsys, "compare", "a", "b", "--htlm=x").err


def test_a_parser_of_a_script_does_the_same(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["vmux-bench ports", "--json", "--prots", "3"])
    parser = Parser(prog="vmux-bench ports")
    parser.add_argument("--ports", type=int)
    parser.add_argument("--json", action="store_true")
    with pytest.raises(SystemExit):
        parser.parse_args()
    assert "did you mean '--ports'?" in json.loads(capsys.readouterr().out)["error"]["message"]
