"""A minute in a dream, written down as a script of keys. Drivers see where the newest latent has them, so a tour fits
the weights it was made in: make it again after training new ones."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from ...runtime.core import quantise_axis

TICKS = 1200
HOLD_TICKS = 3
"""A human changes keys no more often; it also keeps the script short."""
MOODS = {
    100: "rain", 220: "clear dusk", 340: "night", 470: "rainy night", 590: "snow day", 720: "fog", 830: "clear dusk",
    950: "snowy night", 1080: "clear day",
}  # fmt: skip
HEAD = """\
# A minute at the wheel, {{ticks}} ticks at 20 Hz: laps by a driver who watched the dream, through nine moods.
# Written by worlds/{world}/recipe/tour.py, which drove these weights from seed 0; new ones want to be driven anew.
version: 1
name: tour
length: {{ticks}}
timeline:
"""


def held(axes: Mapping[str, float]) -> tuple[dict[str, float], dict[str, int]]:
    """Axes as a script says them, to a tenth and without those at rest; and the same in levels, for an action."""
    said = {name: value for name, value in ((name, round(float(value), 1)) for name, value in axes.items()) if value}
    return said, {name: quantise_axis(value) for name, value in said.items()}


def as_script(driven: list[dict[str, float]], head: str, moods: Mapping[int, str] = MOODS) -> str:
    """The drive as YAML under `head`, equal ticks in a row as one entry, with the moods where they belong."""
    entries = [(tick, f'  - {{at: {tick}, prompt: "{mood}"}}') for tick, mood in moods.items() if tick < len(driven)]
    begin = 0
    for tick in range(1, len(driven) + 1):
        if tick < len(driven) and driven[tick] == driven[begin]:
            continue
        axes = ", ".join(f"{name}: {value:g}" for name, value in driven[begin].items())
        if axes:
            entries.append((begin, f"  - {{at: {begin}, axis: {{{axes}}}, for: {tick - begin}}}"))
        begin = tick
    return head.format(ticks=len(driven)) + "\n".join(line for _, line in sorted(entries)) + "\n"


def tour(world: str, purpose: str | None, script_of: Callable[[int, int], str]) -> None:
    """The command. `script_of(ticks, denoise_steps)`: the text to write."""
    parser = argparse.ArgumentParser(prog=f"python -m nextframe.worlds.{world}.recipe.tour", description=purpose)
    parser.add_argument("--to", type=Path, default=Path(f"worlds/{world}/scripts/tour.yaml"))
    parser.add_argument("--ticks", type=int, default=TICKS)
    parser.add_argument("--denoise-steps", type=int, default=4)
    options = parser.parse_args()
    text = script_of(options.ticks, options.denoise_steps)
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(text, encoding="utf-8")
    print(f"{options.to}: {len(text.splitlines())} lines")
