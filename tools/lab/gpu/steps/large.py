"""Step `large`: FPS, first frame, latency and arithmetic of a generator of Wan 1.3B's size, 480p, random weights.

A session is served as a player would have it: the input of a latent is read when the device is ready to begin with it,
never earlier; the four frames of that latent are the next thing shown; nothing is queued. So there is no latent between
an input and its picture, and FPS is what is left after that. Each variant says how the same tick is run.
"""

from __future__ import annotations

import gc
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from .....model.generator.graphs import NoGraphs
from .. import machine
from ..large.decoder import LargeDecoder
from ..large.generator import LargeGenerator, RunBlock, TickKind
from ..large.kernels import attention_rates, best_attention, preferring, product_rates
from ..large.net import TINY, LargeBlock, LargeConfig, LargeNet
from ..large.session import Session
from ..precision import has_eight_bit_product, in_eight_bits
from ..sessions import recorder_for
from ..step import Context, SkippedError

GOAL_FPS = 64.52
"""Published for a 1.3B model on four GPUs (StreamDiffusionV2, 2025)."""
EIGHT_BIT_LAYERS = ("qkv", "out", "cross_q", "cross_out", "up", "down")


@dataclass(frozen=True)
class Variant:
    """`compiled`: torch.compile's mode. `beside`: decode on a stream of its own while the next pass runs.
    `memory`: sink and window. `needs_s`: not begun with less than that left."""

    name: str
    kind: TickKind
    graphs: bool = True
    compiled: str | None = "default"
    eight_bits: bool = False
    beside: bool = False
    memory: tuple[int, int] | None = None
    needs_s: float = 12.0


TUNED = "max-autotune-no-cudagraphs"
VARIANTS = (
    Variant("2 steps, eager", TickKind(2), graphs=False, compiled=None),
    Variant("2 steps, graphs", TickKind(2), compiled=None),
    Variant("2 steps, compiled graphs", TickKind(2), needs_s=60),
    Variant("2 steps, merged commit", TickKind(2, "merged"), needs_s=25),
    Variant("2 steps, merged commit, decode beside", TickKind(2, "merged"), beside=True),
    Variant("1 step, merged commit", TickKind(1, "merged")),
    Variant("4 steps, merged commit", TickKind(4, "merged")),
    Variant("1 step", TickKind(1)),
    Variant("4 steps", TickKind(4)),
    Variant("2 steps, 8 bits, merged commit", TickKind(2, "merged"), eight_bits=True, needs_s=60),
    Variant("2 steps, 8 bits, merged commit, decode beside", TickKind(2, "merged"), eight_bits=True, beside=True),
    Variant("4 steps, 8 bits, merged commit", TickKind(4, "merged"), eight_bits=True),
    Variant("1 step, same level", TickKind(1, "same_level"), needs_s=25),
    Variant("2 steps, same level", TickKind(2, "same_level")),
    Variant("4 steps, same level", TickKind(4, "same_level")),
    Variant("2 steps, merged commit, 6 latents seen", TickKind(2, "merged"), memory=(3, 2), needs_s=40),
    Variant("2 steps, merged commit, tuned", TickKind(2, "merged"), compiled=TUNED, needs_s=120),
    Variant("2 steps, 8 bits, merged commit, tuned", TickKind(2, "merged"), True, TUNED, True, needs_s=120),
)
"""In the order of what would be missed most. All compiled but the first two."""


class Networks:
    """The network in bfloat16 and, once it is asked for, in eight bits; one decoder. Random weights, from a seed."""

    def __init__(self, config: LargeConfig, device: torch.device) -> None:
        began = time.monotonic()
        torch.manual_seed(0)
        with torch.device(device):
            self.net = LargeNet(config).requires_grad_(False).in_precision(torch.bfloat16)
            decoder = LargeDecoder(config).requires_grad_(False)
        self.decoder = decoder.to(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.created_s = time.monotonic() - began
        self._eight_bits: LargeNet | None = None

    def of(self, variant: Variant) -> LargeNet:
        net = self.net
        if variant.eight_bits:
            if self._eight_bits is None:
                self._eight_bits = deepcopy(self.net)
                in_eight_bits(self._eight_bits.blocks, EIGHT_BIT_LAYERS)
            net = self._eight_bits
        sink, window = variant.memory or (LargeConfig.sink, LargeConfig.window)
        net.config = replace(net.config, sink=sink, window=window)
        return net


def run(context: Context) -> None:
    config = TINY if context.rehearse else LargeConfig()
    torch.backends.cudnn.benchmark = context.device.type == "cuda"
    torch._dynamo.config.recompile_limit = 64  # each variant brings its own shapes
    networks = Networks(config, context.device)
    context.note(sizes=sizes(networks, config), created_s=round(networks.created_s, 2))
    context.attempt("first_frame", lambda: first_frame(networks))  # before anything has warmed the device
    rate = machine.matmul_tflops(context.device, 64 if context.rehearse else 8192, torch.bfloat16, 0.5)
    context.note(bf16_tflops=round(rate, 4))
    attention = context.attempt("attention", lambda: attention_rates(config, context.device))
    context.attempt("products", lambda: product_rates(config, context.device))
    with preferring(best_attention(attention)):
        for variant in VARIANTS:
            context.attempt(variant.name, partial(measured, variant, networks, context, rate))
            free(context.device)
    if not context.rehearse:
        context.note(goal=goal(context.results))


def sizes(networks: Networks, config: LargeConfig) -> dict[str, Any]:
    decoder = networks.decoder
    return {
        "network_parameters": sum(part.numel() for part in networks.net.parameters()),
        "decoder_parameters": decoder.parameters_count, "decoder_tflop_per_latent": round(decoder.flop() / 1e12, 4),
        "tokens_per_latent": config.tokens, "frames_per_latent": config.frames_per_latent,
        "height_px": config.height_px, "width_px": config.width_px,
        "latents_remembered": {"sink": config.sink, "window": config.window},
        "tflop_per_pass": round(config.pass_flop(1, 1 + config.remembered) / 1e12, 4),
    }  # fmt: skip


def free(device: torch.device) -> None:
    """What a variant held: captured launches keep memory of their own."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def first_frame(networks: Networks) -> dict[str, float]:
    """From an existing network to the first frame on the host: the first time ever, then of a second session."""
    found = {}
    one = LargeGenerator(networks.of(VARIANTS[0]), networks.decoder, TickKind(2), NoGraphs())
    for name in ("cold_ms", "warm_ms"):
        began = time.perf_counter()
        one.reset()
        Session(one, beside=False).tick(0)
        found[name] = round((time.perf_counter() - began) * 1e3, 2)
    return found


def measured(variant: Variant, networks: Networks, context: Context, rate: float) -> dict[str, Any]:
    """One variant: until it is warm, then as many latents as fit a few seconds."""
    if context.left_s < (0 if context.rehearse else variant.needs_s):
        raise SkippedError(f"needs {variant.needs_s:.0f} s, {context.left_s:.0f} s are left")
    if variant.eight_bits and not (context.rehearse or has_eight_bit_product(context.device)):
        raise SkippedError("this device has no product of eight-bit numbers with a scale per row")
    began = time.monotonic()
    net = networks.of(variant)
    recorder = recorder_for(context.device) if variant.graphs else NoGraphs()
    one = LargeGenerator(net, networks.decoder, variant.kind, recorder, run_block=block_runner(variant, context))
    session = Session(one, beside=variant.beside)
    warm = net.config.remembered + 4
    for number in range(warm):
        session.tick(number)
    ready_s = time.monotonic() - began
    found = session.serve(seconds=0.05 if context.rehearse else 3.0)
    flop = flop_per_latent(net.config, variant.kind)
    network_ms = found["network_ms"]
    found |= {
        "ready_s": round(ready_s, 2), "steps": variant.kind.steps, "commit": variant.kind.commit,
        "network_tflop_per_latent": round(flop / 1e12, 4),
        "network_tflops": round(flop / network_ms / 1e9, 4),
        "share_of_bf16_rate": round(flop / network_ms / 1e9 / rate, 4),
        "share_of_bf16_rate_whole_tick": round((flop + networks.decoder.flop()) / found["period_ms"] / 1e9 / rate, 4),
    }  # fmt: skip
    if context.device.type == "cuda":
        found["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(context.device) / 2**30, 2)
    return found


def flop_per_latent(config: LargeConfig, kind: TickKind) -> int:
    """Of the blocks: each denoise step, and the pass that commits."""
    full = config.remembered
    if kind.commit == "same_level":
        return kind.steps * config.pass_flop(1, full)
    return kind.steps * config.pass_flop(1, 1 + full) + config.pass_flop(1, full)


def block_runner(variant: Variant, context: Context) -> RunBlock:
    if variant.compiled is None:
        return LargeBlock.forward
    if context.rehearse:
        return torch.compile(LargeBlock.forward, backend="eager", fullgraph=True, dynamic=False)
    mode = None if variant.compiled == "default" else variant.compiled
    return torch.compile(LargeBlock.forward, fullgraph=True, dynamic=False, mode=mode)


def goal(results: dict[str, Any]) -> dict[str, Any]:
    """The fastest session, and the fastest that commits finished frames and takes at least two steps."""
    rows = {name: row for name, row in results.items() if isinstance(row, dict) and "fps" in row}
    if not rows:
        return {"fps": GOAL_FPS, "reached": False}
    fair = [name for name in rows if rows[name]["steps"] >= 2 and rows[name]["commit"] != "same_level"]
    best = max(fair or rows, key=lambda name: float(rows[name]["fps"]))
    return {
        "fps": GOAL_FPS, "best": best, "best_fps": rows[best]["fps"], "reached": rows[best]["fps"] >= GOAL_FPS,
        "fastest_of_all": max(rows, key=lambda name: float(rows[name]["fps"])),
    }  # fmt: skip
