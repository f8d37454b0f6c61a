"""The game behind the freedoom world, its room and explorer, its recipe in parts, measures whose answer is known."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium")
pytest.importorskip("vizdoom", reason="needs ViZDoom: pip install 'nextframe[freedoom]'")

from nextframe.runtime.core import NextframeError
from nextframe.tools.lab.freedoom_pixels import measure, recipe
from nextframe.tools.lab.freedoom_pixels import parts as parts_of_a_run
from nextframe.tools.lab.freedoom_pixels.explorer import Wanderer
from nextframe.tools.lab.freedoom_pixels.game import ATTACK, AXES, PLAYER_UNITS, USUAL_PACE, Freedoom, pace_of
from nextframe.tools.lab.freedoom_pixels.measure import play
from nextframe.tools.lab.freedoom_pixels.room import RAIL_UNITS, ROOM, room_wad
from nextframe.tools.lab.gpu.step import Context, SkippedError
from nextframe.tools.lab.gpu.steps import freedoom as step
from nextframe.tools.train import command
from nextframe.tools.train.base import budget
from nextframe.tools.train.base.budget import Plan, parse_budget, plan_for
from nextframe.tools.train.data.explore import facts_of
from nextframe.tools.train.learn import motion as learn_motion
from nextframe.worlds.freedoom.evaluation.place import staying, turn_around, turning
from nextframe.worlds.freedoom.evaluation.shown import shifts, turned_px
from nextframe.worlds.freedoom.teacher.script import Script

SIZE_PX = (48, 64)


@pytest.fixture
def game() -> Any:
    made = Freedoom()
    yield made
    made.close()


def act(look_x: float = 0, move_x: float = 0, move_y: float = 0) -> Any:
    return np.array([look_x, move_x, move_y], np.float32)


# --- the game -----------------------------------------------------------------------------------------------------


def test_gymnasium_makes_it_and_its_axes_have_the_usual_names() -> None:
    facts = facts_of(recipe.ENV, {})
    assert facts.controls.space.axes == AXES
    assert (facts.render_hz, facts.height_px, facts.width_px) == (35.0, 120, 160)


def test_the_same_seed_and_actions_give_the_same_pictures_and_others_do_not(game: Freedoom) -> None:
    def walk(seed: int) -> list[bytes]:
        view, _ = game.reset(seed=seed)
        return [view.tobytes(), *(game.step(act(0.5, 0, 1))[0].tobytes() for _ in range(20))]

    first = walk(3)
    assert walk(3) == first
    assert walk(4) != first


def test_turning_is_linear_and_to_the_right(game: Freedoom) -> None:
    start = game.reset(seed=1)[1]["pose"][2]
    angles = [start, *(game.step(act(1))[4]["pose"][2] for _ in range(12))]
    turned = -np.diff(np.unwrap(angles, period=360))
    assert turned == pytest.approx(pace_of(ROOM).degrees, abs=0.1)  # not faster the longer it is held
    back = [game.step(act(-1))[4]["pose"][2] for _ in range(12)][-1]
    assert (back - start + 180) % 360 - 180 == pytest.approx(0, abs=0.2)


def test_the_player_moves_with_an_action_and_not_without_one(game: Freedoom) -> None:
    start = game.reset(seed=2)[1]["pose"]
    still = [game.step(act())[4]["pose"] for _ in range(10)][-1]
    assert still == start
    moved = [game.step(act(0, 0, -1))[4]["pose"] for _ in range(20)][-1]
    assert np.hypot(moved[0] - start[0], moved[1] - start[1]) > 10


def test_each_seed_begins_somewhere_else_and_the_rail_keeps_every_player_from_the_walls(game: Freedoom) -> None:
    poses = [game.reset(seed=seed)[1]["pose"] for seed in range(6)]
    assert len(set(poses)) == 6
    assert np.ptp([angle for _, _, angle in poses]) > 90
    ends = []
    for turn in range(4):
        game.reset(seed=turn)
        ends.append([game.step(act(0, 0, 1))[4]["pose"][:2] for _ in range(80)][-1])
    assert np.abs(ends).max() == pytest.approx(RAIL_UNITS - PLAYER_UNITS, abs=1)  # some got there, none further


def test_the_view_does_not_bob(game: Freedoom) -> None:
    import vizdoom

    def heights() -> set[float]:
        seen = set()
        for tic in range(40):
            game.step(act(0, 0, 1 if tic < 20 else -1))
            seen.add(game._game.get_game_variable(vizdoom.GameVariable.CAMERA_POSITION_Z))
        return seen

    game.reset(seed=0)
    assert len(heights()) == 1
    game._game.send_game_command("movebob 0.25")  # the engine's own setting
    assert len(heights()) > 5


def test_nothing_is_written_where_the_game_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Freedoom()
    made.reset(seed=0)
    made.close()
    assert list(tmp_path.iterdir()) == []
    assert Path.cwd() == tmp_path


def test_a_weapon_is_seen_and_fires_where_it_was_asked_for() -> None:
    def fired(press: float) -> list[bytes]:
        armed = Freedoom(attack=True)
        assert armed.action_names == (*AXES, ATTACK)
        armed.reset(seed=3)
        for _ in range(30):
            armed.step(np.array([0, 0, 0, 0], np.float32))  # the weapon is raised
        views = [armed.step(np.array([0, 0, 0, press], np.float32))[0].tobytes() for _ in range(6)]
        armed.close()
        return views

    assert len(set(fired(0.0))) == 1
    assert len(set(fired(1.0))) > 1


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(NextframeError, match="expected one of room, my_way_home"):
        Freedoom("my_way_hom")


def test_the_room_is_a_well_formed_archive() -> None:
    content = room_wad()
    magic, count, at = struct.unpack("<4sii", content[:12])
    assert magic == b"PWAD"
    entries = [struct.unpack("<ii8s", content[at + 16 * n : at + 16 * (n + 1)]) for n in range(count)]
    assert [name.rstrip(b"\0") for _, _, name in entries] == [b"MAP01", b"TEXTMAP", b"ENDMAP"]
    assert content[entries[1][0] :].startswith(b'namespace = "zdoom";')
    assert entries[1][0] + entries[1][1] == at


# --- the explorer -------------------------------------------------------------------------------------------------


def test_the_explorer_does_the_same_for_the_same_numbers_and_begins_anew_with_new_ones() -> None:
    view = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)

    def some(wanderer: Wanderer, seed: int) -> list[list[float]]:
        rng = np.random.default_rng(seed)
        return [wanderer(np.roll(view, t, 1), rng).tolist() for t in range(120)]

    one = Wanderer()
    first = some(one, 1)
    assert some(one, 1) == first
    assert some(one, 2) != first
    assert np.abs(first).max() <= 1
    assert {len(action) for action in first} == {3}
    assert {action[3] for action in some(Wanderer(fires=True), 1)} == {0, 1}


def test_the_explorer_turns_away_from_a_wall_and_walks_on_where_there_is_none() -> None:
    wall, rng = np.full((12, 16, 3), 90, np.uint8), np.random.default_rng(5)
    moving = np.random.default_rng(0).integers(0, 255, (40, 12, 16, 3), np.uint8)
    for views, turned_away in ((np.stack([wall] * 40), True), (moving, False)):
        wanderer = Wanderer()
        wanderer(views[0], rng)
        wanderer._mode, wanderer._left, wanderer._turn, wanderer._move = "walk", 99, 0.0, (0.0, 1.0)
        action = wanderer(views[1], rng)
        assert (action[2] == 0 and abs(action[0]) == 1) == turned_away


# --- measures whose answer is known -------------------------------------------------------------------------------


class Perfect:
    """A bench whose free run is the game itself, or something that is known to be worse."""

    def __init__(self, spoil: Any = None) -> None:
        self.window, self.rows, self.spoil, self.size_px = 6, 4, spoil, SIZE_PX
        self.degrees = 2 * pace_of(ROOM).degrees

    def both(self, script: Script) -> tuple[torch.Tensor, torch.Tensor]:
        frames = torch.from_numpy(play(script, self.rows, SIZE_PX, ROOM))
        real, generated = frames[:, script.context - 1 :], frames[:, script.context :]
        return real, generated if self.spoil is None else self.spoil(frames, script.context)


def frozen(frames: torch.Tensor, context: int) -> torch.Tensor:
    return frames[:, context - 1 : context].expand_as(frames[:, context:])


def grey(frames: torch.Tensor, context: int) -> torch.Tensor:
    return torch.full_like(frames[:, context:], 90)


def test_the_game_against_itself_turns_fully_and_comes_back() -> None:
    bench: Any = Perfect()
    for after in (0, 20):
        found = turning(bench, after)
        assert found["gain"] == 1
        assert found["correlation"] == found["game_correlation"] > 0.9
        assert found["legible"] > 0.5
    back = turn_around(bench, 8)
    assert back["retrieval_at_1"] == 1
    assert back["psnr_db"] == back["game_psnr_db"] > back["other_places_psnr_db"] + 10
    assert staying(bench, 10)["edges"]["10"] > 0.5


def test_a_free_run_that_ignores_input_or_is_empty_is_found_out() -> None:
    deaf = turning(Perfect(frozen))  # type: ignore[arg-type]
    assert deaf["gain"] == 0
    assert deaf["correlation"] is None
    empty = turn_around(Perfect(grey), 8)  # type: ignore[arg-type]
    assert empty["retrieval_at_1"] == empty["chance"]
    assert empty["psnr_db"] < empty["game_psnr_db"] - 10
    assert staying(Perfect(grey), 10)["edges"]["10"] == 0  # type: ignore[arg-type]


def test_a_shift_is_measured_in_pixels_and_with_its_sign() -> None:
    strip = torch.from_numpy(np.random.default_rng(1).integers(0, 255, (1, 48, 90, 3), np.uint8))
    frames = torch.stack([strip[:, :, at : at + 64] for at in (10, 13, 9)], 1)
    assert shifts(frames).tolist() == [[3, -4]]
    assert turned_px(64, 45) == pytest.approx(32)


def test_the_gates_are_open_only_above_their_bounds() -> None:
    def found(edge: float, gain: float) -> dict[str, Any]:
        return {"staying": {"edges": {"100": edge}}, "turning": [{"after_ticks": 100, "gain": gain}]}

    assert list(measure.gates(found(0.41, 0.71)).values()) == [True, True]
    assert list(measure.gates(found(0.4, 0.7)).values()) == [False, False]
    assert list(measure.gates({"staying": {"edges": {}}, "turning": []}).values()) == [None, None]


# --- recipe -------------------------------------------------------------------------------------------------------


def test_small_is_the_room_and_large_the_nine_rooms() -> None:
    out = Path("freedoom")
    assert recipe.Asked(out).place == recipe.Asked(out, size="small").place == ("32x24", ROOM)
    assert recipe.Asked(out, "gpu-25m").place == recipe.Asked(out, size="large").place == ("128x96", "my_way_home")
    assert recipe.Asked(out, size="32x32", scenario="take_cover").place == ("32x32", "take_cover")
    assert pace_of("my_way_home") == USUAL_PACE != pace_of(ROOM)
    assert parts_of_a_run.WORK == budget.WORK


def test_with_a_weapon_the_explorer_fires() -> None:
    armed = recipe.options_of(recipe.Asked(Path("freedoom"), attack=True), resume=False).source
    assert armed.env_options == {"scenario": ROOM, "attack": True}
    assert armed.policy.endswith("wander_and_fire")
    assert "attack" not in recipe.options_of(recipe.Asked(Path("freedoom")), resume=False).source.env_options


def tiny_plan(*_: Any, **__: Any) -> Plan:
    return replace(plan_for(parse_budget("20s"), 32, 32), frames=1024, tokenizer_s=0.3, dynamics_s=0.4, width=32,
                   layers=2, refine_width=8, refine_blocks=1, max_channels=16, window=4, ticks=6)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hardly trained world, made in parts and as the script makes it."""
    out = tmp_path_factory.mktemp("worlds") / "freedoom"
    asked = ["--out", str(out), "--size", "32x32", "--workers", "1", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "plan_for", tiny_plan)
        patch.setattr(learn_motion, "matrix_flops", lambda device: 1e11)
        assert recipe.main([*asked, "--part", "0.01s"]) == recipe.MORE
        assert not (out / "world.yaml").exists()
        assert recipe.main(asked) == 0
    return out


def test_the_recipe_goes_on_until_the_world_is_whole(made: Path) -> None:
    figures = json.loads((made / "eval.json").read_text())
    assert figures["command"].startswith("python -m nextframe.tools.lab.freedoom_pixels.recipe --out freedoom")
    assert (made / "strip.png").is_file()
    assert "35/2" in (made / "world.yaml").read_text()


def test_a_trained_folder_is_measured_beside_the_game(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "QUARTER_DEGREES", 10)
    monkeypatch.setattr(measure, "HALF_DEGREES", 25)
    found = measure.measure(made, rows=3, ticks=10, strip=tmp_path / "strip.png")
    assert found["window_ticks"] == 4
    assert [part["inside_the_window"] for part in found["turn_around"]] == [True, False, False, False]
    assert [part["after_ticks"] for part in found["turning"]] == [0, 10]
    assert found["turning"][0]["game_correlation"] > 0.8
    assert set(found["staying"]["edges"]) == {"1", "10"}
    assert set(found["gates"].values()) == {None}
    assert (tmp_path / "strip.png").is_file()


def test_a_world_with_other_controls_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert measure.main(["circuit"]) == 2
    assert "expected a world with the axes look_x, move_x, move_y" in capsys.readouterr().err


def test_data_that_were_left_behind_are_made_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(recipe, "run_train", lambda options: seen.append((options, done.is_file())) or 0)
    done = made / ".train" / "data.done"
    asked = recipe.Asked(made)
    recipe.make(asked)
    moved = [path.rename(path.with_suffix(".away")) for path in (made / ".train" / "data").glob("shard-*.npz")]
    recipe.make(asked)
    for path in moved:
        path.rename(path.with_suffix(".npz"))
    done.touch()
    assert [there for _, there in seen] == [True, False]
    assert all(options.resume for options, _ in seen)


# --- the GPU queue's step -----------------------------------------------------------------------------------------


def test_the_step_keeps_a_whole_world_in_pieces_that_make_one_archive(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "PIECE_BYTES", 10_000)
    pieces = step.keep(made, tmp_path)["pieces"]
    assert len(pieces) > 1
    whole = tmp_path / "joined.tar"
    whole.write_bytes(b"".join((tmp_path / piece).read_bytes() for piece in pieces))
    listed = subprocess.run(["tar", "-tf", str(whole)], capture_output=True, text=True, check=True).stdout.split()
    assert {"freedoom/world.yaml", "freedoom/dynamics.safetensors"} <= set(listed)
    assert not any(".train" in name for name in listed)


def test_the_step_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "find_spec", lambda name: None if name == "vizdoom" else SimpleNamespace())
    context = Context(torch.device("cpu"), 60, rehearse=True, folder=tmp_path, out=tmp_path / "step.json")
    with pytest.raises(SkippedError, match="needs vizdoom: install"):
        step.run(context)


def test_without_the_game_the_step_trains_from_data_that_were_brought_along(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "find_spec", lambda name: None if name == "vizdoom" else SimpleNamespace())
    step.check_packages(made)
    context = Context(torch.device("cpu"), 60, rehearse=True, folder=made.parent, out=made.parent / "step.json")
    with pytest.raises(SkippedError, match="measure the folder where the game is"):
        step.measure(made, context)


@pytest.mark.slow
def test_the_step_rehearses_in_parts_until_the_world_is_whole(tmp_path: Path) -> None:
    for _ in range(6):
        call = [sys.executable, "-m", "nextframe.tools.lab.gpu.step", "freedoom", "--out", str(tmp_path / "step.json"),
                "--seconds", "60", "--device", "cpu", "--rehearse"]  # fmt: skip
        done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=step.ROOT)
        found = json.loads((tmp_path / "step.json").read_text())
        assert found["status"] == "ok", (done.stderr, found)
        if found["trained"]["whole"]:
            break
    assert found["kept"]["pieces"]
    assert found["place"]["rows"] == 4
