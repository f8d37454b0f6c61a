"""What a generator promises: the contract between a session and whatever makes its frames.

A generator is one session of a network that makes the next frames from an input and from what it remembers. Slot
worlds, pixel worlds, published checkpoints and the toy implement it; `tests/contracts/generator_contract.py` holds
each of them to it. The life of a session, and which calls modify it:

    begin(seed, start)                              modifies: a new session from a short true past
    per tick:
      given = condition(inputs)                     reads
      job = start(given, seed, steps)               reads
      job.step() while job.can_step, as time allows reads
      latent = job.finish()                         reads
      frames = decode(latent)                       reads, may run beside the commit
      commit(latent, given)  or  skip()             modifies, exactly once
    snapshot, checksum, inventory, last             read
    restore(snapshot)                               modifies

Randomness is addressed, not consumed: the noise of a tick depends on (seed, tick number, denoise step) and nothing
else, so a tick that was never committed can be made again, bit for bit. The seed belongs to the session and comes with
every tick; the tick number is the generator's own and part of its snapshot. A job cut after k steps is exactly the
rung k.

What a generator can do beyond this is stated in `can`: each capability is a protocol of its own, and the field holds
the object that has it, or None. A caller asks for the capability, never for a class or a world by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..tokenizers.latent import SceneCode

History: TypeAlias = Literal["clean", "same_level", "frames"]
"""What is remembered: keys and values of finished frames; one history per denoise step; or the frames themselves."""

ConditionT = TypeVar("ConditionT")
"""What a generator makes of a tick's inputs: a tensor, or a value of its own. Callers only hand it back."""

ConditionT_contra = TypeVar("ConditionT_contra", contravariant=True)


class Size(NamedTuple):
    height_px: int
    width_px: int


@dataclass(frozen=True)
class Conditioning:
    """What a tick may be given. A session gives exactly this and no more.

    `controls`: numbers per tick: the axes, then the buttons, then one number for each word of the prompt's vocabulary,
    in the order of the world's action space. `text`: a prompt as it was typed. `camera`: a picture with every tick.
    `reference`: a picture with the start, which the whole session goes by. Pictures arrive in this size, RGB uint8.
    """

    controls: int = 0
    text: bool = False
    camera: Size | None = None
    reference: Size | None = None


@dataclass(frozen=True)
class GeneratorSpec:
    """What a session must know before it plays.

    `frames_per_tick`: 1, or the frames of a chunk. `ladder`: numbers of denoise steps that may be planned, ascending.
    `noise_levels`: the standard deviation of the noise before each step of the highest rung, descending, in units of
    the data's (flow matching: 1 - tau; EDM: sigma); every rung is a prefix of them. `memory_ticks`: how far back a
    tick can see, None if without bound. `memory_bytes`: what the memory of one session takes, fixed at construction.
    """

    frames_per_tick: int
    frame: Size
    ladder: tuple[int, ...]
    noise_levels: tuple[float, ...]
    conditioning: Conditioning
    history: History
    memory_ticks: int | None
    memory_bytes: int

    def __post_init__(self) -> None:
        if self.frames_per_tick < 1:
            raise ValueError(f"generator: expected at least 1 frame per tick, got {self.frames_per_tick}")
        if not self.ladder or list(self.ladder) != sorted({*self.ladder}) or self.ladder[0] < 1:
            raise ValueError(f"generator: expected a ladder of ascending step counts from 1 on, got {self.ladder}")
        if len(self.noise_levels) != self.ladder[-1] or list(self.noise_levels) != sorted(self.noise_levels)[::-1]:
            raise ValueError(
                f"generator: expected {self.ladder[-1]} descending noise levels, one for each step of the highest "
                f"rung, got {self.noise_levels}"
            )


@dataclass(frozen=True, eq=False)
class Inputs:
    """What one tick is given, on the host. `camera`: `(height, width, 3)` uint8 of `Conditioning.camera`."""

    controls: tuple[float, ...] = ()
    text: str = ""
    camera: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Start:
    """The short true past that a session begins from; empty for a generator that begins from noise alone.

    `latents`: `(ticks, *latent)`, of the generator's own tokenizer. `frames`: `(ticks * frames_per_tick, height, width,
    3)` uint8, where the past is given as pictures instead. `controls`: `(ticks, controls)` float32, those that led into
    each tick. `text`: the prompt in force. `reference`: `(height, width, 3)` uint8 of `Conditioning.reference`.
    """

    latents: Tensor | None = None
    frames: NDArray[np.uint8] | None = None
    controls: Tensor | None = None
    text: str = ""
    reference: NDArray[np.uint8] | None = None


class StartError(ValueError):
    """A session cannot begin from this start: something that the generator needs is missing or has another shape."""


class StatePiece(NamedTuple):
    """One part of the snapshot, by its path there, such as `memory`: every leaf lies under exactly one.
    `horizon_ticks`: how far back it reaches; None without bound, 0 if it is only shown again and decides nothing."""

    name: str
    horizon_ticks: int | None


class DenoiseJob(Protocol):
    """The denoising of one tick. Reads the session's state, never writes it; worth nothing after the next commit."""

    @property
    def steps_done(self) -> int: ...

    @property
    def can_step(self) -> bool:
        """Fewer steps are done than were asked for at the start."""
        ...

    def step(self) -> None:
        """One denoise step. May only be called while `can_step`."""
        ...

    def finish(self) -> Tensor:
        """The latent as estimated after the steps done, at least one: `(rows, *latent)`. May be called after each step,
        and changes nothing."""
        ...


class Generator(Protocol[ConditionT]):
    """See the module's text for the order of calls. Rows are parallel sessions on the same tick; a played one has 1."""

    @property
    def spec(self) -> GeneratorSpec: ...

    @property
    def can(self) -> Capabilities[ConditionT]: ...

    @property
    def device(self) -> torch.device:
        """Where latents and memory are."""
        ...

    @property
    def last(self) -> Tensor:
        """The latent committed last, `(rows, *latent)`, to be decoded into the picture a session begins with. Another
        object after every change of the state, so that a tick that was begun before can be told to be stale."""
        ...

    def begin(self, seed: int, start: Start) -> None:
        """A new session. Raises StartError."""
        ...

    def condition(self, inputs: Inputs) -> ConditionT:
        """The inputs as the network wants them, on the device; the same for every row."""
        ...

    def start(self, condition: ConditionT, seed: int, steps: int) -> DenoiseJob:
        """A job of at most `steps` denoise steps for the coming tick."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """Frames `(rows * frames_per_tick, height, width, 3)` uint8 of a job's latent; a row's frames together, in the
        order in which they are shown."""
        ...

    def commit(self, latent: Tensor, condition: ConditionT) -> None:
        """The tick is over: its latent enters the memory, and the tick number grows. All of it happens, or nothing."""
        ...

    def skip(self) -> None:
        """The tick is over and its latent was of no use: only the tick number grows, so the next has other noise."""
        ...

    def snapshot(self) -> dict[str, object]:
        """All session state but the seed, as plain data: numbers, text, numpy arrays, lists and mappings by name. Later
        ticks do not change it."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot, of this generator or of another one of the same weights."""
        ...

    def checksum(self, crc: int = 0) -> int:
        """CRC-32 of the session state, continued from `crc`: everything that decides the future besides the inputs."""
        ...

    def inventory(self) -> list[StatePiece]:
        """What the snapshot consists of."""
        ...


# --- capabilities ---------------------------------------------------------------------------------------------------


class SeesLess(Protocol):
    """Can go on with less memory in view where the device has no room for all of it."""

    @property
    def window_seen(self) -> int:
        """How many ticks back is seen now."""
        ...

    @property
    def narrower(self) -> list[int]:
        """Windows to try when there is no room, in ticks, descending; empty where less in view takes no less room."""
        ...

    def see_less(self, ticks: int) -> None:
        """See no further back than so many ticks, from the next read on, until the next begin or restore. Modifies."""
        ...

    def seeing(self, ticks: int) -> AbstractContextManager[None]:
        """The same for the jobs started inside, and no longer."""
        ...


class DriftWatched(Protocol[ConditionT_contra]):
    """Shows a drift monitor the numbers that it watches."""

    @property
    def latent_dim(self) -> int: ...

    @property
    def window(self) -> int:
        """How many of the last ticks the memory can be written anew from."""
        ...

    def watched(self, condition: ConditionT_contra) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The latent committed last, `(latent_dim,)`, and the condition it was committed with, `(condition_dim,)`."""
        ...


class Mendable(Protocol):
    """Can have its memory written anew from other latents of the last ticks."""

    @property
    def spec(self) -> GeneratorSpec: ...

    @property
    def scene_code(self) -> SceneCode: ...

    def snapshot(self) -> dict[str, object]: ...

    def restore(self, snapshot: dict[str, Any]) -> None: ...

    def rewritten(
        self, snapshot: Mapping[str, Any], latents: Tensor, conditions: NDArray[np.float32]
    ) -> tuple[dict[str, object], NDArray[np.float32]]:
        """The snapshot as it would be had the last ticks been these: `latents` `(ticks, latent_dim)`, `conditions`
        `(ticks, condition_dim)`, at the positions that those ticks had; and the latents as they were committed. One
        commit each. Leaves the session as the snapshot has it."""
        ...


class Placeable(Protocol):
    """Can be moved, with its networks and its session, to another device."""

    def to(self, device: torch.device | str) -> None:
        """Modifies where things are, and no number that a device of the same kind would compute."""
        ...


@dataclass(frozen=True)
class Capabilities(Generic[ConditionT]):
    """What a generator can do beyond the contract: the object that can, which is mostly the generator itself, or None.

    `place`: be moved to another device. `see_less`: go on with less memory in view. `watch`: be watched for drift.
    `mend`: have its memory written anew against drift.
    """

    place: Placeable | None = None
    see_less: SeesLess | None = None
    watch: DriftWatched[ConditionT] | None = None
    mend: Mendable | None = None
