"""What may go wrong inside a tick: a latent that is no number, a device that has no room. Told, not mended.

Both are noticed without slowing a good tick; what is done about them is the world's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CPU_ALLOCATOR = ("DefaultCPUAllocator", "not enough memory")
"""torch has no class for the CPU's allocator: it raises a plain RuntimeError with one of these in it."""


class FiniteCheck:
    """Whether a latent is all finite numbers. `ask`, and `answer` when it is needed: at once on a CPU.

    On a GPU the question is queued behind the latent and its answer copied to pinned memory, so that asking waits for
    nothing; answering waits for the latent alone, which copying its frame to the host waits for anyway.
    """

    def __init__(self) -> None:
        self._pinned: Tensor | None = None
        self._copied: torch.cuda.Event | None = None
        self._answer = True

    def ask(self, latent: Tensor) -> None:
        # A difference with itself is 0 unless the number is none; its sum cannot overflow as one of the numbers could.
        finite = (latent - latent).sum() == 0
        if latent.device.type != "cuda":
            self._copied, self._answer = None, bool(finite)
            return
        if self._pinned is None:
            self._pinned = torch.empty((), dtype=torch.bool, pin_memory=True)
        self._pinned.copy_(finite, non_blocking=True)
        self._copied = torch.cuda.Event()
        self._copied.record(torch.cuda.current_stream(latent.device))

    @property
    def is_known_bad(self) -> bool:
        """The latent asked about last is no number, and knowing it takes no waiting: never so on a GPU."""
        return self._copied is None and not self.answer()

    def answer(self) -> bool:
        """Of the latent asked about last. May be called again, and from another thread."""
        copied, pinned = self._copied, self._pinned
        if copied is None or pinned is None:
            return self._answer
        copied.synchronize()
        return bool(pinned)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator of a device or of the host raised it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_ALLOCATOR)


def lack_of_room(work: Callable[[], None], device: torch.device) -> str | None:
    """Do the work; None, or in one line what was said when there was no room for it.

    By then the failed work's tensors are free, which its traceback kept alive, and so is what torch kept for later.
    """
    try:
        work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0]
    else:
        return None
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return said
