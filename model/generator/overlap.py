"""Work beside the tick: a commit on its own thread (on a GPU, its own stream), frames copied through pinned memory.

Commit and decode need only the finished latent and neither reads what the other writes, so they may run side by side
and give the same bits. It pays where the two are not fought over: torch lets go of the interpreter inside its kernels,
so many small ones on a few cores gain little. docs/prediction.md says what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class SideWork:
    """One piece of work at a time beside the caller's. `begin`, then `join` before anything reads what it writes."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._work: Future[None] | None = None
        self._stream: torch.cuda.Stream | None = None

    def begin(self, work: Callable[[], None], device: torch.device) -> None:
        """`work` may read everything that was computed on `device` up to now."""
        assert self._work is None, "side work begins once the piece before is joined"
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
        if device.type == "cuda":
            work = self._streamed(work, device)
        self._work = self._pool.submit(work)

    def join(self) -> None:
        """Wait for the work, if any; raises what it raised. A GPU is not waited for: the caller's stream is told to."""
        work, self._work = self._work, None
        if work is None:
            return
        work.result()
        if self._stream is not None:
            torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)

    def close(self) -> None:
        """End the thread; work under way is finished first, and what it raises comes out."""
        try:
            self.join()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    def _streamed(self, work: Callable[[], None], device: torch.device) -> Callable[[], None]:
        """The work on a stream that waits for what the caller's stream has been given so far.

        It also orders memory: a tensor made here and freed by the caller is not used again before the caller is done.
        """
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        stream, ready = self._stream, torch.cuda.Event()
        ready.record(torch.cuda.current_stream(device))

        def on_stream() -> None:
            with torch.cuda.stream(stream):
                stream.wait_event(ready)
                work()

        return on_stream


class HostCopy:
    """Brings arrays to the host: as they are from a CPU, through one pinned buffer from a CUDA device."""

    def __init__(self) -> None:
        self._pinned: Tensor | None = None

    def __call__(self, tensor: Tensor) -> NDArray[np.uint8]:
        """The values of a uint8 tensor; waits for this copy alone, not for the whole device."""
        if tensor.device.type != "cuda":
            return tensor.cpu().numpy()
        if self._pinned is None or self._pinned.shape != tensor.shape:
            self._pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._pinned.copy_(tensor, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(tensor.device))
        copied.synchronize()
        return self._pinned.numpy().copy()  # the buffer is written again by the next frame
