# SPDX-License-Identifier: BSD-3-Clause
"""A run is a directory. What is measured is appended to it line by line, so whatever ends the run, what was seen stays.

    run.json        what was run on what, how it ended, what was missing (and the command that mends it)
    phases.jsonl    one line per phase: name, round, start, end (seconds since the run's start), its own figures
    samples.jsonl   one line per reading: t, source, who, values
    profile.folded  stacks with their counts, if there was a profile
    raw/            what the tools said, word for word
    summary.json, summary.txt, report.html, flame.svg    made from the above (`vmux-bench vm show` makes them again)
"""
import json
import threading
import time
from pathlib import Path

FORMAT = 1


class Trouble(Exception):
    """What a user can mend: one sentence, shown without a traceback."""


class RunDirectory:
    """A run being recorded."""

    def __init__(self, path, about):
        self.path = Path(path)
        if self.path.exists() and any(self.path.iterdir()):
            raise Trouble(f"{self.path} is there already and not empty: choose another directory with -o")
        (self.path / "raw").mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self.about = {
            "format": FORMAT,
            "status": "running",
            "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "missing": [],
            **about,
        }
        self._samples = open(self.path / "samples.jsonl", "w", encoding="utf-8", buffering=1)
        self._phases = open(self.path / "phases.jsonl", "w", encoding="utf-8", buffering=1)
        self._save()

    def now(self):
        return time.monotonic() - self._started

    def raw(self, name):
        return self.path / "raw" / name

    def sample(self, source, who, values, t=None):
        """One reading of one thing: numbers by name."""
        rounded = {name: round(value, 4) for name, value in values.items()}
        line = json.dumps({"t": round(self.now() if t is None else t, 3), "source": source, "who": who, "values": rounded})
        with self._lock:
            if not self._samples.closed:
                self._samples.write(line + "\n")

    def phase(self, record):
        with self._lock:
            self._phases.write(json.dumps(record) + "\n")

    def missing(self, what, mend):
        """Something that could not be measured, and what would mend it. Said once."""
        entry = {"what": what, "mend": mend}
        with self._lock:
            if entry in self.about["missing"]:
                return
            self.about["missing"].append(entry)
            self._save()

    def describe(self, **facts):
        with self._lock:
            self.about.update(facts)
            self._save()

    def finish(self, status):
        with self._lock:
            self.about.update(status=status, seconds=round(self.now(), 1))
            self._samples.close()
            self._phases.close()
            self._save()

    def _save(self):
        new = self.path / "run.json.new"
        new.write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")
        new.replace(self.path / "run.json")


class Recorded:
    """A run that was recorded, whole or not."""

    def __init__(self, path):
        self.path = Path(path)
        if not (self.path / "run.json").is_file():
            raise Trouble(f"{self.path} is not a run: there is no run.json in it")
        try:
            self.about = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except ValueError as problem:
            raise Trouble(f"{self.path}/run.json cannot be read: {problem}") from None
        if self.about.get("format") != FORMAT:
            raise Trouble(f"{self.path} has format {self.about.get('format')}; this program reads format {FORMAT}")
        self.phases = _lines(self.path / "phases.jsonl")
        self.samples = _lines(self.path / "samples.jsonl")

    @property
    def title(self):
        return self.about.get("title") or self.path.name

    def series(self, source, name):
        """{who: [(t, value)]} of one named value."""
        found = {}
        for sample in self.samples:
            if sample["source"] == source and name in sample["values"]:
                found.setdefault(sample["who"], []).append((sample["t"], sample["values"][name]))
        return found

    def names(self, source):
        """Every (who, name) that was sampled from this source, in the order of appearance."""
        return list(
            dict.fromkeys(
                (sample["who"], name) for sample in self.samples if sample["source"] == source for name in sample["values"]
            )
        )


def _lines(path):
    """JSON lines; a last line that was cut off by the end of the run is left out."""
    found = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found
