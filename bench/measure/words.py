# SPDX-License-Identifier: BSD-3-Clause
"""Command lines of these programs in the manner of vMux's others (src/app/console): what was mistyped is told with what
was probably meant, as JSON too where --json was written; `help` is a word; a command may be abbreviated."""
import argparse
import difflib
import json
import sys


class Parser(argparse.ArgumentParser):
    def error(self, message):
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0].partition("=")[0]
        if unknown.startswith("-"):
            message += did_you_mean(unknown, options_of(self))
        if asks_for_json(sys.argv[1:]):
            print(json.dumps({"error": {"kind": "invalid", "message": message}}), flush=True)
        super().error(message)


def asks_for_json(written):
    """Even of words that cannot be parsed."""
    return "--json" in (written[: written.index("--")] if "--" in written else written)


def options_of(parser):
    """Those of its commands as well."""
    names = [name for action in parser._actions for name in action.option_strings]  # pylint: disable=protected-access
    return names + [name for command in commands_of(parser).values() for name in options_of(command)]


def commands_of(parser):
    for action in parser._actions:  # pylint: disable=protected-access
        if isinstance(action, argparse._SubParsersAction):  # pylint: disable=protected-access
            return action.choices
    return {}


def did_you_mean(word, known):
    close = difflib.get_close_matches(word, known, 1, 0.7)
    return f"; did you mean '{close[0]}'?" if close else ""


def understand(written, commands):
    """`help COMMAND` as `COMMAND --help`, and the first word in full where it begins one command alone."""
    wants_help = written[:1] == ["help"]
    words = written[1:] if wants_help else list(written)
    begun = [name for name in commands if words and words[0] and name.startswith(words[0])]
    if words and words[0] not in commands and len(begun) == 1:
        words[0] = begun[0]
    return words + ["--help"] * wants_help
