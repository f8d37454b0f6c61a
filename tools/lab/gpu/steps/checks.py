"""Step `checks`: what must hold on a device before any number from it means anything.

Plain functions that raise, so that they run where pytest is not installed; `tests/tools/lab/test_gpu_device.py` runs
the same ones. With pytest, the project's other tests that are marked `gpu` are run as well.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from .....model.base import rng
from .. import sessions
from ..large.decoder import LargeDecoder
from ..large.generator import LargeGenerator, TickKind
from ..large.net import TINY, LargeNet
from ..precision import EightBitLinear
from ..queue import ROOT
from ..step import Context, SkippedError

MARK = re.compile(r"\bmark\.gpu\b")
TEST_FILE_S = 120.0
SHIPPED = ("circuit", "drive", "freedoom")


def noise_is_the_same_bytes(device: torch.device) -> None:
    for shape, seed, tick in (((1, 24), 7, 0), ((3, 5, 7), 2**40 + 1, 2**33), ((16, 60, 104), -1, 12345)):
        host, there = (rng.normal(shape, seed=seed, tick=tick, device=where) for where in ("cpu", device))
        assert torch.equal(host, there.cpu()), f"noise of {shape}, seed {seed}, tick {tick} differs on {device}"


def a_captured_tick_is_the_eager_one(device: torch.device) -> None:
    eager, captured = (sessions.play(sessions.generator(device, kind), 12) for kind in ("fixed", "graphs"))
    assert torch.equal(eager[0], captured[0]), "latents of a captured tick differ from those of an eager one"
    assert torch.equal(eager[1], captured[1]), "frames of a captured tick differ from those of an eager one"


def reading_all_of_memory_is_reading_what_is_seen(device: torch.device) -> None:
    gathered, fixed = (sessions.play(sessions.generator(device, kind), 3)[0] for kind in ("eager", "fixed"))
    assert (gathered - fixed).abs().max() < 1e-3, float((gathered - fixed).abs().max())


def a_session_moves_between_host_and_device(device: torch.device) -> None:
    there, host = sessions.generator(device), sessions.generator(torch.device("cpu"))
    sessions.play(there, 5)
    host.restore(there.snapshot())
    assert host.checksum() == there.checksum(), "a snapshot taken on the device is another one on the host"
    there.restore(host.snapshot())
    assert host.checksum() == there.checksum(), "a snapshot taken on the host is another one on the device"


def a_world_ticks_and_goes_back(device: torch.device) -> None:
    from .....model.base.checkpoint import load_tensors
    from .....runtime.core import Action, TickPlan
    from .....worlds.circuit.world import SEEDS
    from .....worlds.neural.world import NeuralWorld, SeedClips

    seeds = load_tensors(sessions.FOLDER / SEEDS)
    for kind in ("eager", "graphs"):
        clips = SeedClips(seeds["latents"], seeds["conditions"])
        world = NeuralWorld(sessions.info(), sessions.generator(device, kind), clips, {})
        world.warm_up()
        before, sums = world.snapshot(), []
        for _ in range(2):
            for steps in (1, 4, 2):
                world.advance(Action(axes={"steer": 127, "throttle": 127}), TickPlan(steps, 0)).commit()
            sums.append(world.checksum())
            world.restore(before)
        world.close()
        assert sums[0] == sums[1], f"{kind}: the same inputs from the same snapshot made other frames"


def every_shipped_world_plays(device: torch.device) -> None:
    """As on the host: of the pixels of each picture, fewer than one in 200 differ visibly."""
    for name in SHIPPED:
        host, there = (played(name, where) for where in (torch.device("cpu"), device))
        for tick, (a, b) in enumerate(zip(host, there, strict=True)):
            share = float(((a.int() - b.int()).abs().amax(-1) > 16).float().mean())
            assert share < 0.005, f"{name}, tick {tick}: {share:.4f} of the picture is another one on {device}"


@torch.inference_mode()
def played(name: str, device: torch.device) -> list[Tensor]:
    """Pictures of a shipped world on a device, brought to the host."""
    from .....model.generator.protocol import Inputs
    from .....model.generator.ticks import RollingGenerator

    world, folder = import_module(f"nextframe.worlds.{name}.world"), ROOT / "worlds" / name
    seeds = world.load_seeds(folder)
    generator = RollingGenerator(*world.load_networks(folder, str(device)))
    generator.prefill(seeds.latents[:1], seeds.conditions[:1])
    shown = [generator.decode(generator.last).cpu()]
    for tick in range(9):
        numbers = range(generator.config.condition_dim)
        condition = generator.condition(Inputs(tuple(0.8 * (k == tick % 3) for k in numbers)))
        job = generator.start(condition, seed=1, steps=(1, 2, 4)[tick % 3])
        while job.can_step:
            job.step()
        generator.commit(job.finish(), condition)
        shown.append(generator.decode(generator.last).cpu())
    return shown


def large_ways_to_remember_agree(device: torch.device) -> None:
    made = []
    for commit in ("pass", "merged"):
        torch.manual_seed(0)
        net, decoder = LargeNet(TINY).requires_grad_(False).to(device), LargeDecoder(TINY).requires_grad_(False)
        one = LargeGenerator(net, decoder.to(device), TickKind(2, commit), sessions.recorder_for(device))
        latents = []
        for number in range(14):
            one.start([0.1 * number] * TINY.action_dim)
            one.condition()
            for step in range(2):
                one.denoise(step)
            one.finish()
            one.decode()
            latents.append(one.drawn.cpu())
            one.commit()
        made.append(torch.stack(latents))
    assert (made[0] - made[1]).abs().max() < 1e-3, "a merged commit remembers other keys than a pass of its own"


def eight_bits_are_near(device: torch.device) -> None:
    torch.manual_seed(1)
    linear = torch.nn.Linear(256, 128).to(device, torch.bfloat16).requires_grad_(False)
    x = torch.randn(64, 256, device=device, dtype=torch.bfloat16)
    exact, rounded = linear(x).float(), EightBitLinear(linear)(x).float()
    share = float((exact - rounded).norm() / exact.norm())
    assert share < 0.06, f"products of eight-bit numbers are off by {share:.3f} of the result"


def attention_is_the_same_whatever_computes_it(device: torch.device) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    q, k, v = (torch.randn(1, 4, n, 64, device=device, dtype=torch.bfloat16) for n in (96, 224, 224))
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH):
        try:
            with sdpa_kernel(backend):
                got = F.scaled_dot_product_attention(q, k, v).float()
        except RuntimeError as reason:  # not built in, or not for these shapes
            print(f"{backend}: {str(reason).splitlines()[0]}")
            continue
        assert (got - expected).abs().max() < 0.03, f"{backend}: {float((got - expected).abs().max())}"


CHECKS: tuple[Callable[[torch.device], None], ...] = (
    noise_is_the_same_bytes, a_captured_tick_is_the_eager_one, reading_all_of_memory_is_reading_what_is_seen,
    a_session_moves_between_host_and_device, a_world_ticks_and_goes_back, every_shipped_world_plays,
    large_ways_to_remember_agree, eight_bits_are_near, attention_is_the_same_whatever_computes_it,
)  # fmt: skip


def run(context: Context) -> None:
    for check in CHECKS:

        def passed(check: Callable[[torch.device], None] = check) -> dict[str, Any]:
            check(context.device)
            return {"status": "passed"}

        context.attempt(check.__name__, passed)
    context.attempt("tests", lambda: marked_tests(context))


def marked_tests(context: Context) -> dict[str, Any]:
    """The outcome of each test file that has a test for GPUs."""
    if find_spec("pytest") is None:
        raise SkippedError("pytest is not installed: the checks above ran without it, the tests did not")
    if context.rehearse:
        raise SkippedError("a rehearsal has no GPU: the tests would all be skipped")
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARK.search(path.read_text())]
    found: dict[str, Any] = {}
    for path in files:
        seconds = min(TEST_FILE_S, context.left_s - 2)
        name = path.relative_to(ROOT).as_posix()
        found[name] = _outcome(name, seconds) if seconds > 5 else {"status": "skipped", "reason": "no time left"}
    return found


def _outcome(name: str, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "-W", "default", name]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "failed", "error": f"took more than {seconds:.0f} s"}
    last = (done.stdout.strip().splitlines() or [""])[-1]
    missing = re.search(r"ModuleNotFoundError: No module named '(\w+)'", done.stdout)
    if missing:  # of tests that need more of the project than a bare machine has
        return {"status": "skipped", "reason": f"{missing[1]} is not installed here"}
    if done.returncode in (0, 5):
        return {"status": "passed", "said": last}
    return {"status": "failed", "said": last, "output": done.stdout[-1500:]}
