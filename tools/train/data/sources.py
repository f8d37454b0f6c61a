"""Where the frames of a run come from: an environment, videos, or recordings. One shape of data comes out.

Owns the choice between the three and the data part of a run. What each does is in `explore`, `videos`, `recordings`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ....runtime.core import NextframeError
from ....runtime.observe.cores import usable_cores
from ..base.budget import parse_size
from ..base.show import bar, say
from .clips import Clips, Source, save_shard, save_source
from .explore import SHARD_FRAMES, EnvSpec, collect, facts_of, load_policy, repeat_for, tick_rate


@dataclass(frozen=True)
class SourceOptions:
    """Exactly one of `env`, `videos` (with `actions`) and `recordings`. `size`: WIDTHxHEIGHT. `repeat`: see there.
    `tick_hz`: how fast the world is to be played, if not as fast as the source. `picture`: of `env`, its render()
    unless this says observation. `action_lag`: by how many frames the rows of the table of videos come late."""

    env: str | None = None
    videos: Path | None = None
    actions: Path | None = None
    recordings: tuple[Path, ...] = ()
    size: str | None = None
    repeat: int | None = None
    env_seeds: int = 0
    env_options: Mapping[str, Any] = field(default_factory=dict)
    policy: str = ""
    skip: int = 0
    tick_hz: int | None = None
    picture: str | None = None
    action_lag: int | None = None


@dataclass(frozen=True)
class Opened:
    """A source that was looked at: what it is, the size of its frames, and how to make them.

    `make(folder, frames, seconds, workers)` writes shards and yields how many frames each holds.
    """

    source: Source
    height_px: int
    width_px: int
    make: Any


def open_source(options: SourceOptions) -> Opened:
    """Look at the source; every refusal that needs no data comes here."""
    given = [options.env is not None, options.videos is not None, bool(options.recordings)]
    if sum(given) != 1:
        raise NextframeError("train: expected exactly one of --env ID, --from-video FOLDER and --from-recordings F.nfr")
    if (options.actions is not None) != (options.videos is not None):
        raise NextframeError("train: expected --from-video FOLDER together with --actions FILE")
    if options.env is not None:
        opened = _environment(options, options.env)
    elif options.videos is not None and options.actions is not None:
        opened = _videos(options, options.videos, options.actions)
    else:
        opened = _recordings(options)
    if options.tick_hz is None:
        return opened
    return replace(opened, source=replace(opened.source, tick_hz=Fraction(options.tick_hz)))


def _environment(options: SourceOptions, env_id: str) -> Opened:
    if options.policy:
        load_policy(options.policy)
    facts = facts_of(env_id, options.env_options, options.picture or "")
    if options.env_seeds and not facts.takes_seeds:
        raise NextframeError(
            f"--env-seeds {options.env_seeds}: expected a game whose reset takes a seed, {env_id} takes none; "
            "leave it out"
        )
    height, width = parse_size(options.size, facts.height_px, facts.width_px)
    repeat = options.repeat or repeat_for(facts.render_hz)
    spec = EnvSpec(env_id, height, width, repeat, options.env_seeds, options.policy, options.skip,
                   dict(options.env_options), options.picture or "")  # fmt: skip

    def make(folder: Path, frames: int, seconds: float, workers: int) -> Iterator[int]:
        end_s, shards = time.monotonic() + seconds, max(1, -(-frames // SHARD_FRAMES))

        def late() -> bool:
            return time.monotonic() > end_s

        yield from collect(spec, facts.controls, folder, shards, workers=workers, until=late)

    seeds = f", {options.env_seeds} fixed starts" if options.env_seeds else ""
    policy = f", a policy ({options.policy}) in most episodes" if options.policy else ""
    source = Source(
        facts.controls, tick_rate(facts.render_hz, repeat),
        f"the Gymnasium environment {env_id} (a random explorer{policy}{seeds}; {repeat} environment steps a tick)",
        f"The frames were made by {env_id}. The world learned its look: before you publish these weights, read the "
        "licence of that environment and of its assets, and name them here.",
    )  # fmt: skip
    return Opened(source, height, width, make)


def _videos(options: SourceOptions, folder: Path, actions: Path) -> Opened:
    from .videos import read_actions, survey, video_clips

    table = read_actions(actions)
    sized = options.size is not None
    looked = survey(folder, table, lag=options.action_lag, letterbox=sized)
    for note in looked.notes:
        say(note)
    size_px = parse_size(options.size, looked.height_px, looked.width_px)
    hz = looked.rate_hz
    repeat = options.repeat or repeat_for(float(hz))

    def make(out: Path, frames: int, seconds: float, workers: int) -> Iterator[int]:
        yield from _stored(out, video_clips(folder, table, size_px, repeat, looked=looked, letterbox=sized))

    source = Source(
        table.controls, hz / repeat, f"videos and a table of actions (every {repeat}. frame)",
        "The frames come from your videos: name their licence here before you publish these weights.",
    )  # fmt: skip
    return Opened(source, *size_px, make)


def _recordings(options: SourceOptions) -> Opened:
    from .recordings import recording_clips, sessions_of

    sessions = sessions_of(options.recordings)
    size_px = parse_size(options.size, sessions.height_px, sessions.width_px)

    def make(out: Path, frames: int, seconds: float, workers: int) -> Iterator[int]:
        yield from _stored(out, recording_clips(options.recordings, sessions, size_px))

    source = Source(
        sessions.controls, sessions.tick_hz, f"{len(options.recordings)} recorded sessions of {sessions.world}",
        f"The frames were made by the world {sessions.world}: its licence applies.",
    )  # fmt: skip
    return Opened(source, *size_px, make)


def _stored(folder: Path, parts: Iterator[Clips]) -> Iterator[int]:
    for number, clips in enumerate(parts):
        save_shard(folder / f"shard-{number:05d}.npz", clips)
        yield len(clips)


def make_data(opened: Opened, folder: Path, *, frames: int, seconds: float, workers: int) -> None:
    """The data part of a run, with its bar. Shards that are there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    save_source(folder, opened.source)
    done = sum(1 for _ in folder.glob("shard-*.npz")) * SHARD_FRAMES
    with bar("data", frames, done) as progress:
        began_s, made = time.monotonic(), 0
        for count in opened.make(folder, frames, seconds, workers):
            made += count
            progress.update(min(frames, done + made), f"{made / (time.monotonic() - began_s):.0f} frames/s")


def default_workers() -> int:
    return max(1, min(8, int(usable_cores())))
