"""What a governor has learnt, as plain data for a saved session, so that play goes on at the quality it had.

It is read from a file, so its form is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..core import ConfigError

SAMPLE_NUMBERS = 5
"""Of one `nextframe.runtime.governor.cost.CostSample`."""
MARKS = 3
MAX_ENTRIES = 4_096
MAX_REASON_CHARS = 400
NAME = "adaptive"

KindT = TypeVar("KindT")


@dataclass(frozen=True)
class GovernorState:
    """Of the adaptive governor.

    `deadline_ns`, `period_ns`: what its decisions were made for. `samples`: costs of the last ticks, oldest first,
    `(ticks, 5)` float64, as in `CostSample`. `marks_ns`: high marks of head, step and tail, for the gate. `steps`: of
    the rung. `avoidable_misses`: of the last ticks, oldest first, `(ticks,)` bool.
    """

    deadline_ns: int
    period_ns: int
    samples: NDArray[np.float64]
    marks_ns: NDArray[np.float64]
    steps: int
    ticks_since_change: int
    cuts_in_a_row: int
    avoidable_misses: NDArray[np.bool_]
    holding: bool
    reason: str

    def as_plain(self) -> dict[str, object]:
        return {"name": NAME, **vars(self)}


@runtime_checkable
class KeptGovernor(Protocol):
    """A governor with something to keep."""

    def snapshot(self) -> Mapping[str, object]: ...

    def restore(self, plain: Mapping[str, object]) -> None: ...


def governor_state(governor: object) -> Mapping[str, object] | None:
    """What goes into a save; None for a governor that keeps nothing."""
    return governor.snapshot() if isinstance(governor, KeptGovernor) else None


def restore_governor(governor: object, plain: Mapping[str, object] | None) -> None:
    """Go on as saved. Without a state, as in older saves, and for a forced quality, nothing happens.

    Raises `ConfigError` for what is no state of a governor.
    """
    if plain is not None and isinstance(governor, KeptGovernor):
        governor.restore(plain)


def state_from_plain(plain: Mapping[str, object]) -> GovernorState:
    """Raises `ConfigError` for what no governor has written. Keys that are not known here are ignored."""
    _take(plain, "name", str, lambda name: name == NAME)
    return GovernorState(
        deadline_ns=_take(plain, "deadline_ns", int, _positive),
        period_ns=_take(plain, "period_ns", int, _positive),
        samples=_numbers(plain, "samples", (None, SAMPLE_NUMBERS)),
        marks_ns=_numbers(plain, "marks_ns", (MARKS,)),
        steps=_take(plain, "steps", int, _positive),
        ticks_since_change=_take(plain, "ticks_since_change", int, _at_least_0),
        cuts_in_a_row=_take(plain, "cuts_in_a_row", int, _at_least_0),
        avoidable_misses=_array(plain, "avoidable_misses", (None,), np.bool_),
        holding=_take(plain, "holding", bool),
        reason=_take(plain, "reason", str)[:MAX_REASON_CHARS],
    )


def _positive(value: Any) -> bool:
    return 0 < value < 1 << 62


def _at_least_0(value: Any) -> bool:
    return 0 <= value < 1 << 62


def _take(plain: Mapping[str, object], name: str, kind: type[KindT], valid: Any = lambda value: True) -> KindT:
    value = plain.get(name)
    if type(value) is not kind or not valid(value):
        raise ConfigError(f"saved governor: {name}: expected a valid {kind.__name__}, got {value!r:.60}; save it again")
    return value


def _array(plain: Mapping[str, object], name: str, shape: tuple[int | None, ...], dtype: Any) -> NDArray[Any]:
    value = plain.get(name)
    fits = (
        isinstance(value, np.ndarray)
        and value.dtype == dtype
        and len(value.shape) == len(shape)
        and all(want in (None, got) and got <= MAX_ENTRIES for want, got in zip(shape, value.shape, strict=True))
    )
    if not fits:
        raise ConfigError(f"saved governor: {name}: expected an array {shape}, got something else; save it again")
    return np.array(value)


def _numbers(plain: Mapping[str, object], name: str, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = _array(plain, name, shape, np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ConfigError(f"saved governor: {name}: expected costs of at least 0 ns, got others; save it again")
    return values
