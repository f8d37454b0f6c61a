"""Claims about saved games: everything comes back, nothing else is let in, and a crash loses no older save."""

from __future__ import annotations

import os
import random
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from safetensors.numpy import load, save

from nextframe.runtime.core import Action, FixedClock, TickPlan, World
from nextframe.runtime.recording.compare import differences
from nextframe.runtime.recording.plain import MAX_DEPTH, PlainDataError, from_tree, held_bytes, put_together, take_apart
from nextframe.runtime.recording.snapshots import snapshot_from_bytes, snapshot_to_bytes
from nextframe.runtime.timeline import saves
from nextframe.runtime.timeline.save_format import (
    FORMAT_MAJOR,
    FORMAT_MINOR,
    MAX_HEADER_BYTES,
    NO_DIGEST,
    SavedState,
    SaveError,
    _digest,
    state_from_bytes,
    state_to_bytes,
)
from nextframe.runtime.timeline.saves import (
    default_folder,
    delete_slot,
    list_slots,
    load_slot,
    preview_of,
    save_slot,
    saved_state,
    slot_path,
)
from nextframe.tools.lab.recording.golden import FOLDER, SEED
from nextframe.tools.lab.timeline import golden
from nextframe.worlds.toy.world import ToyWorld
from tests.contracts.world_contract import play
from tests.support.worlds.small import small_neural

DRIVE = Action(axes={"steer": 60, "throttle": 127})
AWKWARD = {
    "text": "näive ✓\n",
    "none": None,
    "flags": [True, False],
    "numbers": [0, -1, 2**63, 0.1, -0.0, float("inf")],
    "empty": {},
    "nothing": [],
    "nested": [{"deep": [np.arange(3)]}, []],
    "a/b": np.float32([1]),
    "a": {"b": np.float32([2])},
    "none of it": np.zeros((0, 4), np.float16),
    "single": np.array(5, np.int64),
    "turned": np.arange(6).reshape(2, 3).T,
}


def small_state() -> SavedState:
    """A state whose file is small enough to damage it at every byte."""
    snapshot = {"tick": 7, "trail": np.arange(4, dtype=np.float32)}
    digest = "ab" * 32
    return SavedState("toy", digest, digest, 7, 3, "day", snapshot, {"rung": 2}, None, 1000.0)


def driven(world: World, ticks: int = 5) -> World:
    world.reset(3)
    play(world, [DRIVE] * ticks)
    return world


def saved(world: World, ticks: int = 5) -> SavedState:
    return saved_state(driven(world, ticks), tick=ticks, seed=3, governor={"rung": 4, "costs": [1.5]})


def with_digest(data: bytes) -> bytes:
    """Made by hand: whatever it holds, its digest is right."""
    start = data.index(NO_DIGEST.encode())
    return data[:start] + _digest(data, start).encode() + data[start + len(NO_DIGEST) :]


def forged(tree: object, arrays: dict[str, Any] | None = None, version: str = "1.0") -> bytes:
    packed = np.frombuffer(msgpack.packb(tree), np.uint8)
    metadata = {"format": f"nextframe.save/{version}", "sha256": NO_DIGEST}
    return with_digest(save({"tree": packed, **(arrays or {})}, metadata))


# --- plain data -------------------------------------------------------------------------------------------------------


def test_plain_data_comes_back_the_same_from_a_tree_and_arrays() -> None:
    assert differences(AWKWARD, put_together(*take_apart(AWKWARD, "state"))) == []


def test_recordings_and_saves_keep_the_same_of_any_plain_data() -> None:
    in_recording = snapshot_from_bytes(snapshot_to_bytes(AWKWARD))
    in_save = state_from_bytes(state_to_bytes(replace(small_state(), snapshot=AWKWARD)), "file").snapshot
    assert differences(in_recording, in_save) == []
    assert differences(in_recording, {**in_save, "none": 0}) != []


def test_an_array_takes_the_placeholder_that_its_container_chooses() -> None:
    tree, arrays = take_apart([np.ones(2, ">f4")], "state", lambda path, array: f"{path} {array.dtype.str}".encode())
    assert (
        from_tree(tree, lambda placeholder: np.array(list(placeholder)))[0].tobytes()
        == np.array(list(b"state/0 <f4")).tobytes()
    )
    assert arrays["state/0"].dtype == np.dtype("<f4")


def test_arrays_are_named_by_their_place() -> None:
    _, arrays = take_apart({"memory": [{"keys": np.zeros(2)}]}, "state")
    assert list(arrays) == ["state/memory/0/keys"]


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1: 2}, np.float32(1), b"bytes", {"a": [object()]}, np.array(["x"]), np.array([None]), 2**64, "\ud800"],
)
def test_what_is_no_plain_data_is_refused_by_name(value: object) -> None:
    with pytest.raises(PlainDataError, match="state"):
        take_apart({"part": value}, "state")


def test_nesting_without_end_is_refused_in_both_directions() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(PlainDataError, match="levels"):
        take_apart(deep, "state")
    with pytest.raises(PlainDataError):
        put_together(b"\x91" * 100_000 + b"\xc0", {})


def test_a_tree_takes_every_array_once_and_no_other() -> None:
    tree, arrays = take_apart([np.zeros(1), np.ones(1)], "state")
    with pytest.raises(PlainDataError, match="array"):
        put_together(tree, {})
    with pytest.raises(PlainDataError, match="no place"):
        put_together(tree, {**arrays, "more": np.zeros(1)})
    with pytest.raises(PlainDataError):
        put_together(msgpack.packb([msgpack.ExtType(2, b"state/0")]), arrays)
    with pytest.raises(PlainDataError):
        put_together(msgpack.packb(msgpack.Timestamp(1)), {})


def test_held_bytes_count_arrays_and_their_containers() -> None:
    state = {"keys": np.zeros(1000, np.float32), "slots": [[1, 2], [3, 4]]}
    assert 4000 < held_bytes(state) < 6000
    assert held_bytes([]) == sys.getsizeof([])


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_world", [ToyWorld, small_neural])
def test_a_loaded_world_goes_on_as_if_it_had_never_stopped(make_world: Callable[[], World], tmp_path: Path) -> None:
    world, other = make_world(), make_world()
    state = saved(world)
    save_slot(tmp_path, "quick", state)
    straight_on = play(world, [DRIVE] * 6)
    loaded = load_slot(tmp_path, "quick", other.info)
    assert differences({**vars(state)}, {**vars(loaded)}) == []
    other.restore(loaded.snapshot)
    assert play(other, [DRIVE] * 6) == straight_on


def test_loaded_arrays_are_copies_that_may_be_written_to(tmp_path: Path) -> None:
    save_slot(tmp_path, "quick", small_state())
    trail = saves.read_state(tmp_path / "toy" / "quick.nfs").snapshot["trail"]
    assert isinstance(trail, np.ndarray)
    assert trail.flags.writeable
    assert trail.flags.owndata


def test_a_save_is_a_safetensors_file_whose_arrays_have_names() -> None:
    assert set(load(state_to_bytes(small_state()))) == {"tree", "state/snapshot/trail"}


def test_the_preview_is_96_px_wide_and_shows_the_frame(tmp_path: Path) -> None:
    frame = np.zeros((192, 256, 3), np.uint8)
    frame[:96, :, 0] = 200
    small = preview_of(frame)
    assert small.shape == (64, 85, 3)
    assert small[0, 0].tolist() == [200, 0, 0]
    assert small[-1, -1].tolist() == [0, 0, 0]
    assert preview_of(np.zeros((3, 500, 3), np.uint8)).shape[1] <= 96
    save_slot(tmp_path, "quick", replace(small_state(), preview=small))
    assert np.array_equal(list_slots(tmp_path, "toy")[0].preview, small)


def test_a_preview_no_wider_than_that_is_the_frame_itself() -> None:
    frame = ToyWorld().reset(1)
    assert np.array_equal(preview_of(frame), frame)


# --- what does not fit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "word"), [("weights_sha256", "weights"), ("config_sha256", "world file")])
def test_other_weights_or_another_world_file_are_refused_with_both_hashes(
    field: str, word: str, tmp_path: Path
) -> None:
    world = ToyWorld()
    save_slot(tmp_path, "quick", replace(saved(world), **{field: "cd" * 32}))
    with pytest.raises(SaveError, match=word) as caught:
        load_slot(tmp_path, "quick", world.info)
    assert "cd" * 32 in str(caught.value)
    assert getattr(world.info, field) in str(caught.value)
    assert word in list_slots(tmp_path, "toy", world.info)[0].problem
    assert list_slots(tmp_path, "toy")[0].problem == ""


def test_another_worlds_save_under_this_name_is_refused(tmp_path: Path) -> None:
    save_slot(tmp_path, "quick", replace(small_state(), world="circuit"))
    os.rename(tmp_path / "circuit", tmp_path / "toy")
    with pytest.raises(SaveError, match="of circuit"):
        load_slot(tmp_path, "quick", ToyWorld().info)


def test_a_missing_slot_names_those_that_are_there(tmp_path: Path) -> None:
    save_slot(tmp_path, "before the bridge", small_state())
    with pytest.raises(SaveError, match="before the bridge"):
        load_slot(tmp_path, "after", ToyWorld().info)


def test_a_newer_minor_version_is_read_and_a_newer_major_is_refused() -> None:
    state = {**vars(small_state()), "snapshot": {}, "invented later": 1}
    assert state_from_bytes(forged(state, version="1.9"), "file").tick == 7
    with pytest.raises(SaveError, match=r"expected format 1, got 2\.0"):
        state_from_bytes(forged(state, version="2.0"), "file")


# --- golden saves -----------------------------------------------------------------------------------------------------

GOLDEN = sorted(FOLDER.glob("*.nfs"))


def test_every_version_of_the_format_has_a_golden_save() -> None:
    assert [path.stem for path in GOLDEN] == [f"toy-{FORMAT_MAJOR}.{minor}" for minor in range(FORMAT_MINOR + 1)]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_save_loads_and_its_world_goes_on_as_if_it_had_never_stopped(path: Path) -> None:
    state = state_from_bytes(path.read_bytes(), "golden")
    assert differences({**vars(state)}, {**vars(golden.golden_state())}) == []
    straight_on, loaded = ToyWorld(FixedClock()), ToyWorld(FixedClock())
    straight_on.reset(SEED)
    golden.play(straight_on, 0, golden.TICKS)
    loaded.restore(state.snapshot)
    expected = golden.play(straight_on, golden.TICKS, 20)
    assert golden.play(loaded, golden.TICKS, 20) == expected
    loaded.reset(SEED)
    assert golden.play(loaded, golden.TICKS, 20) != expected, "another state goes on otherwise"


def test_the_newest_golden_save_is_what_this_code_writes() -> None:
    again = state_from_bytes(state_to_bytes(golden.golden_state()), "new")
    assert differences({**vars(state_from_bytes(GOLDEN[-1].read_bytes(), "golden"))}, {**vars(again)}) == []


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_file_cut_at_any_byte_is_an_error() -> None:
    data = state_to_bytes(small_state())
    assert state_from_bytes(data, "file").tick == 7
    for length in range(len(data)):
        with pytest.raises(SaveError, match="file: "):
            state_from_bytes(data[:length], "file")


def test_a_changed_byte_is_noticed_wherever_it_is() -> None:
    data, draw = state_to_bytes(small_state()), random.Random(0)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= draw.randrange(1, 256)
        with pytest.raises(SaveError, match="file: "):
            state_from_bytes(bytes(changed), "file")


def test_bytes_after_the_end_are_noticed() -> None:
    with pytest.raises(SaveError, match="damaged"):
        state_from_bytes(state_to_bytes(small_state()) + b"\0", "file")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        struct.pack("<Q", 2**63) + bytes(100),
        struct.pack("<Q", MAX_HEADER_BYTES + 1) + bytes(100),
        struct.pack("<Q", 2) + b"{}",
    ],
)
def test_what_is_no_save_is_an_error_before_anything_is_allocated(data: bytes) -> None:
    with pytest.raises(SaveError, match="file: "):
        state_from_bytes(data, "file")


@pytest.mark.parametrize(
    "change",
    [
        {"tick": -1}, {"tick": True}, {"tick": "7"}, {"seed": None}, {"world": 3}, {"snapshot": []}, {"governor": 1},
        {"preview": "png"}, {"created_unix_s": float("nan")}, {"created_unix_s": 1}, {"prompt": b"day"},
        {"snapshot": {"a": msgpack.ExtType(1, b"nowhere")}},
    ],
)  # fmt: skip
def test_a_forged_file_with_a_right_digest_is_an_error_and_no_crash(change: dict[str, object]) -> None:
    fields = {**vars(small_state()), "snapshot": {}}
    assert state_from_bytes(forged(fields), "file").seed == 3, "the forgery works where nothing is wrong with it"
    with pytest.raises(SaveError, match="file: not a saved state"):
        state_from_bytes(forged({**fields, **change}), "file")


def test_a_forged_tree_or_preview_is_an_error() -> None:
    fields = {**vars(small_state()), "snapshot": {}}
    for tree in (None, [], 5, {"tick": 1}):
        with pytest.raises(SaveError, match="not a saved state"):
            state_from_bytes(forged(tree), "file")
    picture = {**fields, "preview": msgpack.ExtType(1, b"p")}
    for wrong in (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8)):
        with pytest.raises(SaveError, match="preview"):
            state_from_bytes(forged(picture, {"p": wrong}), "file")
    with pytest.raises(SaveError, match="no place"):
        state_from_bytes(forged(fields, {"more": np.zeros(1)}), "file")


# --- slots on disk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../up", "a/b", "a\\b", ".hidden", "end.", " blank", "blank ", "a" * 65, "ä", "a\nb", "a\0b"],
)
def test_a_slot_name_cannot_lead_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="slot name"):
        slot_path(tmp_path, "toy", name)


@pytest.mark.parametrize("name", ["a", "quick", "lap 2 - before the bridge", "v1.2_final", "A" * 64])
def test_ordinary_names_are_slots(name: str, tmp_path: Path) -> None:
    assert save_slot(tmp_path, name, small_state()) == tmp_path / "toy" / f"{name}.nfs"
    assert [one.slot for one in list_slots(tmp_path, "toy")] == [name]


def test_a_world_name_cannot_lead_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="world name"):
        save_slot(tmp_path, "quick", replace(small_state(), world="../toy"))


def test_slots_are_listed_newest_first_and_damaged_ones_with_the_reason(tmp_path: Path) -> None:
    for name, created in (("old", 1.0), ("new", 3.0), ("middle", 2.0)):
        save_slot(tmp_path, name, replace(small_state(), created_unix_s=created))
    damaged = tmp_path / "toy" / "broken.nfs"
    damaged.write_bytes(state_to_bytes(small_state())[:-1])
    os.utime(damaged, (4.0, 4.0))
    (tmp_path / "toy" / "folder.nfs").mkdir()
    (tmp_path / "toy" / "gone.nfs").symlink_to("nowhere")
    (tmp_path / "toy" / "notes.txt").write_text("no slot")
    (tmp_path / "toy" / ".old.nfs.x.part").write_text("left by a killed session")
    found = {one.slot: one for one in list_slots(tmp_path, "toy")}
    whole = [name for name, one in found.items() if not one.problem]
    assert whole == ["new", "middle", "old"]
    assert set(found) - set(whole) == {"broken", "folder", "gone"}
    assert "damaged" in found["broken"].problem
    assert found["new"].tick == 7


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on this system")
def test_a_pipe_among_the_slots_does_not_stop_the_list(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    os.mkfifo(tmp_path / "toy" / "pipe.nfs")
    assert list_slots(tmp_path, "toy")[0].problem


def test_there_are_no_slots_where_nothing_was_saved(tmp_path: Path) -> None:
    assert list_slots(tmp_path / "never made", "toy") == []


def test_a_deleted_slot_is_gone_and_cannot_be_deleted_twice(tmp_path: Path) -> None:
    save_slot(tmp_path, "quick", small_state())
    delete_slot(tmp_path, "toy", "quick")
    assert list_slots(tmp_path, "toy") == []
    with pytest.raises(SaveError, match="could not be deleted"):
        delete_slot(tmp_path, "toy", "quick")


def test_saving_again_replaces_the_slot(tmp_path: Path) -> None:
    save_slot(tmp_path, "quick", small_state())
    save_slot(tmp_path, "quick", replace(small_state(), tick=99))
    assert [one.tick for one in list_slots(tmp_path, "toy")] == [99]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_save_that_fails_leaves_the_older_one_and_no_rest(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_slot(tmp_path, "quick", small_state())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(SaveError, match="No space left"):
        save_slot(tmp_path, "quick", replace(small_state(), tick=99))
    monkeypatch.undo()
    assert [one.tick for one in list_slots(tmp_path, "toy")] == [7]
    assert os.listdir(tmp_path / "toy") == ["quick.nfs"]


def test_the_content_is_on_the_disk_before_the_name_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, n=name, f=real: (calls.append(n), f(*args))[1])
    save_slot(tmp_path, "quick", small_state())
    assert calls == ["fsync", "replace", "fsync"]


def test_a_snapshot_that_is_no_plain_data_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="state/snapshot/ball"):
        save_slot(tmp_path, "quick", replace(small_state(), snapshot={"ball": object()}))
    assert list_slots(tmp_path, "toy") == []


def test_saves_lie_in_the_users_data_folder(tmp_path: Path) -> None:
    assert default_folder({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "nextframe" / "saves"
    for environment in ({}, {"XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "relative"}):
        assert default_folder(environment) == Path.home() / ".local" / "share" / "nextframe" / "saves"


def test_a_user_without_a_home_saves_below_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert default_folder({}) == Path("out") / "saves"


def test_half_a_tick_cannot_be_saved() -> None:
    world = ToyWorld()
    world.advance(DRIVE, TickPlan(1, 0))
    with pytest.raises(AssertionError):
        saved_state(world, tick=0, seed=0)
