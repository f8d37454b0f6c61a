"""From a world's folder to the pair that is measured: the table of worlds that have a teacher.

Owns the table. A world with adapters of its own (rows in one pass, somebody who drives) names them here; any other
that has a teacher behind the world contract is measured through it, one row at a time.
"""

from __future__ import annotations

from ...runtime.core import NextframeError, World
from ...runtime.session.registry import WorldFolder, load_world
from .players import Palette
from .subjects import Pair, WorldRows


def pair_of(found: WorldFolder) -> Pair:
    """NextframeError for a world without a teacher, or whose game is not installed; WeightsError for lost weights."""
    if found.spec.kind == "circuit":
        from ...worlds.circuit.evaluation import pair as circuit

        return circuit.pair(found.path)
    if found.spec.kind == "freedoom":
        from ...worlds.freedoom.evaluation import pair as freedoom

        return freedoom.pair(found.path)
    if found.spec.kind == "drive":
        from ...worlds.drive.evaluation import pair as drive

        return drive.pair(found.path)
    if found.spec.kind == "toy":
        return plain_pair(found.name, load_world(found), load_world(found))
    raise NextframeError(
        f"{found.name}: expected a world with a teacher to measure it against (circuit, drive, freedoom, toy), got a "
        f"world of kind {found.spec.kind}; its eval.json says what was measured when it was trained"
    )


def plain_pair(name: str, world: World, teacher: World, window_ticks: int | None = None) -> Pair:
    """Two worlds behind the contract, whose equal seeds begin in the same situation."""
    return Pair(name, WorldRows(world), WorldRows(teacher), Palette(world.info.actions), window_ticks)
