"""What the player asks of the session itself: pause, single tick, reset, quality lock, stop.

Requests and the reset generation are behind one lock, because the window thread asks and the generator thread obeys.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class ResetRequest:
    """A reset to carry out before the next tick. `seed` None keeps the seed of the session."""

    seed: int | None
    generation: int


class SessionControls:
    """Thread-safe requests from the player to the loop.

    A reset is one number. `generation` rises the moment a reset is asked for; `applied_generation` follows when the
    loop has carried it out. A frame is made under the applied one and shown only if that is the newest one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paused = False
        self._single_ticks = 0
        self._stopping = False
        self._locked_quality: int | None = None
        self._reset: ResetRequest | None = None
        self._generation = 0
        self._applied_generation = 0

    @property
    def paused(self) -> bool:
        with self._lock:
            return self._paused

    @property
    def stopping(self) -> bool:
        with self._lock:
            return self._stopping

    @property
    def locked_quality(self) -> int | None:
        """The denoise steps the player insists on, None when the governor is free."""
        with self._lock:
            return self._locked_quality

    @property
    def generation(self) -> int:
        with self._lock:
            return self._generation

    @property
    def applied_generation(self) -> int:
        with self._lock:
            return self._applied_generation

    def toggle_pause(self) -> None:
        with self._lock:
            self._paused = not self._paused
            self._single_ticks = 0

    def request_single_tick(self) -> None:
        """Pause if playing; then run one more tick."""
        with self._lock:
            self._paused = True
            self._single_ticks += 1

    def request_reset(self, seed: int | None = None) -> None:
        """Start the world anew before the next tick, also while paused; frames made before are stale from now on."""
        with self._lock:
            self._generation += 1
            self._reset = ResetRequest(seed, self._generation)

    def lock_quality(self, rung: int | None) -> None:
        """Hold a rung, given as its number of denoise steps; None lets the governor choose again."""
        with self._lock:
            self._locked_quality = rung

    def request_stop(self) -> None:
        """End the session after the tick that is running."""
        with self._lock:
            self._stopping = True

    def take_tick(self) -> bool:
        """Asked by the loop once a slot: may a tick run? Uses up a single tick; a waiting reset may always run."""
        with self._lock:
            if not self._paused or self._reset is not None:
                return True
            if self._single_ticks == 0:
                return False
            self._single_ticks -= 1
            return True

    def take_reset(self) -> ResetRequest | None:
        """The reset to carry out before this tick, given once; frames made from now on belong to its generation."""
        with self._lock:
            request, self._reset = self._reset, None
            if request is not None:
                self._applied_generation = request.generation
            return request

    def note_reset(self) -> None:
        """The loop carries out a reset that came from the controller (a script or a replay)."""
        with self._lock:
            self._generation += 1
            self._applied_generation = self._generation
