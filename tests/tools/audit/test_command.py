"""Claims about `nextframe audit`: how targets are named, what is written, what is said, and the exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nextframe.runtime.core import ActionSpace, ConfigError, ManualClock, NextframeError
from nextframe.tools.audit import command as audit
from nextframe.tools.audit.command import AuditCommand, as_target, run_audit, subject_of
from nextframe.tools.audit.questions.evidence import Evidence, Percentiles
from nextframe.tools.audit.targets.local import EnvTarget, WorldTarget
from nextframe.tools.lab.audit.traps import FaceTarget
from nextframe.worlds.toy.world import ToyWorld
from tests.support.audit_evidence import live_evidence, silent_evidence


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `python:` targets are found in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def see(monkeypatch: pytest.MonkeyPatch, evidence: Evidence) -> None:
    """Let the audit of any target find this, in no time."""
    monkeypatch.setattr(audit, "examine", lambda factory, options, say: evidence)


def claims(folder: Path, *texts: str) -> Path:
    path = folder / "claims.yaml"
    path.write_text("claims:\n" + "".join(f"  - {text}\n" for text in texts), encoding="utf-8")
    return path


def late_evidence() -> Evidence:
    live = live_evidence()
    return replace(live, next_frame=replace(live.next_frame, response_frames=Percentiles(2, 2)))


@pytest.mark.parametrize(
    ("evidence", "texts", "frames", "code"),
    [
        (live_evidence(), ["interactive", "19 FPS"], 1, 0),
        (live_evidence(), ["interactive", "60 FPS"], None, 1),
        (live_evidence(), ["remembers 40 ticks", "misses under 5 %"], None, 1),
        (silent_evidence(), ["19 FPS"], None, 2),
        (silent_evidence(), ["next-frame control", "19 FPS"], None, 1),
        (late_evidence(), ["interactive"], None, 0),
        (late_evidence(), ["interactive"], 2, 0),
        (late_evidence(), ["interactive"], 1, 1),
    ],
)
def test_the_exit_code_says_whether_what_was_said_holds(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    evidence: Evidence,
    texts: list[str],
    frames: int | None,
    code: int,
) -> None:
    see(monkeypatch, evidence)
    options = AuditCommand("toy", claims(folder, *texts), folder / "out", quick=True, max_response_frames=frames)
    assert run_audit(options, say=lambda line: None) == code


def test_document_and_page_are_written_and_the_result_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, live_evidence())
    said: list[str] = []
    run_audit(AuditCommand("toy", claims(folder, "60 FPS"), folder / "out"), said.append)
    document = json.loads((folder / "out" / "audit.json").read_text(encoding="utf-8"))
    assert (document["category"], document["exit_code"]) == ("interactive", 1)
    assert document["env"]["python"]
    assert (folder / "out" / "audit.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    text = "\n".join(said)
    assert "This is interactive" in text
    assert "refuted      60 FPS: 19.8 FPS" in text
    assert text.count("wrote ") == 2


def test_a_late_response_is_named_where_an_earlier_one_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, late_evidence())
    said: list[str] = []
    run_audit(AuditCommand("toy", out=folder / "out", max_response_frames=1), said.append)
    assert "the response is later than frame 1, which was asked for" in said


def test_a_wrong_claims_file_is_found_before_anything_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "examine", lambda *_: pytest.fail("it ran"))
    with pytest.raises(ConfigError, match=r"claims\.yaml:2: unknown claim"):
        run_audit(AuditCommand("toy", claims(folder, "very fast"), folder / "out"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("circiut", "did you mean 'circuit'"),
        ("process:", "expected a command after the colon"),
        ("process:python 'x", "expected a command line"),
        ("python:module", "expected python:MODULE:FACTORY"),
        ("python:no_such_module_here:make", "expected a module no_such_module_here"),
        ("python:json:no_such_function", "expected a function no_such_function in json"),
    ],
)
def test_a_target_that_does_not_exist_says_what_was_expected(name: str, message: str) -> None:
    with pytest.raises(NextframeError, match=message):
        subject_of(name, ManualClock())


def test_a_frame_before_the_next_one_cannot_be_asked_for(folder: Path) -> None:
    with pytest.raises(NextframeError, match="expected at least 1, the next frame, got 0"):
        run_audit(AuditCommand("toy", out=folder, max_response_frames=0))


# --- what a name stands for --------------------------------------------------------------------------------------


class Env:
    """The least that `python:` takes besides a `Target`."""

    actions = ActionSpace(buttons=("go",))
    tick_hz = 10.0

    def reset(self, seed: int) -> None: ...

    def step(self, action: object) -> None: ...


def test_a_world_is_a_white_box_and_its_teacher_is_the_truth_where_it_has_one() -> None:
    toy = subject_of("toy", ManualClock())
    assert isinstance(toy.factory(), WorldTarget)
    assert toy.truth is None
    assert subject_of("freedoom", ManualClock()).truth is None
    assert subject_of("circuit", ManualClock()).truth is not None
    assert subject_of("drive", ManualClock()).truth is not None


def test_a_function_in_the_working_folder_can_return_a_world(folder: Path) -> None:
    (folder / "my_world_here.py").write_text(
        "from nextframe.worlds.toy.world import ToyWorld as make\n", encoding="utf-8"
    )
    target = subject_of("python:my_world_here:make", ManualClock()).factory()
    assert isinstance(target, WorldTarget)


def test_what_a_function_returns_is_taken_for_what_it_has() -> None:
    clock = ManualClock()
    face = FaceTarget(clock)
    assert as_target(face, "m:f", clock) is face
    assert isinstance(as_target(ToyWorld(clock), "m:f", clock), WorldTarget)
    env = as_target(Env(), "m:f", clock)
    assert isinstance(env, EnvTarget)
    assert (env.actions.buttons, env.tick_hz) == (("go",), 10.0)


def test_an_environment_that_does_not_name_its_controls_is_refused() -> None:
    with pytest.raises(NextframeError, match=r"python:m:f: expected the object to name its controls as `actions`"):
        as_target(object(), "m:f", ManualClock())


def test_a_command_becomes_a_process_only_when_it_is_opened() -> None:
    factory = subject_of("process:no-such-program --flag 'two words'", ManualClock()).factory
    with pytest.raises(NextframeError, match="no-such-program"):
        factory()


@pytest.mark.slow
def test_the_toy_is_audited_from_name_to_exit_code_in_real_time(folder: Path) -> None:
    said: list[str] = []
    path = claims(folder, "next-frame control", "interactive", "survives prompt changes")
    assert run_audit(AuditCommand("toy", path, folder / "out", quick=True, max_response_frames=1), said.append) == 0
