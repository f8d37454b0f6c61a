"""A folder of the kind `pixels` is a world like any other: it plays, replays and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nextframe.runtime.core import Action, ConfigError, TickPlan, WeightsError, always_open
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.worlds.neural.pixels import PixelWorld, one_of_each
from tests.support.grids import world_document, write_world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_world(tmp_path / "squares")


def opened(folder: Path) -> PixelWorld:
    world = load_world(find_world(str(folder)))
    assert isinstance(world, PixelWorld)
    return world


def frames_of(world: PixelWorld, actions: list[Action], steps: int = 2) -> list[bytes]:
    out = []
    for action in actions:
        result = world.advance(action, TickPlan(steps, deadline_ns=0, gate=always_open))
        result.commit()
        out.append(result.frames[0].tobytes())
    return out


def test_it_plays_frames_of_its_size_and_the_same_ones_again(folder: Path) -> None:
    world, again = opened(folder), opened(folder)
    actions = [Action(buttons=frozenset({"left"}), axes={"steer": 60}) for _ in range(6)]
    assert world.reset(1).shape == (16, 24, 3)
    again.reset(1)
    assert frames_of(world, actions) == frames_of(again, actions)
    assert world.checksum() == again.checksum()


def test_actions_change_what_is_seen(folder: Path) -> None:
    world = opened(folder)
    seen = []
    for action in (Action(), Action(buttons=frozenset({"right"})), Action(axes={"steer": 127})):
        world.reset(1)
        seen.append(frames_of(world, [action] * 4)[-1])
    assert len(set(seen)) == 3


@pytest.mark.bitexact
def test_a_snapshot_goes_on_bit_for_bit(folder: Path) -> None:
    world = opened(folder)
    actions = [Action(buttons=frozenset({"right"}))] * 5
    frames_of(world, actions)
    saved = world.snapshot()
    first = frames_of(world, actions)
    world.restore(saved)
    assert frames_of(world, actions) == first


def test_of_buttons_that_exclude_each_other_the_first_counts(folder: Path) -> None:
    world = opened(folder)
    both, left, right = (frozenset(names) for names in (("left", "right"), ("left",), ("right",)))
    conditions = [world.condition(Action(buttons=held), {}).tolist() for held in (both, left, right)]
    assert conditions[0] == conditions[1] != conditions[2]


def test_buttons_of_no_group_may_be_held_together() -> None:
    held = Action(buttons=frozenset({"left", "right", "fire"}))
    assert one_of_each(held, []) is held
    assert one_of_each(held, [("right", "left")]).buttons == {"right", "fire"}


def test_a_world_may_bring_its_own_keys(folder: Path) -> None:
    assert find_world(str(folder)).bindings is None
    (folder / "bindings.yaml").write_text("version: 1\n", encoding="utf-8")
    assert find_world(str(folder)).bindings == folder / "bindings.yaml"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sizes": None}, "parameters.sizes: expected patch_px"),
        ({"sizes": {**world_document()["parameters"]["sizes"], "width": "wide"}}, "parameters.sizes.width"),
        ({"sizes": {**world_document()["parameters"]["sizes"], "width": True}}, "parameters.sizes.width"),
        ({"sizes": {**world_document()["parameters"]["sizes"], "width": 10**9}}, "parameters.sizes.width"),
        ({"sizes": {**world_document()["parameters"]["sizes"], "patch_px": 0}}, "parameters"),
        ({"sizes": {**world_document()["parameters"]["sizes"], "heads": 0}}, "parameters"),
        ({"base": "spline"}, "base of ridge or last"),
        ({"exclusive": "left"}, "parameters.exclusive: expected lists"),
        ({"exclusive": [["left", "jump"]]}, "jump"),
    ],
)
def test_sizes_that_no_network_can_have_are_refused_with_the_file_and_the_key(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    write_world(tmp_path / "squares", world_document(**changes))
    with pytest.raises(ConfigError, match=said) as caught:
        opened(tmp_path / "squares")
    assert "world.yaml" in str(caught.value)


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    write_world(folder, world_document(sizes={**world_document()["parameters"]["sizes"], "width": 64}))
    with pytest.raises(WeightsError, match="expected shape"):
        opened(folder)


def test_missing_weights_and_seeds_of_another_world_are_refused(folder: Path) -> None:
    seeds = load_file(folder / "seeds.safetensors")
    save_file({**seeds, "latents": seeds["latents"][..., :-1].contiguous()}, folder / "seeds.safetensors")
    with pytest.raises(WeightsError, match="expected latents"):
        opened(folder)
    (folder / "dynamics.safetensors").unlink()
    with pytest.raises(WeightsError, match="no such file"):
        opened(folder)


def test_weights_may_be_split_over_files(folder: Path) -> None:
    before = frames_of(opened(folder), [Action()] * 3)
    tensors = load_file(folder / "dynamics.safetensors")
    (folder / "dynamics.safetensors").unlink()
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        save_file({name: tensors[name] for name in part}, folder / f"dynamics-{number}.safetensors")
    document = world_document()
    document["weights"] = ["tokenizer.safetensors", "dynamics-1.safetensors", "dynamics-2.safetensors",
                           "seeds.safetensors"]  # fmt: skip
    import yaml

    (folder / "world.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    assert frames_of(opened(folder), [Action()] * 3) == before


def test_half_precision_weights_are_read_as_full_ones(folder: Path) -> None:
    tensors = load_file(folder / "dynamics.safetensors")
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}, folder / "dynamics.safetensors"
    )
    world = opened(folder)
    assert all(p.dtype == torch.float32 for p in world.generator.dynamics.parameters())
