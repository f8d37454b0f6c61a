"""The published case: 1.3B and 14B models on four H100s, predicted and set beside what was published.

    python -m nextframe.tools.lab.plan.article

Fits one number, the utilisation, on one published rate and predicts the others with it; then the other way round.
Published: StreamDiffusionV2, arXiv 2511.07399. The two rates of the headline are the abstract's; those at 832x480 and
with more denoise steps are quoted from its text by others, and the conditions of the headline (512x512, one denoise
step) are read out of those. The layout is theirs: encode on the first device, decode on the last, layers between.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from ...plan.hardware import CHIPS, LINKS, Device, parse_devices
from ...plan.layout import balanced
from ...plan.planner import answer
from ...plan.predict import Goal, Plan, Request, predicted
from ...plan.profile import Profile
from ...plan.wan import SQUARE_PX, WIDE_PX, wan_profile
from ...plan.words import kind

HEADLINE_SMALL_FPS, HEADLINE_LARGE_FPS = 64.52, 58.28
DEVICES = 4
FIRST_LATENTS, FIRST_PICTURES = 2, 5
"""Their first chunk: five pictures become two latents."""


@dataclass(frozen=True)
class Published:
    model: str
    picture_px: tuple[int, int]
    denoise_steps: int
    fps: float
    chip: str = "h100"

    @property
    def title(self) -> str:
        steps = "1 step" if self.denoise_steps == 1 else f"{self.denoise_steps} steps"
        return f"{self.model}, {self.picture_px[1]}x{self.picture_px[0]}, {steps}, {DEVICES} x {self.chip}"


RATES = (
    Published("wan-1.3b", SQUARE_PX, 1, HEADLINE_SMALL_FPS),
    Published("wan-14b", SQUARE_PX, 1, HEADLINE_LARGE_FPS),
    Published("wan-1.3b", WIDE_PX, 1, 42.26),
    Published("wan-14b", WIDE_PX, 1, 39.24),
    Published("wan-1.3b", SQUARE_PX, 4, 60.0),
    Published("wan-1.3b", WIDE_PX, 4, 40.0),
    Published("wan-1.3b", SQUARE_PX, 1, 24.0, "rtx4090"),
    Published("wan-1.3b", WIDE_PX, 1, 16.0, "rtx4090"),
)
FIRST_PICTURES_S = ((16.0, 0.47), (30.0, 0.37))
"""Source rate and published time to the first frame, one H100."""


def their_layout(profile: Profile, chip: str = "h100", devices: int = DEVICES) -> Plan:
    """Stream-batch over all devices, decode on the last."""
    device = parse_devices(chip, profile)
    link = LINKS["nvlink" if chip == "h100" else "pcie"]
    layout = balanced(profile, "stream-batch", device * devices, False, 1)
    return predicted(Request(profile, device * devices, link, lossy=True), (layout,))


def rate(case: Published, utilisation: float) -> float:
    profile = wan_profile(case.model, case.picture_px, denoise_steps=case.denoise_steps, utilisation=utilisation)
    return their_layout(profile, case.chip).fps_total


def fitted_utilisation(case: Published) -> float:
    """The share of the peak rate that predicts this figure exactly; by halving, as one grows with the other."""
    return _solve(lambda utilisation: rate(case, utilisation), case.fps, 0.01, 1.0)


def _solve(growing: Callable[[float], float], goal: float, low: float, high: float) -> float:
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if growing(middle) < goal else (low, middle)
    return (low + high) / 2


def first_picture_s(source_hz: float, utilisation: float) -> float:
    """1.3B at 512x512 on one H100: waiting for the first chunk's pictures, then encode, denoise and decode of two
    latents in one go. Start-up, network and the text encoder are not in it."""
    profile = wan_profile("wan-1.3b", utilisation=utilisation)
    costs = profile.costs
    pictures = FIRST_PICTURES / profile.frames_per_latent
    work_ms = pictures * (costs.encode.ms(1) + costs.decode.ms(1)) + profile.layers * costs.layer.ms(FIRST_LATENTS)
    return (FIRST_PICTURES - 1) / source_hz + work_ms / 1e3


def lossless_plan(model: str, sessions: int) -> tuple[Plan, Plan]:
    """The best rate without staleness on the same four devices, and the published layout for comparison."""
    profile = wan_profile(model)
    devices = (Device("h100", profile.device_memory_bytes),) * DEVICES
    request = Request(profile, devices, LINKS["nvlink"], sessions=sessions, goal=Goal.THROUGHPUT)
    return answer(request).recommended, their_layout(profile)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    small, large = (fitted_utilisation(case) for case in RATES[:2])
    peak = CHIPS["h100"].bf16_tflops
    print(f"utilisation of {peak:g} TFLOP/s: {small:.4f} fitted on the 1.3B headline, {large:.4f} on the 14B one\n")
    print("| Case | Published FPS | Fitted on 1.3B | Fitted on 14B |\n|---|---|---|---|")
    for case in RATES:
        cells = [f"{fps:.1f} ({100 * (fps / case.fps - 1):+.0f} %)" for fps in (rate(case, small), rate(case, large))]
        print(f"| {case.title} | {case.fps:g} | {cells[0]} | {cells[1]} |")
    print("\n| Time to first picture, 1.3B, 512x512, one H100 | Published s | Predicted s |\n|---|---|---|")
    for source_hz, published_s in FIRST_PICTURES_S:
        seconds = first_picture_s(source_hz, small)
        off = 100 * (seconds / published_s - 1)
        print(f"| source at {source_hz:g} Hz | {published_s} | {seconds:.2f} ({off:+.0f} %) |")
    print("\n| Four H100s, 512x512, 1 step | FPS all | FPS each | Latency ms | Late by |\n|---|---|---|---|---|")
    for model in ("wan-1.3b", "wan-14b"):
        for sessions in (1, 4, 16):
            ours, theirs = lossless_plan(model, sessions)
            if sessions == 1:
                print(_line(f"{model}, their layout, 1 session", theirs))
            print(_line(f"{model}, lossless, {sessions} sessions: {ours.shape.mode}, {kind(ours)}", ours))


def _line(title: str, plan: Plan) -> str:
    late = f"{plan.lag_latents} latents" if plan.lag_latents else "0"
    return f"| {title} | {plan.fps_total:.1f} | {plan.fps_session:.1f} | {plan.latency_ms:.0f} | {late} |"


if __name__ == "__main__":
    main()
