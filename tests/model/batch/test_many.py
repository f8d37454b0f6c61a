"""Players of one world in a batch, the demo's pictures, and the benchmark's figures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextframe.controllers.bots import make_bot
from nextframe.model.batch.sessions import BLOCK_ROWS
from nextframe.runtime.core import Action, Frame, NextframeError, TickPlan
from nextframe.tools.lab.sessions import bench, demo
from nextframe.tools.lab.sessions.many import MultiSession, Player
from tests.support.worlds.small import HEIGHT_PX, WIDTH_PX, small_neural
from tests.support.worlds.staged import APART, TWO, store_weights, supervised_world, whole_world

TICKS = 12


def many_of(players: int, rows: int = BLOCK_ROWS) -> tuple[MultiSession, list[Player]]:
    many = MultiSession(small_neural(), rows, {})
    return many, [join(many, seed) for seed in range(players)]


def join(many: MultiSession, seed: int) -> Player:
    steps = many.info.ladder[seed % len(many.info.ladder)]
    return many.join(seed, make_bot("wander", many.info.actions, seed), steps)


def frames_alone(seed: int, ticks: int, row: int) -> list[Frame]:
    """Alone in this row of the batch."""
    many = MultiSession(small_neural(), BLOCK_ROWS, {})
    before = [join(many, seed) for _ in range(row)]
    join(many, seed)
    for player in before:
        many.leave(player)
    return [many.tick()[0] for _ in range(ticks)]


@pytest.mark.bitexact
def test_every_player_sees_the_frames_of_playing_alone() -> None:
    many, players = many_of(3)
    shown = [many.tick() for _ in range(TICKS)]
    for seed in range(len(players)):
        for frames, expected in zip(shown, frames_alone(seed, TICKS, row=seed), strict=True):
            assert np.array_equal(frames[seed], expected)
    assert not np.array_equal(shown[-1][0], shown[-1][1]), "players must differ, or this proves nothing"


def test_a_player_sees_what_the_world_shows_up_to_rounding() -> None:
    """A picture's number may fall on the other side of a half: one level in 255."""
    many, (player,) = many_of(1)
    world, bot = small_neural(), make_bot("wander", many.info.actions, 0)
    world.reset(0)
    for tick in range(TICKS):
        (frame,) = many.tick()
        result = world.advance(bot.poll(tick), TickPlan(player.denoise_steps, deadline_ns=0))
        result.commit()
        assert np.abs(frame.astype(int) - result.frames[0]).max() <= 1


@pytest.mark.parametrize("text", [TWO, APART], ids=["two", "apart"])
def test_players_over_stage_processes_see_exactly_the_frames_of_playing_alone(tmp_path: Path, text: str) -> None:
    with supervised_world(store_weights(tmp_path), text, sessions=4) as (world, _):
        many = MultiSession(world.inner, 3, {})  # type: ignore[arg-type]
        players = [join(many, seed) for seed in range(3)]
        with pytest.raises(NextframeError, match="expected a free place"):
            join(many, 3)
        shown = [many.tick(players[: 1 + tick % 3]) for tick in range(TICKS)]
        of_first = [frames[0] for frames in shown]
        alone, bot = whole_world(), make_bot("wander", many.info.actions, 0)
        alone.reset(0)
        for frame in of_first:
            result = alone.advance(bot.poll(alone.generator.tick), TickPlan(players[0].denoise_steps, deadline_ns=0))
            result.commit()
            assert np.array_equal(frame, result.frames[0])
        assert players[0].session.checksum() == alone.generator.checksum()
        assert [player.session.tick for player in players] == [12, 8, 4]


class Saying:
    """Says a prompt in its first tick."""

    def poll(self, tick: int) -> Action:
        return Action(prompt="snow night") if tick == 0 else Action()

    def close(self) -> None:
        pass


def test_a_prompt_stays_in_force_for_the_player_who_said_it() -> None:
    many, (other,) = many_of(1)
    speaker = many.join(1, Saying(), 1)
    before = dict(other.prompt)
    for _ in range(3):
        many.tick()
    assert " ".join(speaker.prompt.values()) == "snow night"
    assert other.prompt == before


@pytest.mark.bitexact
def test_players_join_leave_and_tick_when_they_like() -> None:
    many, (first, second) = many_of(2)
    many.tick([second])
    many.leave(first)
    third = join(many, 2)
    for _ in range(3):
        many.tick()
    assert (second.session.tick, third.session.tick) == (4, 3)
    assert np.array_equal(second.frame, frames_alone(1, 4, row=1)[-1])
    assert np.array_equal(third.frame, frames_alone(2, 3, row=0)[-1]), "in the row that became free"


def test_a_session_too_many_and_a_step_count_without_a_rung_are_refused() -> None:
    many, _ = many_of(BLOCK_ROWS)
    with pytest.raises(NextframeError, match=r"expected a free row.*let a player leave"):
        join(many, 9)
    many.leave(many.players[0])
    with pytest.raises(NextframeError, match=r"expected denoise steps of \(1, 2, 4\), got 3"):
        many.join(9, Saying(), 3)


@pytest.mark.parametrize(("frames", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (4, 2, 2), (5, 3, 2)])
def test_the_grid_holds_every_frame(frames: int, columns: int, rows: int) -> None:
    pictures = [np.full((HEIGHT_PX, WIDTH_PX, 3), 10 * (at + 1), np.uint8) for at in range(frames)]
    picture = demo.grid(pictures)
    assert picture.shape == (rows * HEIGHT_PX, columns * WIDTH_PX, 3)
    assert set(np.unique(picture)) - {0} == {10 * (at + 1) for at in range(frames)}


def test_the_demo_writes_a_video_and_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, sheet = tmp_path / "s.mp4", tmp_path / "s.png"
    arguments = ["--sessions", "4", "--ticks", "5", "--steps", "1,2", "--video", str(video), "--sheet", str(sheet)]
    tick_ns = demo.play(demo.parser().parse_args(arguments))
    assert len(tick_ns) == 5
    assert video.stat().st_size > 1000
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "4 sessions in one batch" in capsys.readouterr().out


def test_the_demo_plays_sessions_over_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--video", str(tmp_path / "s.mp4"), "--sheet", str(tmp_path / "s.png")]
    layout = "denoise:0-3@cpu:0, denoise:3-6@cpu:1, decode@cpu:1"
    options = demo.parser().parse_args(["--sessions", "2", "--ticks", "3", "--stages", layout, *files])
    assert len(demo.play(options)) == 3
    assert "2 sessions over" in capsys.readouterr().out
    assert not fork_servers(), "the processes have ended with it"


def fork_servers() -> list[str]:
    """Processes of this one that stage processes are forked from; those end with them."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    children = [pid for task in tasks for pid in (task / "children").read_text(encoding="utf-8").split()]
    return [pid for pid in children if b"fork_server_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_fork_server_that_lives_is_found(tmp_path: Path) -> None:
    """The control of the test above."""
    with supervised_world(store_weights(tmp_path), TWO, sessions=2):
        assert len(fork_servers()) == 1
    assert not fork_servers()


def measured(*arguments: str) -> dict[str, Any]:
    return bench.measure(bench.parser().parse_args(arguments))


def test_the_bench_measures_both_ways_and_its_figures_hang_together() -> None:
    document = measured("--sessions", "1,5", "--steps", "1", "--rounds", "2", "--round-ticks", "1")
    assert json.loads(json.dumps(document)) == document
    assert [(row["sessions"], row["block_rows"]) for row in document["rows"]] == [(1, 4), (5, 8)]
    for row in document["rows"]:
        for name in ("alone", "batched", "decode", "decode_together"):
            assert row[name]["wall_ms"] > 0
            assert row[name]["cpu_ms"] > 0
        assert row["fps_batched"] == pytest.approx(1e3 / row["batched"]["wall_ms"])
        together = row["batched"]["wall_ms"] + row["decode"]["wall_ms"]
        assert row["fps_with_decode_batched"] == pytest.approx(1e3 / together)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sessions", "many"), "expected counts such as 1,2,4"),
        (("--sessions", "0"), "at least 1 session"),
        (("--steps", "9"), "--steps: expected 1 to 4, got 9"),
    ],
)
def test_the_bench_refuses_what_it_cannot_measure(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(NextframeError, match=message):
        measured(*arguments)
