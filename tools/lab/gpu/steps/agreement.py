"""Step `agreement`: the shipped circuit on this device against the same on the CPU, in float32, from equal inputs.

Bits differ, because sums are rounded in another order, and a world that feeds on its own frames carries each
difference on. So the first tick is held to a bound; how far the sessions are apart later is reported, and frames are
compared as pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .. import sessions
from ..step import Context

FIRST_LATENT_BOUND = 1e-3
FIRST_FRAME_BOUND_DB = 45.0


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 in products and convolutions; afterwards as it was."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def run(context: Context) -> None:
    ticks = 10 if context.rehearse else 100
    asked = [tick for tick in (1, 10, 100) if tick <= ticks]
    with full_float32():
        latents, frames = sessions.play(sessions.generator(torch.device("cpu")), ticks)
        for kind in ("eager", "fixed", "graphs"):

            def compared(kind: str = kind) -> dict[str, Any]:
                other, drawn = sessions.play(sessions.generator(context.device, kind), ticks)
                rows = {str(tick): _difference(latents, other, frames, drawn, tick) for tick in asked}
                first = rows["1"]
                met = first["latent"] < FIRST_LATENT_BOUND and first["frame_psnr_db"] > FIRST_FRAME_BOUND_DB
                return {"after_ticks": rows, "met": bool(met)}

            context.attempt(kind, compared)
    context.note(bounds={"latent": FIRST_LATENT_BOUND, "frame_psnr_db": FIRST_FRAME_BOUND_DB, "of_tick": 1})


def _difference(
    a: torch.Tensor, b: torch.Tensor, frames: torch.Tensor, drawn: torch.Tensor, tick: int
) -> dict[str, float]:
    """Largest difference of the latent, and of the frame as a picture (99 dB: the same bytes)."""
    apart = float((a[tick - 1] - b[tick - 1]).abs().max())
    return {"latent": apart, "frame_psnr_db": round(sessions.psnr_db(frames[tick - 1], drawn[tick - 1]), 2)}
