"""Write a trained world as a folder that plays: weights, `world.yaml`, keys, figures and a model card.

`world.yaml` is written last, so a folder that has one is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from ...model.dynamics.grid import GridDynamics
from ...model.tokenizers.frames import FrameTokenizer
from ...worlds.neural.pixels import DYNAMICS, SEEDS, TOKENIZER
from .data.clips import Source
from .data.controls import keys_of
from .learn.checkpoint import write_json

MAX_FILE_BYTES = 15 << 20


@dataclass(frozen=True)
class Trained:
    """Everything a world folder is made of. `figures`: from `nextframe.tools.train.evaluate`. `story`: facts for the
    card."""

    tokenizer: FrameTokenizer
    dynamics: GridDynamics
    seeds: tuple[Tensor, Tensor]
    source: Source
    figures: Mapping[str, Any]
    story: Mapping[str, Any]


def export(folder: Path, name: str, trained: Trained) -> list[Path]:
    """What was written. Floats are stored as float16, but for the seeds and what is tiny."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "world.yaml").unlink(missing_ok=True)
    for old in folder.glob("*.safetensors"):
        old.unlink()
    written = save_parts(folder, TOKENIZER, small(trained.tokenizer.state_dict()))
    written += save_parts(folder, DYNAMICS, small(trained.dynamics.state_dict()))
    latents, conditions = trained.seeds
    written += save_parts(folder, SEEDS, {"latents": latents.half(), "conditions": conditions})
    weights = [path.name for path in written]
    figures = {"schema": "nextframe.eval/1", "world": name, "kind": "pixels", **trained.figures, **trained.story}
    written.append(write_json(folder / "eval.json", figures))
    written.append(_write(folder / "MODEL_CARD.md", card(name, trained, weights, folder)))
    keys = keys_of(trained.source.controls)
    if keys:
        bindings = [{"action": a, "control": f"key:{k}", "scale": s} for a, k, s in keys]
        head = "# Keys for this world's controls; merged over the usual ones.\n"
        written.append(_write(folder / "bindings.yaml", head + _yaml({"version": 1, "bindings": bindings})))
    written.append(_write(folder / "world.yaml", world_text(name, trained, weights)))
    return written


def small(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Large tensors as float16, to keep the files small."""
    return {
        name: (t.half() if t.is_floating_point() and t.numel() >= 1024 else t).cpu().contiguous()
        for name, t in tensors.items()
    }


def save_parts(folder: Path, stem: str, tensors: dict[str, Tensor]) -> list[Path]:
    """One file, or as many as it takes to keep each below 15 MiB."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > MAX_FILE_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    names = [f"{stem}.safetensors"] if len(parts) == 1 else [f"{stem}-{i + 1}.safetensors" for i in range(len(parts))]
    for file, part in zip(names, parts, strict=True):
        save_file(part, folder / f"{file}.part")
        os.replace(folder / f"{file}.part", folder / file)
    return [folder / file for file in names]


def world_text(name: str, trained: Trained, weights: list[str]) -> str:
    frames, grid, controls = trained.tokenizer.config, trained.dynamics.config, trained.source.controls
    hz = trained.source.tick_hz
    actions: dict[str, Any] = {}
    for kind in ("axes", "buttons"):
        if names := getattr(controls.space, kind):
            actions[kind] = {n: controls.descriptions.get(n, "") for n in names}
    if controls.space.prompts:
        actions["prompts"] = {group: list(words) for group, words in controls.space.prompts.items()}
    document: dict[str, Any] = {
        "name": name,
        "title": name.replace("_", " "),
        "description": f"Made by a network trained on {trained.source.origin}.",
        "kind": "pixels",
        "width_px": frames.width_px, "height_px": frames.height_px,
        "tick_hz": int(hz) if hz == int(hz) else str(Fraction(hz)),
        "ladder": list(grid.ladder),
        "actions": actions,
        "weights": weights,
        "parameters": {
            "base": grid.base,
            "sizes": {
                "patch_px": frames.patch_px, "channels": frames.channels, "refine_width": frames.refine_width,
                "refine_blocks": frames.refine_blocks, "width": grid.width, "layers": grid.layers,
                "heads": grid.heads, "window": grid.window, **({"tiles": frames.tiles} if frames.tiles else {}),
            },
            "exclusive": [list(group) for group in controls.exclusive],
        },
    }  # fmt: skip
    return "# Written by `nextframe train`; see MODEL_CARD.md.\n" + _yaml(document)


def card(name: str, trained: Trained, weights: list[str], folder: Path) -> str:
    figures, story, source = trained.figures, trained.story, trained.source
    frames, grid = trained.tokenizer.config, trained.dynamics.config
    parameters = sum(p.numel() for p in trained.dynamics.parameters()) / 1e6
    rows = "\n".join(
        f"| {row} | {_shown(v['psnr_db'])} | {_shown(v['moving_psnr_db'])} | {_shown(v.get('ssim'))} |"
        for row, v in figures["next_frame"].items()
    )
    loop = figures["open_loop"]
    steps = list(loop["psnr_db"])
    lines = [
        ("free ticks", steps), ("this world, dB", [f"{loop['psnr_db'][t]:.2f}" for t in steps]),
        ("start frame held, dB", [f"{loop['copy_start_psnr_db'][t]:.2f}" for t in steps]),
        ("edges left of the real ones", [f"{loop['edge_energy'][t]:.2f}" for t in steps]),
    ]  # fmt: skip
    (head, *rest) = [f"| {title} | {' | '.join(cells)} |" for title, cells in lines]
    table = "\n".join([head, "|---" * (len(steps) + 1) + "|", *rest])
    files = "\n".join(f"| `{n}` | {(folder / n).stat().st_size / 2**20:.2f} MiB |" for n in weights)
    size = f"{frames.patch_px}x{frames.patch_px}"
    tokenizer = (
        f"PCA of {size} patches, {frames.channels} numbers each, {frames.tokens} tokens a\nframe, with a convolutional "
        "refiner"
    )
    if frames.tiles:
        tokenizer = (
            f"{frames.tokens} tokens a frame, each the code of one of {frames.tiles} tiles of {size} px,\n"
            f"{frames.channels} numbers long"
        )
    return f"""# Model card: {name}

{frames.width_px}x{frames.height_px} pixels, {source.tick_hz} ticks a second, trained on {source.origin}.

## How it was made

    {story["command"]}

{json.dumps({k: v for k, v in story.items() if k != "command"}, indent=2)}

Tokenizer: {tokenizer}. Dynamics: block-causal transformer, {parameters:.2f} M parameters, width
{grid.width}, {grid.layers} layers, {grid.window} remembered frames; it predicts what is to be added to
{"a ridge regression" if grid.base == "ridge" else "the last frame"}.

| file | size |
|---|---|
{files}

## Measured, on held-out episodes

Next frame, pooled PSNR in dB and mean SSIM:

| | all pixels | moving pixels | SSIM |
|---|---|---|---|
{rows}

True actions against another moment's, on frames where they differ: {_shown(figures["action_effect_db"])} dB
({_shown(figures["action_effect_moving_db"])} dB on moving pixels).

{table}

Better than holding the start frame for {loop["ticks_above_copy_start"]} of {loop["ticks_measured"]} ticks. Beyond the
first ticks a free run may differ from the recorded future without being worse: read the film strip beside the numbers.

{_answers(figures.get("answers", {}))}

## Licence

{source.licence}
"""


def _answers(answers: dict[str, dict[str, float]]) -> str:
    """How far each control, held from the same start, leads from idling."""
    if not answers:
        return "Whether it answers its controls was not measured."
    ticks = list(next(iter(answers.values())))
    head = f"| held from one start, share of pixels unlike idling after ticks | {' | '.join(ticks)} |"
    rows = [f"| {name} | {' | '.join(f'{100 * found[t]:.1f} %' for t in ticks)} |" for name, found in answers.items()]
    return "\n".join([head, "|---" * (len(ticks) + 1) + "|", *rows])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _yaml(document: Any) -> str:
    return str(yaml.safe_dump(document, sort_keys=False, width=110, default_flow_style=None))


def _write(path: Path, text: str) -> Path:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return path


def as_shipped(module: Any) -> Any:
    """The network as it will be read back: what is evaluated is what plays, float16 rounding included."""
    with torch.no_grad():
        module.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in
                                small(module.state_dict()).items()})  # fmt: skip
    return module
