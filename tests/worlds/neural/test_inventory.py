"""Claims about inventories and plain data, and worlds that forget, ignore or hoard state to prove the contract sees it.

Each broken world wraps a sound one, so the same fault is put into the toy and into a neural world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nextframe.runtime.core import ManualClock, NextframeError, Snapshot, StatePart, World
from nextframe.runtime.recording.compare import belongs_to, differences, leaves
from nextframe.worlds.inventory import plain_bytes
from nextframe.worlds.toy.world import TRAIL_HORIZON_TICKS, ToyWorld
from tests.contracts.world_contract import WorldContract
from tests.support.perturb import at_path, with_leaf, without
from tests.support.worlds.small import SMALL_WINDOW_TICKS, small_neural

CLAIMS = WorldContract
Make = Callable[[], World]


def toy() -> World:
    return ToyWorld(ManualClock())


TOY_PATHS = ["seed", "tick", "light", "ball", "trail", "frame"]
TOY_PATHS += [f"ball/{name}" for name in ("x_px", "y_px", "speed_px", "heading_x", "heading_y")]
NEURAL_PATHS = ["generator/memory", "generator/last", "generator/before", "generator/tick", "seed", "prompt", "frame"]
NEURAL_PATHS += ["prompt/weather", "prompt/time"]
NEURAL_PATHS += [f"generator/memory/lanes/0/{name}" for name in ("keys", "values", "slots", "next_position")]
EVERY_PATH = [*((toy, path) for path in TOY_PATHS), *((small_neural, path) for path in NEURAL_PATHS)]


class Wrapped:
    """A world in another's clothes: everything not overridden is the inner world's."""

    def __init__(self, world: World, path: str = "") -> None:
        self.inner, self.path = world, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Forgets(Wrapped):
    """Its snapshot lacks `path`, and a restore keeps what the world happens to have there."""

    def snapshot(self) -> Snapshot:
        saved: Snapshot = without(self.inner.snapshot(), self.path)
        return saved

    def restore(self, snapshot: Snapshot) -> None:
        self.inner.restore(with_leaf(snapshot, self.path, at_path(self.inner.snapshot(), self.path)))


class ForgetsAndHidesIt(Forgets):
    """Its inventory does not name the part either, so only what it does can betray it."""

    def state_inventory(self) -> list[StatePart]:
        return [part for part in self.inner.state_inventory() if part.name != self.path]


class ChecksumIgnores(Wrapped):
    """Its checksum is that of a world with always the same value at `path`."""

    def __init__(self, world: World, path: str) -> None:
        super().__init__(world, path)
        self.always = at_path(world.snapshot(), path)

    def checksum(self) -> int:
        here = self.inner.snapshot()
        self.inner.restore(with_leaf(here, self.path, self.always))
        checksum = self.inner.checksum()
        self.inner.restore(here)
        return checksum


class Hoards(Wrapped):
    """Keeps a number that is saved, restored and counted, and decides nothing."""

    hoard = 0

    def snapshot(self) -> Snapshot:
        return {**self.inner.snapshot(), "hoard": self.hoard}

    def restore(self, snapshot: Snapshot) -> None:
        self.hoard = int(str(snapshot["hoard"]))
        self.inner.restore({key: part for key, part in snapshot.items() if key != "hoard"})

    def checksum(self) -> int:
        return self.inner.checksum() ^ self.hoard

    def state_inventory(self) -> list[StatePart]:
        return [*self.inner.state_inventory(), StatePart("hoard", 8, None)]


class Misstates(Wrapped):
    """Says something else of the part at `path`."""

    def __init__(self, world: World, path: str, **said: Any) -> None:
        super().__init__(world, path)
        self.said = said

    def state_inventory(self) -> list[StatePart]:
        return [replace(part, **self.said) if part.name == self.path else part for part in self.inner.state_inventory()]


def assert_caught(make: Callable[[], Any], claim: Callable[..., None]) -> None:
    class Suite(WorldContract):
        ticks = 6

        def make_world(self) -> World:
            world: World = make()
            return world

    world = make()
    world.reset(1)
    with pytest.raises((AssertionError, ValueError)):
        claim(Suite(), world)


# --- negative controls: state left out --------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "path"), EVERY_PATH)
def test_a_snapshot_that_lacks_what_the_inventory_lists_is_caught(make: Make, path: str) -> None:
    is_part = any(part.name == path for part in make().state_inventory())
    claim = (
        CLAIMS.test_every_leaf_of_a_snapshot_belongs_to_one_part_of_the_inventory
        if is_part
        else CLAIMS.test_the_inventory_weighs_what_the_snapshot_holds
    )
    assert_caught(lambda: Forgets(make(), path), claim)


@pytest.mark.parametrize(("make", "path"), EVERY_PATH)
def test_forgetting_a_part_is_caught_by_what_the_world_does(make: Make, path: str) -> None:
    claim = CLAIMS.test_a_snapshot_carries_everything_into_a_world_with_another_past
    assert_caught(lambda: ForgetsAndHidesIt(make(), path), claim)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        *((toy, path) for path in TOY_PATHS if path != "ball"),
        *((small_neural, path) for path in ("generator/last", "generator/before", "generator/tick", "frame")),
        *((small_neural, path) for path in ("seed", "prompt/weather", "prompt/time")),
        *((small_neural, f"generator/memory/lanes/0/{name}") for name in ("keys", "values")),
    ],
)
def test_a_checksum_blind_to_one_leaf_is_caught(make: Make, path: str) -> None:
    assert_caught(lambda: ChecksumIgnores(make(), path), CLAIMS.test_one_changed_value_in_any_leaf_is_noticed)


@pytest.mark.parametrize("make", [toy, small_neural])
def test_dead_state_is_reported(make: Make) -> None:
    assert_caught(lambda: Hoards(make()), CLAIMS.test_every_part_is_read_within_its_horizon_and_no_part_beyond)


@pytest.mark.parametrize(
    ("make", "path", "said", "claim"),
    [
        (toy, "trail", {"bytes": 1}, CLAIMS.test_the_inventory_weighs_what_the_snapshot_holds),
        (toy, "trail", {"horizon_ticks": 0}, CLAIMS.test_every_part_is_read_within_its_horizon_and_no_part_beyond),
        (toy, "frame", {"horizon_ticks": 1}, CLAIMS.test_every_part_is_read_within_its_horizon_and_no_part_beyond),
        (toy, "ball", {"name": "ball/x_px"}, CLAIMS.test_every_leaf_of_a_snapshot_belongs_to_one_part_of_the_inventory),
        (toy, "tick", {"name": "ball"}, CLAIMS.test_every_part_of_the_state_has_a_name_and_a_size),
    ],
)
def test_an_inventory_that_says_something_untrue_is_caught(
    make: Make, path: str, said: dict[str, Any], claim: Callable[..., None]
) -> None:
    assert_caught(lambda: Misstates(make(), path, **said), claim)


@pytest.mark.parametrize("claim", [getattr(CLAIMS, name) for name in dir(CLAIMS) if name.startswith("test_")])
def test_wrapping_a_sound_world_breaks_no_claim(claim: Callable[..., None]) -> None:
    class Suite(WorldContract):
        def make_world(self) -> World:
            world: Any = Wrapped(toy())
            return world

    world: Any = Wrapped(toy())
    world.reset(1)
    claim(Suite(), world)


# --- what the inventories say -----------------------------------------------------------------------------------------


def horizons(world: World) -> Mapping[str, int | None]:
    return {part.name: part.horizon_ticks for part in world.state_inventory()}


def test_a_neural_world_lists_memory_latents_prompt_noise_address_and_frame() -> None:
    world = small_neural()
    reach_ticks = SMALL_WINDOW_TICKS * world.generator.config.layers
    assert horizons(world) == {
        "generator/memory": reach_ticks, "generator/last": 2, "generator/before": 1, "generator/tick": None,
        "seed": None, "prompt": None, "frame": 0,
    }  # fmt: skip


def test_the_toy_world_lists_its_six_parts() -> None:
    assert horizons(toy()) == {
        "seed": None, "tick": None, "light": None, "ball": None, "trail": TRAIL_HORIZON_TICKS, "frame": 0
    }  # fmt: skip


def test_the_memory_weighs_at_least_its_keys_and_values() -> None:
    world = small_neural()
    (memory,) = (part for part in world.state_inventory() if part.name == "generator/memory")
    spec = world.generator.memory.spec
    assert spec.bytes < memory.bytes < 1.5 * spec.bytes


def test_plain_data_weighs_its_values_and_nothing_else() -> None:
    data = {"a": np.zeros((2, 3), np.float32), "b": [1, 2.0, True, None, "né"], "c": {}}
    assert plain_bytes(data) == 24 + 8 + 8 + 1 + 0 + 3
    with pytest.raises(TypeError, match="plain data"):
        plain_bytes(object())


# --- comparing plain data ---------------------------------------------------------------------------------------------


def test_a_difference_names_the_path_the_count_the_first_index_and_the_size() -> None:
    first = {"memory": {"keys": np.zeros((2, 3, 4), np.float32)}}
    second = {"memory": {"keys": first["memory"]["keys"].copy()}}
    second["memory"]["keys"][1, 2, 0] = 0.5
    second["memory"]["keys"][1, 2, 3] = 2
    (found,) = differences(first, second)
    assert (found.path, found.values, found.differing) == ("memory/keys", 24, 2)
    assert (found.first_index, found.by) == ((1, 2, 0), 0.5)
    assert str(found) == "memory/keys, 2 of 24 values differ, first at [1, 2, 0], by 0.5 (0.0 and 0.5)"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (True, 1),
        (None, 0),
        ("a", "b"),
        ([1, 2], [1, 3]),
        ([1, 2], [1, 2, 3]),
        ([], [1]),
        ([], {}),
        (np.zeros(3), np.zeros(3, np.float32)),
        (np.zeros(3), np.zeros((3, 1))),
        (np.zeros(3), -np.zeros(3)),
        (np.ones(1, np.float32), np.nextafter(np.ones(1, np.float32), np.float32(2))),
        ([np.zeros(3), 1], [np.zeros(3), 2]),
    ],
)
def test_anything_but_the_same_bits_is_a_difference(first: object, second: object) -> None:
    (found,) = differences({"x": first}, {"x": second})
    assert belongs_to(found.path, "x")
    assert not differences({"x": first}, {"x": first})


def test_a_nan_is_itself_and_strides_do_not_matter() -> None:
    values = np.arange(12.0).reshape(3, 4)
    values[1, 1] = np.nan
    assert not differences({"x": values, "y": float("nan")}, {"x": np.asfortranarray(values), "y": float("nan")})
    assert not differences({"x": np.zeros((0, 3))}, {"x": np.zeros((0, 3))})


def test_a_leaf_that_is_there_only_once_is_named() -> None:
    assert [str(found) for found in differences({"a": 1, "b": {"c": 2}}, {"a": 1, "d": 3})] == [
        "b/c, is missing the second time",
        "d, is there only the second time",
    ]


def test_leaves_have_paths_through_mappings_and_lists() -> None:
    data = {"lanes": [{"keys": np.zeros(2)}, {"slots": [[1, 2], [3, 4]]}], "seed": 3, "empty": {}}
    assert [path for path, _ in leaves(data)] == [
        "lanes/0/keys", "lanes/1/slots/0", "lanes/1/slots/1", "seed", "empty"
    ]  # fmt: skip
    assert belongs_to("lanes/0/keys", "lanes")
    assert not belongs_to("lanes2/0/keys", "lanes")


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(NextframeError, match="objects"):
        differences({"x": np.array([{}])}, {"x": np.array([{}])})
