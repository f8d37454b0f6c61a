"""Checks a trace file against the Trace Event Format: `python -m nextframe.tools.lab.traces.check FILE ...`.

An independent reading of the format; shares no code with what writes traces. Exit codes: 0 every file holds to it, 1
one does not, 2 a file cannot be read. An array without its closing bracket is allowed, as the format allows it: such a
file is read up to its last whole event, and arrows that had not arrived yet are no problem.

Beyond the format's own rules it asks for what makes a trace readable: named tracks, slices of a track in order of
time and nested or apart but never half over each other, arrows that begin, end and hit a slice.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

MAX_PROBLEMS = 50
REQUIRED = {
    "X": ("name", "ts", "dur", "pid", "tid"),
    "B": ("name", "ts", "pid", "tid"),
    "E": ("ts", "pid", "tid"),
    "i": ("name", "ts", "pid", "tid"),
    "C": ("name", "ts", "pid", "args"),
    "s": ("name", "cat", "id", "ts", "pid", "tid"),
    "t": ("name", "cat", "id", "ts", "pid", "tid"),
    "f": ("name", "cat", "id", "ts", "pid", "tid"),
    "M": ("name", "pid", "args"),
}
METADATA = {
    "process_name": ("name", str),
    "process_labels": ("labels", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}
COLOURS = frozenset({"good", "bad", "terrible", "black", "grey", "white", "yellow", "olive", "generic_work"})
"""Of the format's reserved colour names the ones that say something about a tick."""

Event: TypeAlias = Mapping[str, Any]
Track: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Slice:
    """From start to end, in ns; `name` for messages."""

    start_ns: int
    end_ns: int
    name: str


@dataclass
class Check:
    """What was found in one trace. `cut`: the closing bracket was missing. `phases`: events by phase."""

    problems: list[str] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    cut: bool = False

    def say(self, problem: str) -> None:
        self.problems.append(problem)


# --- reading -----------------------------------------------------------------------------------------------------


def check_file(path: Path | str) -> Check:
    """Check a file. OSError if it cannot be read."""
    return check_text(Path(path).read_text(encoding="utf-8", errors="strict"))


def check_text(text: str) -> Check:
    check = Check()
    events = _events_of(text, check)
    sound = [event for number, event in enumerate(events) if _check_event(number, event, check)]
    slices = _slices(sound, check)
    for track, found in slices.items():
        _check_nesting(track, found, check)
    _check_arrows(sound, slices, check)
    _check_names(sound, slices, check)
    return check


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _events_of(text: str, check: Check) -> list[Any]:
    try:
        document = json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        if not text.startswith("["):
            check.say(f"no JSON document: {error}")
            return []
        return _events_of_cut(text, error, check)
    if isinstance(document, list):
        return document
    if not isinstance(document, dict) or not isinstance(document.get("traceEvents"), list):
        check.say("expected an array of events, or an object with an array named traceEvents")
        return []
    if document.get("displayTimeUnit", "ms") not in ("ms", "ns"):
        check.say(f"displayTimeUnit: expected ms or ns, got {document['displayTimeUnit']!r}")
    events: list[Any] = document["traceEvents"]
    return events


def _events_of_cut(text: str, error: ValueError, check: Check) -> list[Any]:
    """The whole events of an array that was never closed."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    events: list[Any] = []
    at, end = 1, len(text.rstrip())
    while True:
        while at < end and text[at] in " \t\r\n":
            at += 1
        if at >= end:
            break
        try:
            event, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            if "\n" in text[at:end].strip():  # not the half event of a cut but damage with events behind it
                check.say(f"no JSON: {error}")
            break
        except ValueError as number:
            check.say(f"event {len(events)}: {number}")
            break
        events.append(event)
        while at < end and text[at] in " \t\r\n":
            at += 1
        if at < end and text[at] != ",":
            check.say(f"event {len(events) - 1}: expected a comma after it, got {text[at]!r}")
            break
        at += 1
    check.cut = True
    if not events and not check.problems:
        check.say("no events")
    return events


# --- single events -----------------------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_event(number: int, event: object, check: Check) -> bool:
    """Whether the event can be used for the checks between events."""
    if not isinstance(event, dict):
        check.say(f"event {number}: expected an object, got {type(event).__name__}")
        return False
    phase = event.get("ph")
    if not isinstance(phase, str) or phase not in REQUIRED:
        check.say(f"event {number}: ph: expected one of {' '.join(REQUIRED)}, got {phase!r}")
        return False
    check.phases[phase] += 1
    before = len(check.problems)
    where = f"event {number} ({phase} {event.get('name', '')!r})"
    for key in REQUIRED[phase]:
        if key not in event:
            check.say(f"{where}: {key} is missing")
    _check_values(where, event, check)
    if phase == "C":
        _check_counter(where, event, check)
    elif phase == "M":
        _check_metadata(where, event, check)
    return len(check.problems) == before


def _check_values(where: str, event: Event, check: Check) -> None:
    for key in ("ts", "dur"):
        if key in event and (not _is_number(event[key]) or event[key] < 0):
            check.say(f"{where}: {key}: expected microseconds from 0 up, got {event[key]!r}")
    for key in ("pid", "tid"):
        if key in event and not _is_whole(event[key]):
            check.say(f"{where}: {key}: expected a whole number, got {event[key]!r}")
    for key, kind in (("name", str), ("cat", str), ("args", dict)):
        if key in event and not isinstance(event[key], kind):
            check.say(f"{where}: {key}: expected {kind.__name__}, got {event[key]!r}")
    if "id" in event and not isinstance(event["id"], int | str):
        check.say(f"{where}: id: expected a number or text, got {event['id']!r}")
    if event.get("cname", "good") not in COLOURS:
        check.say(f"{where}: cname: expected one of {', '.join(sorted(COLOURS))}, got {event['cname']!r}")
    if event["ph"] == "i" and event.get("s", "t") not in ("g", "p", "t"):
        check.say(f"{where}: s: expected g, p or t, got {event['s']!r}")
    if event.get("bp", "e") != "e":
        check.say(f"{where}: bp: expected e, got {event['bp']!r}")


def _check_counter(where: str, event: Event, check: Check) -> None:
    values = event.get("args")
    if isinstance(values, dict) and (not values or not all(_is_number(value) for value in values.values())):
        check.say(f"{where}: args: expected at least one series, all of numbers, got {values!r}")


def _check_metadata(where: str, event: Event, check: Check) -> None:
    name, args = event.get("name"), event.get("args")
    if not isinstance(name, str) or name not in METADATA:
        check.say(f"{where}: expected one of {', '.join(METADATA)}")
        return
    key, kind = METADATA[name]
    if isinstance(args, dict) and (not isinstance(args.get(key), kind) or isinstance(args.get(key), bool)):
        check.say(f"{where}: args.{key}: expected {kind.__name__}, got {args.get(key)!r}")
    if name.startswith("thread") and "tid" not in event:
        check.say(f"{where}: tid is missing")


# --- between events ----------------------------------------------------------------------------------------------


def _ns(microseconds: float) -> int:
    """Exact for three decimals, so that comparing ends needs no tolerance."""
    return round(microseconds * 1000)


def _track(event: Event) -> Track:
    return event["pid"], event["tid"]


def _slices(events: Iterable[Event], check: Check) -> dict[Track, list[Slice]]:
    """The slices of every track, in file order of their beginnings; B and E are paired."""
    found: dict[Track, list[Slice]] = defaultdict(list)
    opened: dict[Track, list[tuple[int, Event]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            start_ns = _ns(event["ts"])
            found[_track(event)].append(Slice(start_ns, start_ns + _ns(event["dur"]), event["name"]))
        elif event["ph"] == "B":
            opened[_track(event)].append((len(found[_track(event)]), event))
            found[_track(event)].append(Slice(_ns(event["ts"]), _ns(event["ts"]), event["name"]))
        elif event["ph"] == "E":
            if not opened[_track(event)]:
                check.say(f"track {_track(event)}: an E at {event['ts']} us ends nothing")
                continue
            place, begin = opened[_track(event)].pop()
            if event.get("name", begin["name"]) != begin["name"]:
                check.say(f"track {_track(event)}: an E of {event['name']!r} ends {begin['name']!r}")
            if _ns(event["ts"]) < _ns(begin["ts"]):
                check.say(f"track {_track(event)}: {begin['name']!r} ends before it begins")
            found[_track(event)][place] = Slice(_ns(begin["ts"]), _ns(event["ts"]), begin["name"])
    for track, waiting in opened.items():
        if waiting and not check.cut:
            check.say(f"track {track}: {waiting[-1][1]['name']!r} begins and never ends")
    return dict(found)


def _check_nesting(track: Track, slices: list[Slice], check: Check) -> None:
    above: list[Slice] = []
    previous_ns = 0
    for one in slices:
        if one.start_ns < previous_ns:
            check.say(f"track {track}: {one.name!r} at {one.start_ns} ns comes after a later slice")
        previous_ns = max(previous_ns, one.start_ns)
        while above and above[-1].end_ns <= one.start_ns:
            above.pop()
        if above and one.end_ns > above[-1].end_ns:
            check.say(f"track {track}: {one.name!r} at {one.start_ns} ns lies half over {above[-1].name!r}")
        above.append(one)


def _check_arrows(events: Iterable[Event], slices: Mapping[Track, list[Slice]], check: Check) -> None:
    arrows: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            arrows[event["cat"], event["name"], event["id"]].append(event)
    by_track = {track: _Spans(found) for track, found in slices.items()}
    for key, parts in arrows.items():
        _check_arrow(key, parts, check)
        for part in parts:
            spans = by_track.get(_track(part))
            enclosing = part["ph"] != "f" or part.get("bp") == "e"
            if spans is None or not (spans.cover if enclosing else spans.reach)(_ns(part["ts"])):
                check.say(f"arrow {key}: its {part['ph']} at {part['ts']} us is at no slice of track {_track(part)}")


def _check_arrow(key: tuple[Any, ...], parts: list[Event], check: Check) -> None:
    phases = Counter(part["ph"] for part in parts)
    if phases["s"] != 1:
        check.say(f"arrow {key}: expected one beginning, got {phases['s']}")
        return
    if phases["f"] != 1 and not (check.cut and phases["f"] == 0):
        check.say(f"arrow {key}: expected one end, got {phases['f']}")
    began_ns = next(_ns(part["ts"]) for part in parts if part["ph"] == "s")
    ended_ns = max(_ns(part["ts"]) for part in parts if part["ph"] != "t" or phases["f"] == 0)
    if any(not began_ns <= _ns(part["ts"]) <= ended_ns for part in parts):
        check.say(f"arrow {key}: points back in time")


class _Spans:
    """The outermost slices of a track: nested ones cover nothing that these do not."""

    def __init__(self, slices: list[Slice]) -> None:
        ordered = sorted(slices, key=lambda one: (one.start_ns, -one.end_ns))
        self._starts_ns: list[int] = []
        self._ends_ns: list[int] = []
        for one in ordered:
            if not self._ends_ns or one.end_ns > self._ends_ns[-1] or one.start_ns >= self._ends_ns[-1]:
                self._starts_ns.append(one.start_ns)
                self._ends_ns.append(one.end_ns)

    def cover(self, time_ns: int) -> bool:
        index = bisect_right(self._starts_ns, time_ns) - 1
        return index >= 0 and time_ns <= self._ends_ns[index]

    def reach(self, time_ns: int) -> bool:
        """Whether a slice begins at this time or after it."""
        return bool(self._starts_ns) and self._starts_ns[-1] >= time_ns


def _check_names(events: Iterable[Event], slices: Mapping[Track, list[Slice]], check: Check) -> None:
    threads, processes, used = set(), set(), set(slices)
    for event in events:
        if event["ph"] == "M" and event["name"] == "thread_name":
            threads.add(_track(event))
        elif event["ph"] == "M" and event["name"] == "process_name":
            processes.add(event["pid"])
        elif event["ph"] == "i":
            used.add(_track(event))
    for track in sorted(used - threads):
        check.say(f"track {track} has no thread_name")
    for process in sorted({process for process, _ in used} - processes):
        check.say(f"process {process} has no process_name")


# --- command line ------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.traces.check", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    code = 0
    for name in parser.parse_args(arguments).files:
        try:
            check = check_file(name)
        except (OSError, UnicodeDecodeError) as error:
            print(f"{name}: cannot be read: {error}", file=sys.stderr)
            code = 2
            continue
        for problem in check.problems[:MAX_PROBLEMS]:
            print(f"{name}: {problem}")
        if len(check.problems) > MAX_PROBLEMS:
            print(f"{name}: and {len(check.problems) - MAX_PROBLEMS} more")
        phases = ", ".join(f"{phase} {count}" for phase, count in sorted(check.phases.items()))
        verdict = "not sound" if check.problems else "sound, cut short" if check.cut else "sound"
        print(f"{name}: {verdict}; {sum(check.phases.values())} events ({phases})")
        code = max(code, int(bool(check.problems)))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
