"""Recordings: the `.nfr` file, written as the session runs and readable from wherever it was cut.

Owns nothing itself: this is where the rest of the engine imports recordings from. Which part does what:

    replay_format       what a recording says: header, ticks, their plain form and checks
    replay_records      bytes: framing, CRCs, msgpack, caps
    replay_snapshots    a world's state inside a recording
    replay_writer       recording while a session runs; replay_disk is the thread between it and the disk
    replay_reader       reading, recovery, loading a snapshot
    replay_verify       a playback against its recording
    replay_environment  what a playback can keep on another machine
    replay_diff         a recording against another

The format stands byte by byte in docs/replay.md.
"""

from __future__ import annotations

from .diff import RecordingComparison, diff_files, diff_recordings, print_diff
from .environment import EnvironmentDifference, Expectation, expectation
from .format import RecordedTick, Replay, ReplayHeader, StoredSnapshot, header_for
from .reader import load_snapshot, read_replay
from .verify import Difference, ReplayVerifier, check_fits
from .writer import ReplayWriter

__all__ = [
    "Difference",
    "EnvironmentDifference",
    "Expectation",
    "RecordedTick",
    "RecordingComparison",
    "Replay",
    "ReplayHeader",
    "ReplayVerifier",
    "ReplayWriter",
    "StoredSnapshot",
    "check_fits",
    "diff_files",
    "diff_recordings",
    "expectation",
    "header_for",
    "load_snapshot",
    "print_diff",
    "read_replay",
]
