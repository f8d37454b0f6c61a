"""Claims about the terminal: any encoding, a reader that leaves, a terminal that closes, and what a crash leaves."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nextframe.runtime.cli.output import CRASHED, HANDLER, LastingOutput, lasting, plain
from nextframe.runtime.recording.reader import read_replay

NEXTFRAME = [sys.executable, "-m", "nextframe"]
TOY = ["run", "toy", "--bot", "wander", "--no-video", "--clock", "fixed"]


def run(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*NEXTFRAME, *arguments], cwd=folder, env={**os.environ, **environment}, capture_output=True, check=False
    )


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "latin-1", "koi8-r", "utf-8", "utf-16"])
def test_a_command_speaks_any_encoding(tmp_path: Path, encoding: str) -> None:
    done = run(["audit", "--help"], tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "TARGET" in done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "koi8-r"])
def test_letters_that_an_encoding_lacks_become_their_nearest(encoding: str) -> None:
    raw = io.BytesIO()
    lasting(sys.__stdout__)  # registers the handler
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=HANDLER)
    stream.write("3 × 4 → 12 … ≤ µ 漢 é")
    stream.flush()
    text = raw.getvalue().decode(encoding)
    assert (
        text.translate(str.maketrans({"×": "x", "…": "...", "≤": "<=", "µ": "u", "é": "e"}))
        == "3 x 4 -> 12 ... <= u ? e"
    )


def test_without_the_handler_the_same_letters_are_an_error() -> None:
    with pytest.raises(UnicodeEncodeError):
        "→".encode("cp1252")
    with pytest.raises(UnicodeDecodeError):
        plain(UnicodeDecodeError("ascii", b"\xff", 0, 1, "control: only encoding is made plain"))


@pytest.mark.parametrize("arguments", [["worlds"], ["doctor"], ["--help"], ["run", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path, arguments: list[str]) -> None:
    with subprocess.Popen(
        [*NEXTFRAME, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        said = command.stderr.read()
    assert (command.returncode, said) == (0, b"")


def test_a_session_whose_reader_left_keeps_its_report_and_its_own_exit_code(tmp_path: Path) -> None:
    missing = ["run", "toy", "--bot", "wander", "--ticks", "200", "--no-video", "--max-miss-rate", "0", "--deadline-ms"]
    with subprocess.Popen([*NEXTFRAME, *missing, "0.001"], cwd=tmp_path, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        command.stdout.close()
    assert command.returncode == 1
    assert json.loads((tmp_path / "out" / "report.json").read_text())["misses"] > 0


def test_a_full_disk_behind_the_output_is_still_an_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full stands in for a full disk")
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        LastingOutput(full.fileno(), "wb", closefd=False).write(b"x")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_ends_the_session_with_everything_written(tmp_path: Path, ignored: bool) -> None:
    """`ignored`: as under nohup, where the session goes on to its end."""
    ours, theirs = pty.openpty()
    ticks = "400" if ignored else "100000"
    arguments = ["run", "toy", "--bot", "wander", "--ticks", ticks, "--record", "s.nfr"]
    command = subprocess.Popen(
        [*(["nohup"] if ignored else ["env", "--default-signal=HUP"]), *NEXTFRAME, *arguments],
        cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    part = tmp_path / "out" / "session.part.mp4"
    while not (part.exists() and (tmp_path / "s.nfr").exists() and (tmp_path / "s.nfr").stat().st_size > 2000):
        assert command.poll() is None
    os.close(ours)
    os.kill(command.pid, signal.SIGHUP)
    assert command.wait(120) == (0 if ignored else 130)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    replay = read_replay(tmp_path / "s.nfr")
    assert replay.complete
    assert len(replay.ticks) == report["ticks"]
    assert (report["ticks"] == 400) == ignored
    assert (tmp_path / "out" / "session.mp4").exists()
    assert not part.exists()


CRASHING = """
from nextframe.runtime.cli.app import main
from nextframe.tools.check import doctor

def broken():
    raise RuntimeError("a fault of its own")

doctor.examine = broken
main(["doctor"])
"""


@pytest.mark.parametrize("writable", [True, False])
def test_a_crash_has_a_code_of_its_own_and_one_line_that_says_where_the_details_are(
    tmp_path: Path, writable: bool
) -> None:
    if not writable:
        (tmp_path / "out").write_text("a file where the folder should be")
    done = subprocess.run([sys.executable, "-c", CRASHING], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == CRASHED
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("nextframe: crashed with RuntimeError: a fault of its own; details are in ")
    path = tmp_path / line.rpartition(" ")[2]
    assert (path.parent == tmp_path / "out") == writable
    details = path.read_text()
    path.unlink()
    assert "Traceback" in details
    assert "in broken" in details
