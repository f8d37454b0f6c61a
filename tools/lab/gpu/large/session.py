"""A served session of the large network: reads an input as late as can be, brings frames to the host, takes the times.

Serial: condition, denoise, decode, copy, commit, all on one stream; the next input is read when the device is done.
Beside: decode and copy run on a stream of their own while the commit, or the next tick, runs on the main one; the next
input is still read only when the main stream is done, so it is the same one latent from input to picture.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import torch

from ..timing import Marks, by_name, summary, wait
from .generator import LargeGenerator

MIN_LATENTS = 4


class Session:
    def __init__(self, one: LargeGenerator, *, beside: bool) -> None:
        self._one, self._device = one, one.device
        self._on_gpu = self._device.type == "cuda"
        self._side = torch.cuda.Stream(self._device) if beside and self._on_gpu else None
        self._decoded: Any = None
        self._host: torch.Tensor | None = None

    def tick(self, number: int) -> Marks:
        """One latent, from its input to its commit. The marks may be read once the device has been waited for."""
        one, marks = self._one, Marks(self._device)
        marks.mark("begin")
        one.start([((number * 7 + k) % 5) / 5 for k in range(one.config.action_dim)])
        one.condition()
        marks.mark("condition")
        for step in range(one.kind.steps):
            one.denoise(step)
        if self._decoded is not None:  # the frame before must be drawn before its latent is overwritten
            torch.cuda.current_stream(self._device).wait_event(self._decoded)
        one.finish()
        marks.mark("denoise")
        with self._beside():
            frames = one.decode()
            marks.mark("decode")
            self._to_host(frames)
            marks.mark("copy")
            self._note_decoded()
        if self._side is None:
            one.commit()
            marks.mark("commit")
        else:
            self._commit_alone(marks)
        self._wait_for_main()
        return marks

    def serve(self, seconds: float) -> dict[str, Any]:
        """Latents back to back for so long. FPS is frames over the whole time, by the host's clock."""
        wait(self._device)
        rows: list[Marks] = []
        began = time.perf_counter()
        while len(rows) < MIN_LATENTS or time.perf_counter() - began < seconds:
            rows.append(self.tick(len(rows)))
        wait(self._device)
        taken = time.perf_counter() - began
        spans = [marks.spans_ms() for marks in rows]
        frames = len(rows) * self._one.config.frames_per_latent
        assert self._host is not None
        # Beside, the time between marks of two streams is not that of either stage.
        network = [sum(row.get(name, 0.0) for name in ("condition", "denoise", "commit")) for row in spans]
        return {
            "fps": round(frames / taken, 3), "latents": len(rows), "period_ms": round(taken / len(rows) * 1e3, 3),
            "input_to_picture_ms": summary(marks.total_ms("copy") for marks in rows),
            "latents_between_input_and_picture": 0,
            "stage_ms": by_name(spans), "network_ms": round(summary(network)["p50"], 4),
            "finite": bool(torch.isfinite(self._one.drawn).all()),
            "picture_std": round(float(self._host.float().std()), 2),
        }  # fmt: skip

    def _commit_alone(self, marks: Marks) -> None:
        """The commit beside the decode: its own span, from its own first launch."""
        alone = Marks(self._device)
        alone.mark("begin")
        self._one.commit()
        alone.mark("commit")
        marks.join(alone)

    def _beside(self) -> Any:
        if self._side is None:
            return nullcontext()
        self._side.wait_stream(torch.cuda.current_stream(self._device))
        return torch.cuda.stream(self._side)

    def _to_host(self, frames: torch.Tensor) -> None:
        if self._host is None:
            self._host = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=self._on_gpu)
        self._host.copy_(frames, non_blocking=True)

    def _note_decoded(self) -> None:
        if self._side is not None:
            self._decoded = torch.cuda.Event()
            self._decoded.record(self._side)

    def _wait_for_main(self) -> None:
        if self._on_gpu:
            torch.cuda.current_stream(self._device).synchronize()
