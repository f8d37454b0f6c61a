"""Step `freedoom`: one part of training the freedoom world, again until it is whole.

    bash tools/lab/gpu/run.sh --minutes 9 --steps freedoom      three or four times on the same machine

The recipe is `nextframe.tools.lab.freedoom_pixels.recipe`'s, the one that was rehearsed on a CPU. Its folder,
`out/freedoom/freedoom`, stays on the machine between the parts. Leaves the newest film strip, and once the world is
whole its folder as an archive in pieces, and what `nextframe.tools.lab.freedoom_pixels.measure` says of it. Needs
ViZDoom and Gymnasium, or data that were made elsewhere and lie in that folder, and says what is missing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...freedoom_pixels.parts import MORE, SIZES, has_data
from ..queue import ROOT
from ..step import Context, SkippedError

ALWAYS, FOR_THE_GAME = ("pydantic", "yaml"), ("vizdoom", "gymnasium")
SIZE, BUDGET = "large", "gpu-25m"
REHEARSED = ("--budget", "60s", "--size", "32x32", "--device", "cpu", "--workers", "1", "--threads", "1")
FOLDER = ROOT / "out" / "freedoom" / "freedoom"
RESERVED_S, KEPT_S = 20.0, 60.0
"""Of the step's time: for starting and storing; and, on top, for what a whole world leaves."""
PIECE_BYTES = 15 << 20
LINES = 12


def run(context: Context) -> None:
    folder = context.folder / "rehearsed" / "freedoom" if context.rehearse else FOLDER
    check_packages(folder)
    if context.left_s < (40 if context.rehearse else 180):
        raise SkippedError(f"needs three minutes, {context.left_s:.0f} s are left")
    trained = context.attempt("trained", lambda: train(folder, context))
    if trained.get("status") == "failed":
        return
    if trained["whole"]:
        context.attempt("kept", lambda: keep(folder, context.folder))
        context.attempt("figures", lambda: figures_of(folder))
        context.attempt("place", lambda: measure(folder, context))
    else:
        context.attempt("strip", lambda: newest_strip(folder, context.folder))


def missing(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if find_spec(name) is None]


def check_packages(folder: Path) -> None:
    lacks = missing(ALWAYS) + ([] if has_data(folder) else missing(FOR_THE_GAME))
    if lacks:
        raise SkippedError(
            f"needs {', '.join(lacks)}: install them, or put their wheels on PYTHONPATH (pip install --no-index "
            f"--no-deps --target DIR *.whl); without the game, bring its data along in {folder.name}/.train, made "
            "elsewhere by the same recipe"
        )


def train(folder: Path, context: Context) -> dict[str, Any]:
    """One part. `whole`: the world is there; else the same command goes on."""
    seconds = context.left_s - (0 if context.rehearse else RESERVED_S + KEPT_S)
    options = REHEARSED if context.rehearse else ("--budget", BUDGET, "--size", SIZE, "--workers", "16")
    command = [
        sys.executable, "-m", "nextframe.tools.lab.freedoom_pixels.recipe", "--out", str(folder), *options,
        "--part", f"{seconds:.0f}s",
    ]  # fmt: skip
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / "freedoom.log"
    with log.open("a") as stream:
        code = subprocess.run(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode
    said = log.read_text(errors="replace").strip().splitlines()[-LINES:]
    if code not in (0, MORE):
        return {"status": "failed", "error": f"ended with code {code}", "said": said}
    return {"whole": code == 0, "said": said}


def newest_strip(folder: Path, out: Path) -> dict[str, Any]:
    strips = sorted((folder / ".train" / "strips").glob("*.png"))
    if not strips:
        return {"strip": None}
    shutil.copy(strips[-1], out / f"freedoom-{strips[-1].name}")
    return {"strip": f"freedoom-{strips[-1].name}"}


def keep(folder: Path, out: Path) -> dict[str, Any]:
    """The world's folder without its data and checkpoints, as `freedoom.tar.0`, `.1` and so on: `cat` makes it one."""
    archive = out / "freedoom.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            tar.add(path, f"freedoom/{path.name}")
    pieces: list[str] = []
    with archive.open("rb") as stream:
        while part := stream.read(PIECE_BYTES):
            pieces.append(f"{archive.name}.{len(pieces)}")
            (out / pieces[-1]).write_bytes(part)
    archive.unlink()
    return {"pieces": pieces}


def figures_of(folder: Path) -> Any:
    return json.loads((folder / "eval.json").read_text())


def measure(folder: Path, context: Context) -> Any:
    """Beside the game, on the CPU."""
    if lacks := missing(FOR_THE_GAME):
        raise SkippedError(f"needs {', '.join(lacks)}: measure the folder where the game is")
    more = ["--rows", "4", "--ticks", "10"] if context.rehearse else ["--scenario", SIZES[SIZE][1]]
    strip = context.folder / "freedoom-place.png"
    command = [
        sys.executable,
        "-m",
        "nextframe.tools.lab.freedoom_pixels.measure",
        str(folder),
        *more,
        "--strip",
        str(strip),
    ]
    limit_s = max(20.0, context.left_s - 5)
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as cut:
        raise SkippedError("no time left: measure the folder elsewhere") from cut
    if done.returncode:
        raise RuntimeError(done.stderr[-1000:])
    return json.loads(done.stdout)
