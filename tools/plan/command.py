"""`nextframe plan`: options in, a table and a recommendation out, one exit code.

Exit codes: 0 every limit is kept, 1 the best plan misses one, 2 nothing can be planned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from . import words
from .hardware import parse_devices, parse_link
from .planner import answer
from .predict import Goal, Request
from .profile import PlanError, Profile, read_profile, write_profile
from .wan import BUILT_IN, built_in


@dataclass(frozen=True)
class PlanOptions:
    """As on the command line. `world`: a shipped world, or one of `wan.BUILT_IN`."""

    world: str
    devices: str = "1"
    sessions: int = 1
    goal: str = "latency"
    fps: float | None = None
    max_latency_ms: float | None = None
    link: str | None = None
    denoise_steps: int | None = None
    lossy: bool = False
    profile: Path | None = None
    measure: bool = False
    save_profile: Path | None = None
    as_json: bool = False


def run_plan(options: PlanOptions) -> int:
    request = request_of(options, profile_of(options))
    found = answer(request)
    if options.as_json:
        print(json.dumps(words.document(found)))
        return 0 if found.met else 1
    words.print_table(found)
    for sentence in words.sentences(found):
        print(sentence)
    return 0 if found.met else 1


def profile_of(options: PlanOptions) -> Profile:
    """From the file, from a measurement here, or built in."""
    if options.profile is not None and options.measure:
        raise PlanError("--profile and --measure: expected one of them; --measure makes a new profile")
    if options.profile is not None:
        found = read_profile(options.profile)
        if found.name != options.world:
            raise PlanError(f"{options.profile}: expected the profile of {options.world!r}, it is of {found.name!r}")
    elif options.measure:
        from .measure import measure_world

        found = measure_world(options.world)
    else:
        named = built_in(options.world)
        if named is None:
            raise PlanError(
                f"{options.world!r} has no costs yet: add --measure to measure it here, or --profile FILE; "
                f"built in are {', '.join(BUILT_IN)}"
            )
        found = named
    if options.save_profile is not None:
        write_profile(found, options.save_profile)
    return found


def request_of(options: PlanOptions, profile: Profile) -> Request:
    if options.denoise_steps is not None:
        if not 1 <= options.denoise_steps <= 1024:
            raise PlanError(f"--denoise-steps: expected 1 to 1024, got {options.denoise_steps}")
        profile = profile.with_steps(options.denoise_steps)
    for name, value in (("--fps", options.fps), ("--max-latency-ms", options.max_latency_ms)):
        if value is not None and not 0 < value < 1e6:
            raise PlanError(f"{name}: expected a number above 0 and below 1000000, got {value:g}")
    if options.goal not in set(Goal):
        raise PlanError(f"--goal: expected {', '.join(Goal)}, got {options.goal!r}")
    return Request(
        profile,
        parse_devices(options.devices, profile),
        parse_link(options.link, profile),
        sessions=options.sessions,
        goal=Goal(options.goal),
        frame_hz=options.fps,
        max_latency_ms=options.max_latency_ms,
        lossy=options.lossy,
    )
