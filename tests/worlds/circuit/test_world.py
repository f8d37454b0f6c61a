"""The circuit as shipped: its file, its code and its networks say the same, and inputs reach the very next frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nextframe.model.dynamics.slots import DynamicsConfig
from nextframe.model.tokenizers.scenes.still import POSITION_SCALE_PX, SLOT_DIM, TokenizerConfig
from nextframe.runtime.core import Action, ConfigError, Frame, ManualClock, TickPlan, WeightsError, quantise_axis
from nextframe.runtime.session.registry import find_world, load_world, world_names
from nextframe.worlds.circuit import world as circuit
from nextframe.worlds.circuit.recipe.data import CONDITION_DIM, condition
from nextframe.worlds.circuit.teacher.simulator import TIMES, WEATHERS, controls_of
from nextframe.worlds.circuit.teacher.track import HEIGHT_PX, WIDTH_PX
from nextframe.worlds.evaluation.measures import visible_change
from nextframe.worlds.neural.world import NeuralWorld
from tests.support.networks import simulator

STEPS = 4
PIXELS = WIDTH_PX * HEIGHT_PX
NEAR_PX = 40
"""A car, its shadow and its lights lie within this distance of its middle."""


def shipped(seed: int = 0) -> NeuralWorld:
    world = load_world(find_world("circuit"), ManualClock())
    assert isinstance(world, NeuralWorld)
    world.reset(seed)
    return world


def driven(seed: int) -> NeuralWorld:
    """At speed after a few ticks of throttle."""
    world = shipped(seed)
    for _ in range(6):
        world.advance(throttle(), TickPlan(2, 0)).commit()
    return world


def throttle(steer: float = 0.0, prompt: str | None = None) -> Action:
    return Action(axes={"throttle": 127, "steer": quantise_axis(steer)}, prompt=prompt)


def next_frame(world: NeuralWorld, action: Action) -> Frame:
    """The frame this action would lead to; the world stays where it is."""
    here = world.snapshot()
    frame = world.advance(action, TickPlan(STEPS, 0)).frames[0]
    world.restore(here)
    return frame


# --- the file and the code ----------------------------------------------------------------------------------------


def test_the_file_and_the_code_name_the_same_controls_in_the_same_order() -> None:
    info = shipped().info
    assert info.actions.axes == ("steer", "throttle", "brake")
    assert info.actions.buttons == ("handbrake",)
    assert dict(info.actions.prompts) == {"weather": WEATHERS, "time": TIMES}
    assert (info.width_px, info.height_px) == (WIDTH_PX, HEIGHT_PX)
    assert info.ladder == DynamicsConfig().ladder
    assert DynamicsConfig().latent_dim == TokenizerConfig(HEIGHT_PX, WIDTH_PX).latent_dim


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("handbrake", [False, True])
def test_the_network_is_told_in_play_what_it_was_told_in_training(
    monkeypatch: pytest.MonkeyPatch, weather: str, time: str, handbrake: bool
) -> None:
    world = shipped()
    told: list[list[float]] = []
    given = world.generator.condition
    monkeypatch.setattr(
        world.generator, "condition", lambda inputs: told.append(list(inputs.controls)) or given(inputs)
    )
    levels = {"steer": -127, "throttle": 64, "brake": 32}
    buttons = frozenset({"handbrake"} if handbrake else set())
    world.advance(Action(buttons, levels, prompt=f"{weather} {time}"), TickPlan(1, 0))
    axes = {name: level / 127 for name, level in levels.items()}
    controls = controls_of(axes, handbrake=handbrake, weather=weather, time=time)
    trained = condition(controls, simulator().step(simulator().reset(0), controls))
    assert len(told[0]) == CONDITION_DIM == DynamicsConfig().condition_dim
    assert np.allclose(told[0], trained, atol=1e-6)


def test_every_synonym_means_a_word_of_the_vocabulary_and_is_not_one() -> None:
    words = {*WEATHERS, *TIMES}
    synonyms = find_world("circuit").synonyms
    assert synonyms
    assert set(synonyms.values()) <= words
    assert not set(synonyms) & words
    assert all(word.isalpha() and word.islower() for word in synonyms), "other words can never be typed"


def test_the_seed_clips_cover_every_weather_and_every_time() -> None:
    world = shipped()
    assert world.prompt == "clear day"
    moods = set()
    for seed in range(48):
        world.reset(seed)
        moods |= set(world.prompt.split())
    assert moods == {*WEATHERS, *TIMES}


# --- finding and loading ------------------------------------------------------------------------------------------


def test_an_unknown_world_is_refused_with_the_nearest_name() -> None:
    assert "circuit" in world_names()
    with pytest.raises(ConfigError, match="circuit"):
        find_world("circut")


def test_a_folder_without_weights_is_refused_before_any_network_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (find_world("circuit").path / "world.yaml").read_text(encoding="utf-8")
    (tmp_path / "world.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(circuit, "load_networks", lambda folder: pytest.fail("a network was made"))
    with pytest.raises(WeightsError, match="no such file"):
        load_world(find_world(str(tmp_path)))


def test_the_weights_hash_is_that_of_the_files() -> None:
    found = find_world("circuit")
    assert shipped().info.weights_sha256 == circuit.weights_sha256(found.path)


# --- inputs reach the very next frame -----------------------------------------------------------------------------


def car_px(world: NeuralWorld) -> tuple[float, float]:
    x, y = (world.generator.last[0, -2 * SLOT_DIM :][:2] * POSITION_SCALE_PX).tolist()
    return x + WIDTH_PX / 2, y + HEIGHT_PX / 2


def test_steering_the_other_way_changes_the_next_frame_near_the_car() -> None:
    changed, near = [], []
    for seed in range(6):
        world = driven(seed)
        left, right = (next_frame(world, throttle(steer)).astype(np.int16) for steer in (-1.0, 1.0))
        rows, columns = np.nonzero(np.abs(left - right).max(-1) >= 8)
        x, y = car_px(world)
        changed.append(len(rows))
        near.append(float((np.hypot(columns - x, rows - y) < NEAR_PX).mean()) if len(rows) else 0.0)
    assert min(changed) >= 10
    assert np.median(near) > 0.5


def test_the_same_input_twice_gives_the_same_next_frame() -> None:
    world = driven(0)
    assert np.array_equal(next_frame(world, throttle(1.0)), next_frame(world, throttle(1.0)))


def test_a_weather_prompt_changes_the_next_frame_over_most_of_the_picture() -> None:
    shares = []
    for seed in range(6):
        world = driven(seed)
        asked = "fog" if "snow" in world.prompt else "snow"
        plain, other = (next_frame(world, throttle(prompt=prompt)) for prompt in (None, asked))
        shares.append(visible_change(plain, other, levels=2) / PIXELS)
    assert np.median(shares) > 0.5


def test_a_prompt_that_changes_nothing_changes_no_pixel() -> None:
    world = driven(0)
    assert np.array_equal(next_frame(world, throttle()), next_frame(world, throttle(prompt="clear day")))
    assert np.array_equal(next_frame(world, throttle()), next_frame(world, throttle(prompt="purple elephants")))


def test_a_prompt_stays_in_force_and_synonyms_work() -> None:
    world = shipped()
    world.advance(throttle(prompt="a rainy EVENING, please"), TickPlan(1, 0)).commit()
    world.advance(throttle(), TickPlan(1, 0)).commit()
    assert world.prompt == "rain dusk"
    world.advance(throttle(prompt="night"), TickPlan(1, 0)).commit()
    assert world.prompt == "rain night"


def test_a_prompt_of_a_tick_that_was_never_committed_is_forgotten() -> None:
    world = shipped()
    here = world.snapshot()
    world.advance(throttle(prompt="snow"), TickPlan(1, 0))
    world.restore(here)
    assert world.prompt == "clear day"


def test_memory_shapes_the_next_frame() -> None:
    """What the network remembers decides: the same last frames and controls after another past differ."""
    world = driven(0)
    plain = next_frame(world, throttle())
    memory = world.generator.memory
    memory.values[:, :, :, [slot for slot, p in enumerate(memory.positions) if p >= 0]] *= torch.tensor(0.0)
    assert not np.array_equal(next_frame(world, throttle()), plain)
