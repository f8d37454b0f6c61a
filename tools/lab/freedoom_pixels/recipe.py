"""The recipe of the freedoom world: one `nextframe train`, whole or in parts, the same on a CPU and on a GPU.

    python -m nextframe.tools.lab.freedoom_pixels.recipe --out my_worlds/freedoom --size small --budget 55m
    python -m nextframe.tools.lab.freedoom_pixels.recipe --out my_worlds/freedoom --size large --budget gpu-25m --part
    8m    (until whole)

The work is done by `nextframe.tools.train`. Every call goes on where the last one stopped. Exit code 0: the world is
whole; 3: the part is over, call again. Needs ViZDoom only until the data are made.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from ....runtime.core import NextframeError
from ...train.base.budget import parse_budget
from ...train.command import TrainOptions, run_train
from ...train.data.sources import SourceOptions
from .parts import MORE, SIZES, WORK, has_data
from .room import ROOM

ENV = "nextframe.tools.lab.freedoom_pixels.game:Freedoom-v0"
POLICY = "nextframe.tools.lab.freedoom_pixels.explorer:wander"
FIRING_POLICY = "nextframe.tools.lab.freedoom_pixels.explorer:wander_and_fire"
TICS_A_TICK = 2


@dataclass(frozen=True)
class Asked:
    """`size`: small, large or WIDTHxHEIGHT (of the small place); else by the budget's device. `scenario`: another
    place. `part`: a time such as `8m`, or nothing for all at once. `starts`: how many different places episodes begin.
    """

    out: Path
    budget: str = "55m"
    size: str | None = None
    scenario: str | None = None
    attack: bool = False
    part: str | None = None
    starts: int = 0
    threads: int | None = None
    workers: int | None = None
    device: str | None = None

    @property
    def place(self) -> tuple[str, str]:
        """The frame's size as WIDTHxHEIGHT, and the scenario."""
        usual = "large" if parse_budget(self.budget).device != "cpu" else "small"
        frame, scenario = SIZES.get(self.size or usual, (self.size or "", ROOM))
        return frame, self.scenario or scenario


def make(asked: Asked) -> int:
    """0 once the world is whole, `MORE` where the part ended before."""
    begun = (asked.out / WORK / "plan.json").is_file()
    if begun and not has_data(asked.out):
        (asked.out / WORK / "data.done").unlink(missing_ok=True)  # left behind: made again, bit for bit
    done = run_train(options_of(asked, resume=begun))
    return done if done or (asked.out / "world.yaml").is_file() else MORE


def options_of(asked: Asked, *, resume: bool) -> TrainOptions:
    frame, scenario = asked.place
    options: dict[str, str | bool] = {"scenario": scenario} | ({"attack": True} if asked.attack else {})
    source = SourceOptions(
        env=ENV, size=frame, repeat=TICS_A_TICK, env_seeds=asked.starts, env_options=options,
        policy=FIRING_POLICY if asked.attack else POLICY,
    )  # fmt: skip
    return TrainOptions(
        source, asked.out, asked.budget, asked.device, asked.threads, asked.workers, resume=resume, part=asked.part,
        command=words(asked),
    )  # fmt: skip


def words(asked: Asked) -> str:
    given = [f"--out {asked.out.name}", f"--budget {asked.budget}"]
    given += [f"--{name} {value}" for name in ("size", "scenario") if (value := getattr(asked, name))]
    given += ["--attack"] if asked.attack else []
    return f"python -m nextframe.tools.lab.freedoom_pixels.recipe {' '.join(given)}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.freedoom_pixels.recipe", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", default=Asked.budget)
    parser.add_argument("--size", help="small, large, or WIDTHxHEIGHT in pixels; by the budget's device if not given")
    parser.add_argument("--scenario", help="another place than the size's own")
    parser.add_argument("--attack", action="store_true", help="with a weapon, and an axis that fires it")
    parser.add_argument("--part", help="stop after this long, to go on by the same command")
    parser.add_argument("--starts", type=int, default=Asked.starts)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device")
    try:
        return make(Asked(**vars(parser.parse_args(arguments))))
    except NextframeError as error:
        print(f"freedoom: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
