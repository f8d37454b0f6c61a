"""Does a remedy help where a session drifts? The circuit, broken in several ways, with each remedy and without.

    python -m nextframe.tools.lab.soak.cases [--ticks 600 --seeds 8] [--json out/drift_cases.json] [--plot
    docs/long_sessions.svg]

Each session is steered by what it generates, with a new prompt now and then. Besides the monitor's own score, two
measures that it does not use: whether the car is on the road, and whether the picture's colours are those of real
pictures in this weather and at this hour.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from ....model.drift.actions import DriftPolicy, carry_out
from ....model.drift.bank import DriftBank, load_bank
from ....model.drift.monitor import DriftMonitor
from ....model.generator.ticks import RollingGenerator
from ....model.tokenizers.scenes.still import SlotTokenizer
from ....runtime.session.registry import find_world
from ....worlds.circuit.evaluation.dreams import one_ahead, real_bands
from ....worlds.circuit.evaluation.rig import Bench
from ....worlds.circuit.recipe.clips import Latents
from ....worlds.circuit.recipe.data import HELD_OUT_SEED, Driver, car_of, condition, drive
from ....worlds.circuit.teacher.render import Renderer
from ....worlds.circuit.teacher.simulator import TIMES, WEATHERS, Controls, Simulator, State
from ....worlds.recipe.drift_bank import BANK
from ....worlds.recipe.rollout import denoised
from .plot import draw_cases

REMEDIES = ("none", "renoise", "reanchor")
STEPS = 2
PAST_TICKS = 8
PROMPT_EVERY_TICKS = 150
DAMAGE_AT_TICK = 200
JUDGED_FROM_TICK = 200
COLOUR_EVERY_TICKS = 50
ROAD_PX = 24.0
"""From the middle of the road: the walls stand nearer, so no real car is farther out."""
OFF_THE_ROAD = (0.8125, 0.1875)
"""In a latent's units: on the grass, 51 px from the middle of the road, as far as the frame has it."""
FIRST_SEED = HELD_OUT_SEED + 700


class AsSampled(SlotTokenizer):
    """A tokenizer that lets memory have whatever the sampler made."""

    def canonical(self, latent: Tensor) -> Tensor:
        return latent


def perturb(generator: RollingGenerator, share: float, seed: int) -> None:
    """Noise on every weight, `share` of that tensor's own spread."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in generator.dynamics.parameters():
            weight.add_(torch.randn(weight.shape, generator=draw) * weight.std(unbiased=False) * share)


def sample_hotter(generator: RollingGenerator, temperature: float) -> None:
    generator.config = replace(generator.dynamics.config, temperature=temperature)


def stop_deciding(generator: RollingGenerator) -> None:
    old = generator.tokenizer
    generator.tokenizer = AsSampled(old.config).eval().requires_grad_(False)
    generator.tokenizer.load_state_dict(old.state_dict())


def damage_memory(generator: RollingGenerator, seed: int) -> None:
    """Noise as strong as the keys and values themselves, in all that is remembered."""
    draw = torch.Generator().manual_seed(seed)
    for stored in (generator.memory.keys, generator.memory.values):
        stored.add_(torch.randn(stored.shape, generator=draw) * stored.std())


def lose_the_road(generator: RollingGenerator, seed: int) -> None:
    """The player's car in the middle of the grass, standing, in all that is remembered: nothing that training shows."""
    latent = generator.last.clone()
    at = generator.dynamics.config.scene_dim
    latent[0, at : at + 5] = torch.tensor([*OFF_THE_ROAD, 1.0, 0.0, 1.0])
    given = torch.zeros(1, generator.config.condition_dim)
    given[0, [4, 4 + len(WEATHERS)]] = 1.0
    for _ in range(generator.config.window):
        generator.commit(latent, given)


def mash(controls: Controls, tick: int, seed: int) -> Controls:
    """Full lock either way, throttle, brakes and handbrake, anew every tick."""
    draw = np.random.Generator(np.random.Philox(key=[seed, tick]))
    steer, throttle, brake, slide = draw.random(4)
    return Controls(
        1.0 if steer < 0.5 else -1.0, float(throttle < 0.7), float(brake < 0.3), bool(slide < 0.3),
        controls.weather, controls.time,
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """`prepare` breaks the generator before the start, `strike` once in mid-session; `mashed`: who drives."""

    name: str
    prepare: Callable[[RollingGenerator, int], None] = lambda generator, seed: None
    strike: Callable[[RollingGenerator, int], None] = lambda generator, seed: None
    mashed: bool = False


CASES = (
    Case("as shipped"),
    Case("controls mashed", mashed=True),
    Case("memory damaged at 200", strike=damage_memory),
    Case("car put off the road at 200", strike=lose_the_road),
    Case("sampled at full temperature", prepare=lambda generator, seed: sample_hotter(generator, 1.0)),
    Case("sampled at three times that", prepare=lambda generator, seed: sample_hotter(generator, 3.0)),
    Case("weights off by 1 %", prepare=lambda generator, seed: perturb(generator, 0.01, seed)),
    Case("weights off by 3 %", prepare=lambda generator, seed: perturb(generator, 0.03, seed)),
    Case("weights off by 10 %", prepare=lambda generator, seed: perturb(generator, 0.10, seed)),
    Case("no canonical form at commit", prepare=lambda generator, seed: stop_deciding(generator)),
)


@dataclass(frozen=True)
class Run:
    """One session. `scores`: one per tick, not a number where nothing was judged. `alarmed`: share of ticks in alarm.
    `on_road`, `right_colours`: shares of what was looked at. All shares from tick `JUDGED_FROM_TICK` on.
    """

    case: str
    remedy: str
    seed: int
    actions: tuple[int, ...]
    alarmed: float
    on_road: float
    right_colours: float
    scores: tuple[float, ...]


class Rig:
    """What all sessions share."""

    def __init__(self, bank: DriftBank) -> None:
        self.bank = bank
        self.bench = Bench(Simulator(), Renderer(), find_world("circuit").path)
        self.latents = Latents(self.bench.generator(1).tokenizer)
        self.colours: dict[tuple[str, str], Any] = real_bands(self.bench)

    def session(self, case: Case, seed: int) -> Session:
        return Session(self, case, seed)


class Session:
    """A free run, the driver that steers it, and the bands it is judged by."""

    def __init__(self, rig: Rig, case: Case, seed: int) -> None:
        self.rig, self.case, self.seed = rig, case, seed
        self.generator = rig.bench.generator(1)
        case.prepare(self.generator, seed)
        start = drive(rig.bench.simulator, FIRST_SEED + seed, PAST_TICKS - 1, prompt_rate=0.0)
        self.generator.prefill(rig.latents.of(start.states)[None], torch.from_numpy(start.conditions)[None])
        self.state: State = start.states[-1]
        self.driver = Driver(rig.bench.simulator, FIRST_SEED + 9000 + seed, prompt_rate=0.0)
        self.monitor = DriftMonitor(rig.bank, remember_ticks=self.generator.config.window)

    def tick(self, tick: int) -> None:
        controls = self.driver.controls(self.state)
        if self.case.mashed:
            controls = mash(controls, tick, self.seed)
        if tick % PROMPT_EVERY_TICKS == 20:
            turn = tick // PROMPT_EVERY_TICKS + self.seed
            controls = replace(controls, weather=WEATHERS[turn % 4], time=TIMES[turn // 2 % 3])
        if tick == DAMAGE_AT_TICK:
            self.case.strike(self.generator, self.seed)
        given = torch.from_numpy(condition(controls, one_ahead(self.state, controls)))[None]
        self.generator.commit(denoised(self.generator, given, STEPS, seed=self.seed), given)
        last, before = self.generator.last[0], self.generator.before[0]
        shadow = self.rig.bench.simulator.step(self.state, controls)
        player, rival = (car_of(last, before, slot) for slot in (0, 1))
        self.state = replace(shadow, player=player or shadow.player, rival=rival or shadow.rival)
        self.monitor.observe(last.numpy(), given[0].numpy())

    def on_road(self) -> float:
        car, track = self.state.player, self.rig.bench.simulator.track
        return float(np.hypot(*(track.line - [car.x, car.y]).T).min() <= ROAD_PX)

    def right_colours(self) -> float:
        frame = self.generator.decode(self.generator.last)[0].numpy().astype(np.float64)
        low, high = self.rig.colours[self.state.weather_target, self.state.time_target]
        numbers = np.array([*frame.mean((0, 1)), frame.std()])
        return float(((numbers >= low) & (numbers <= high)).all())


def run(rig: Rig, case: Case, remedy: str, seed: int, ticks: int) -> Run:
    session, policy = rig.session(case, seed), DriftPolicy("log" if remedy == "none" else remedy)
    scores, actions, alarmed, on_road, colours = [], [], [], [], []
    for tick in range(ticks):
        session.tick(tick)
        report = session.monitor.report
        scores.append(min(report.score, 99.0) if report.judged else np.nan)
        if tick >= JUDGED_FROM_TICK:
            alarmed.append(report.drifting)
            on_road.append(session.on_road())
            if tick % COLOUR_EVERY_TICKS == 0:
                colours.append(session.right_colours())
        name = policy.due(report)
        if name is not None:
            carry_out(name, session.generator, session.monitor, seed)
            actions.append(tick)
    return Run(
        case.name, remedy, seed, tuple(actions),
        alarmed=float(np.mean(alarmed)), on_road=float(np.mean(on_road)), right_colours=float(np.mean(colours)),
        scores=tuple(round(score, 3) for score in scores),
    )  # fmt: skip


def run_case(rig: Rig, case: Case, seeds: int, ticks: int) -> list[Run]:
    """Every remedy on every seed. Where nothing sets off an alarm, a remedy would have run the same session again."""
    runs = []
    for seed in range(seeds):
        plain = run(rig, case, "none", seed, ticks)
        runs.append(plain)
        runs += [
            run(rig, case, remedy, seed, ticks) if plain.actions else replace(plain, remedy=remedy)
            for remedy in REMEDIES[1:]
        ]
    return runs


def rows_of(runs: list[Run]) -> list[list[str]]:
    """By case and remedy: sessions with an alarm, actions, ticks in alarm, median late score, road, colours."""
    rows = []
    for name in dict.fromkeys(run.case for run in runs):
        for remedy in REMEDIES:
            some = [run for run in runs if (run.case, run.remedy) == (name, remedy)]
            late = np.concatenate([run.scores[len(run.scores) // 2 :] for run in some])
            rows.append([
                name, remedy, f"{sum(bool(run.actions) for run in some)} of {len(some)}",
                f"{sum(len(run.actions) for run in some)}",
                f"{np.nanmedian(late):.2f}", f"{np.nanquantile(late, 0.9):.2f}",
                f"{100 * np.mean([run.on_road for run in some]):.1f}",
                f"{100 * np.mean([run.right_colours for run in some]):.0f}",
            ])  # fmt: skip
    return rows


COLUMNS = (
    "case", "remedy", "sessions alarmed", "actions", "median late score", "90 % late score", "on the road %",
    "right colours %",
)  # fmt: skip


def markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|" + "--:|" * (len(COLUMNS) - 2)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--ticks", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", type=Path, default=Path("out/drift_cases.json"))
    parser.add_argument("--plot", type=Path, default=Path("docs/long_sessions.svg"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rig = Rig(load_bank(find_world("circuit").path / BANK))
    runs: list[Run] = []
    with Progress() as progress:
        for case in progress.track(CASES, description="cases"):
            runs += run_case(rig, case, options.seeds, options.ticks)
            progress.console.print(markdown(rows_of(runs)[-len(REMEDIES) :]).split("\n", 2)[2], markup=False)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(run) for run in runs]).replace("NaN", "null"), encoding="utf-8")
    options.plot.write_text(draw_cases(runs, rig.bank.alarm_score), encoding="utf-8")
    table = Table(*COLUMNS)
    for row in rows_of(runs):
        table.add_row(*row)
    Console(width=150).print(table)
    print(markdown(rows_of(runs)))


if __name__ == "__main__":
    main()
