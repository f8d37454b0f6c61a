"""From clips to a world folder: tokenizer, straight line, dynamics, evaluation, export. The torch part of a run."""

from __future__ import annotations

import copy
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...model.dynamics.grid import GridConfig, GridDynamics
from ...model.generator.grid_generator import GridGenerator
from ...model.tokenizers.frames import FrameTokenizer
from ...runtime.display.stills import write_png
from .answers import answers, sheet
from .base.run import Run
from .base.show import film_strip, say
from .data.clips import Clips, Source
from .evaluate import evaluate, free_run, held_out_runs
from .export import Trained, as_shipped, export
from .learn import checkpoint
from .learn.frames import encode_all, learn_tokenizer, spared_s
from .learn.motion import Lessons, learn_motion, make_learner, seeds_of
from .learn.own_runs import Leash
from .learn.straight import FREE_TICKS, MAX_FIT_FRAMES, check_actions_matter, fit_straight, from_what, triples

SEED_CLIPS = 24
SEED_TICKS = 8
STRIP_TICKS = 28
ANSWER_TICKS = 24


def learn_world(run: Run, source: Source, train: Clips, held: Clips, story: dict[str, Any]) -> list[str]:
    """The summary of the run, one line each."""
    plan, device, work = run.plan, run.device, run.work
    tokenizer = learn_tokenizer(train, plan, work, device, part=run.part).to(device)
    plan = replace(plan, dynamics_s=plan.dynamics_s + spared_s(plan, work))
    latents, held_latents = encode_all(tokenizer, train), encode_all(tokenizer, held)
    frames = tokenizer.config
    config = GridConfig(
        frames.rows, frames.columns, frames.channels, source.controls.condition_dim, plan.width, plan.layers,
        plan.heads, plan.window,
    )  # fmt: skip
    if not (run.force or (work / "dynamics.checkpoint").is_file()):
        effect = check_actions_matter(latents, train, config.linear_shape)
        say(f"actions: in a straight line they explain {100 * effect:.1f} % of the change beyond chance")
    straight = fit_straight(
        config.linear_shape, triples(latents, train, MAX_FIT_FRAMES), triples(held_latents, held, 2000)
    )
    straight = from_what(straight, held_latents, held)
    say(f"straight line: {straight.error / straight.copy_error:.3f} of copy-last's error in the next frame, "
        f"{straight.free_ratio:.2f} of a held one's after {FREE_TICKS} free ticks; the network starts from "
        f"{straight.start}")  # fmt: skip
    config = GridConfig(**{**vars(config), "base": straight.start})
    learner = make_learner(config, straight, plan, device)
    watch = Watch(tokenizer, held, work / "strips")
    leash = Leash.if_long(plan, tokenizer, latents, train)
    speed = learn_motion(
        learner, Lessons.of(latents, train, plan.ticks, tokenizer), plan, work, watch=watch, part=run.part, let_go=leash
    )
    say(f"dynamics: {learner.step} steps, {speed.words()}")
    seen = learner.step * speed.frames_per_step
    per_s = seen / max(learner.spent_s, 1e-9)  # of the whole part, however often it was resumed
    story |= {
        "device": device, "threads": torch.get_num_threads(), "machine": platform.machine(),
        "torch": str(torch.__version__), "compiled": plan.compile, "dynamics_steps": learner.step,
        "dynamics_s": round(learner.spent_s), "frames_seen": seen, "frames_per_s": round(per_s, 1),
        "matrix_gflops": round(speed.matrix_flops / 1e9, 1),
        "share_of_matrix_rate": round(per_s * speed.flop_per_frame / speed.matrix_flops, 4),
        "straight_line_error_of_copy": round(straight.error / straight.copy_error, 4),
        "straight_line_free_error_of_held": round(straight.free_ratio, 4), "base": straight.start,
    }  # fmt: skip
    return _finish(run, source, tokenizer.cpu(), learner.average.cpu(), (train, latents, held, story))


class Watch:
    """A film strip of held-out free runs now and then, while training goes on."""

    def __init__(self, tokenizer: FrameTokenizer, held: Clips, folder: Path) -> None:
        self._tokenizer, self._held, self._folder = tokenizer, held, folder

    def __call__(self, average: GridDynamics, spent_s: float) -> str:
        context, device = average.config.window, next(average.parameters()).device
        runs = held_out_runs(self._tokenizer.cpu(), self._held, context + STRIP_TICKS, 3)
        generator = GridGenerator(self._tokenizer, copy.deepcopy(average).cpu(), rows=len(runs.frames))
        generated = free_run(generator, runs, context, 2)
        path = self._folder / f"strip-{int(spent_s):06d}.png"
        film_strip(path, runs.frames[:, context:].numpy(), generated.numpy())
        self._tokenizer.to(device)
        return f"strip {path.name}"


def _finish(
    run: Run, source: Source, tokenizer: FrameTokenizer, dynamics: GridDynamics, data: tuple[Clips, Any, Clips, dict]
) -> list[str]:
    train, latents, held, story = data
    tokenizer, dynamics = as_shipped(tokenizer).eval(), as_shipped(dynamics).eval()
    began_s = time.monotonic()
    figures, real, generated = evaluate(tokenizer, dynamics, held)
    start = held_out_runs(tokenizer, held, dynamics.config.window, 1)
    rows, answered, figures["answers"] = answers(
        lambda count: GridGenerator(tokenizer, dynamics, rows=count), source.controls, start, ticks=ANSWER_TICKS
    )
    story["evaluation_s"] = round(time.monotonic() - began_s)
    seeds = seeds_of(latents, train, SEED_TICKS, SEED_CLIPS)
    written = export(run.out, run.name, Trained(tokenizer, dynamics, seeds, source, figures, story))
    film_strip(run.out / "strip.png", real, generated)
    write_png(run.out / "answers.png", sheet(answered))
    say(f"answers.png: from one start, a row each: {', '.join(row.name for row in rows)}")
    checkpoint.write_json(run.work / "done.json", {"world": run.name})
    return [*summary(figures), *(str(path) for path in written)]


def summary(figures: dict[str, Any]) -> list[str]:
    """The figures that say whether it is a world: in lines."""
    loop, far = figures["open_loop"], figures["long_loop"] or {"right": {}}
    stays = ", ".join(f"{100 * share:.0f} % at {tick}" for tick, share in far["right"].items())

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:+.2f} dB"

    return [
        f"next frame: {shown(figures['gain_over_copy_last_db'])} over copy-last, "
        f"{shown(figures['gain_over_ridge_db'])} over the straight line, "
        f"{shown(figures['below_ceiling_db'])} below the tokenizer",
        f"actions: true ones {shown(figures['action_effect_db'])} better than another moment's "
        f"({shown(figures['action_effect_moving_db'])} on moving pixels)",
        f"free runs: above the start frame for {loop['ticks_above_copy_start']} of {loop['ticks_measured']} ticks; "
        f"edges left: {loop['edge_energy']}",
        *([f"free runs that still show the game's own frame, by tick: {stays}"] if stays else []),
    ]
