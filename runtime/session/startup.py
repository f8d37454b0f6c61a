"""From a world's name to a world that is ready to tick, with the time each phase took.

Cheap failures come first, and torch is imported only for worlds with weights. Fixes the number of threads the network
gets, and says what reports and recordings say of the machine.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..core import Clock, ConfigError, NextframeError, WeightsError, World, WorldInfo
from .parts.device import device_environment
from .parts.drift import OFF, REMEDIES, bank_sha256, watch
from .registry import WorldFolder, find_world, load_world

if TYPE_CHECKING:
    from ...model.drift.monitor import DriftMonitor
    from .parts.stages import StageChoice

OLDEST_START_S = 60
"""A process that claims to be older than this when it begins has a clock that cannot be trusted."""
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pt2", ".bin")


class StartUp:
    """The phases from process start to first frame, in ms; `mark` ends one."""

    def __init__(self, started_ns: int | None = None) -> None:
        self.started_ns = time.monotonic_ns() if started_ns is None else started_ns
        self._last_ns = self.started_ns
        self._phases: dict[str, float] = {}

    def mark(self, phase: str) -> None:
        """The phase ends now; a second mark of the same phase is ignored."""
        now_ns = time.monotonic_ns()
        if phase not in self._phases:
            self._phases[phase] = (now_ns - self._last_ns) / 1e6
            self._last_ns = now_ns

    def restart_phase(self) -> None:
        """What passed since the last mark belongs to no phase."""
        self._last_ns = time.monotonic_ns()

    def first_frame(self) -> None:
        """The first frame has been presented."""
        if "total" not in self._phases:
            self.mark("first_frame")
            self._phases["total"] = (self._last_ns - self.started_ns) / 1e6

    @property
    def ttff_ms(self) -> dict[str, float]:
        return dict(self._phases)


def process_start_ns() -> int:
    """When this process began, on the monotonic clock: the interpreter's own start belongs to the wait of a player.

    Linux says it in hundredths of a second; elsewhere it is the time of this call.
    """
    now_ns = time.monotonic_ns()
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        started_ns = int(fields[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - started_ns
    except (OSError, ValueError, IndexError, AttributeError):
        return now_ns
    return now_ns - age_ns if 0 <= age_ns < OLDEST_START_S * 1_000_000_000 else now_ns


@dataclass(frozen=True)
class OpenWorld:
    """A world that is loaded, reset and warm. `environment` goes into reports and recordings.

    `drift`: what is done about drift, a choice of `nextframe.runtime.session.parts.drift`; `monitor`: what watches for
    it, if anything.
    """

    found: WorldFolder
    world: World
    environment: Mapping[str, str | int] = field(default_factory=dict)
    drift: str = OFF
    monitor: DriftMonitor | None = None

    @property
    def info(self) -> WorldInfo:
        return self.world.info


def check_folder(name: str, *, side_by_side: bool = False) -> WorldFolder:
    """Everything that can be wrong with a world and be seen without loading it."""
    found = find_world(name)
    if side_by_side and found.kind.teacher is None:
        raise ConfigError(f"--side-by-side: expected a world with a simulator to compare with, {found.name} has none")
    for weights in found.spec.weights:
        path = found.path / weights
        if PurePosixPath(weights).suffix in PICKLES:
            raise WeightsError(f"{path}: expected a .safetensors file; pickles can run any code and are refused")
        if not path.is_file():
            raise WeightsError(f"{path}: expected weights here, no such file; see the world's model card")
    return found


def open_world(
    found: WorldFolder,
    startup: StartUp,
    *,
    clock: Clock,
    seed: int = 0,
    side_by_side: bool = False,
    threads: int | None = None,
    warm: bool = True,
    drift: str = OFF,
    stages: StageChoice | None = None,
    device: str = "cpu",
) -> OpenWorld:
    """Load, reset and warm a world. `threads`: of the network, what suits the machine when not given.

    `drift`: as `nextframe.runtime.session.parts.drift.drift_choice` gives it. A remedy makes the monitor a part of the
    state, so it stands in the environment: a playback needs it too. `stages`: over several processes, which changes no
    number and so stands in no environment. `device`: as `nextframe.runtime.session.parts.device.device_choice` gives
    it. `warm=False` leaves that to the thread that will tick: a network's helper threads belong to the one that calls
    it.
    """
    environment: dict[str, str | int] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        **device_environment(device),
    }
    if found.spec.weights:
        environment.update(prepare_torch(threads))
    elif found.python is not None and "torch" in sys.modules:  # the user's own: their threads are left as they are
        environment.update(prepare_torch(threads or sys.modules["torch"].get_num_threads()))
    if side_by_side:
        environment["side_by_side"] = 1
    startup.mark("import")
    if stages is None:
        world = load_world(found, clock, side_by_side=side_by_side, device=device)
        watched = world
    else:
        from .parts.stages import load_staged

        world = staged = load_staged(found, stages, clock)
        watched = staged.inner
    monitor = None if drift == OFF else watch(watched, found, drift)
    if drift in REMEDIES:
        environment |= {"drift": drift, "drift_bank": bank_sha256(found)}
    world.reset(seed)
    startup.mark("load")
    if warm:
        world.warm_up()
        startup.mark("warmup")
    return OpenWorld(found, world, environment, drift, monitor)


def prepare_torch(threads: int | None = None) -> dict[str, str | int]:
    """Import torch and fix its threads; the result of a sum depends on them, so they are recorded.

    Threads that wait for each other sleep rather than spin: the window, the encoder and other programs want the same
    cores, and on a busy two-core machine spinning made ticks forty times slower. Read by OpenMP as torch loads.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from ...model.base import rng
    from ...model.base.devices import instruction_set

    torch.set_num_threads(threads or default_threads())
    return {
        "torch": str(torch.__version__), "threads": torch.get_num_threads(), "compile": "off", "rng": rng.NAME,
        "instructions": instruction_set(),
    }  # fmt: skip


def prefer_x11_without_a_session() -> None:
    """Where there is no desktop session at all, looking for Wayland only makes its library complain on stderr."""
    if sys.platform == "linux" and not os.environ.get("XDG_RUNTIME_DIR") and not os.environ.get("WAYLAND_DISPLAY"):
        os.environ.setdefault("SDL_VIDEODRIVER", "x11")


def default_threads() -> int:
    """One. A tick of the shipped world is hundreds of tiny operations: one thread finishes them in 2 ms a step where
    two that sleep while waiting took 8 and two that spin 2.6; the other cores stay free for window and encoder."""
    return 1


def physical_cores() -> int:
    """From /proc/cpuinfo where there is one; else half of what the system counts."""
    cores: set[tuple[str, str]] = set()
    package = ""
    for key, value in _cpuinfo():
        if key == "physical id":
            package = value
        elif key == "core id":
            cores.add((package, value))
    return len(cores) or max(1, (os.cpu_count() or 2) // 2)


def cpu_name() -> str:
    return next((value for key, value in _cpuinfo() if key == "model name"), platform.processor() or platform.machine())


def _cpuinfo() -> Iterator[tuple[str, str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


@contextmanager
def patience(message: str) -> Iterator[None]:
    """A spinner on the terminal while something takes seconds; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(message):
        yield


def checked_prompt(text: str, found: WorldFolder) -> str:
    """`--prompt` that this world understands, as it is to be said to the world and recorded."""
    from ...worlds.prompts.sentences import SentenceReader

    groups = found.spec.action_space().prompts
    if not groups:
        raise NextframeError(f"--prompt: {found.name} has no prompts")
    reader = SentenceReader(groups, found.synonyms)
    reading = reader.read(text)
    if not reading.chosen:
        words = ", ".join(word for group in groups.values() for word in group)
        why = f" ({reader.lack})" if reader.lack else ""
        if reading.refused:
            why = f" but what is not wanted ({', '.join(reading.refused)})"
        raise NextframeError(f"--prompt {text!r}: no word of it means anything in {found.name}{why}; it knows {words}")
    return reading.said
