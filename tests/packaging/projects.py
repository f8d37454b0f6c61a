"""Projects of users whose own modules have the names that nextframe's folders have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDERS = ("model", "tools", "runtime", "worlds", "controllers")
DEEPER = ("core", "session", "display", "recording", "data", "audit", "train", "pages", "clips", "batch", "stages")
"""Names of packages and modules below the folders: a project may have those as well."""
TRAP = "raise RuntimeError(f'{__name__} is the project\\'s own and nothing in it asked for it')\n"

GAME = '''
import gymnasium
import numpy as np

from runtime import STEP_PX


class Dot(gymnasium.Env):
    """A light dot that moves left, right or not."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}
    observation_space = gymnasium.spaces.Box(0, 255, (24, 32, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, render_mode=None):
        self.render_mode, self.x = render_mode, 15

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = int(self.np_random.integers(4, 28))
        return self.render(), {}

    def step(self, action):
        self.x = int(np.clip(self.x + STEP_PX * (0, -1, 1)[int(action)], 2, 29))
        return self.render(), 0.0, False, False, {}

    def render(self):
        frame = np.full((24, 32, 3), 20, np.uint8)
        frame[10:14, self.x - 2 : self.x + 2] = 220
        return frame


gymnasium.register("Dot-v0", entry_point="game:Dot")
'''
AUDITED = """
import numpy as np

from nextframe import ActionSpace
from runtime import STEP_PX


class Dot:
    actions = ActionSpace(("left", "right"))
    tick_hz = 100.0

    def reset(self, seed):
        self.x = 8 + seed % 16
        return self.picture()

    def step(self, action):
        self.x += STEP_PX * (("right" in action.buttons) - ("left" in action.buttons))
        return self.picture()

    def picture(self):
        frame = np.full((24, 32, 3), 20, np.uint8)
        frame[10:14, self.x % 28 : self.x % 28 + 4] = 220
        return frame


def make():
    return Dot()
"""
POLICY = """
from runtime import STEP_PX


def drive(observation, rng):
    assert STEP_PX == 1, "the project's own engine"
    return int(rng.integers(0, 3))
"""


def make_project(root: Path, *, packages: bool, own: Mapping[str, str] | None = None) -> Path:
    """A folder with modules of all those names, as packages or as files. `own`: what some hold; the others are traps
    that end a program which imports them, but for `runtime`, which is the project's engine."""
    root.mkdir()
    own = {"runtime": "STEP_PX = 1\n", **(own or {})}
    for name in (*FOLDERS, *DEEPER):
        text = own.get(name, TRAP)
        if packages:
            (root / name).mkdir()
            (root / name / "__init__.py").write_text(text, encoding="utf-8")
        else:
            (root / f"{name}.py").write_text(text, encoding="utf-8")
    return root


def python(
    root: Path, arguments: Sequence[str], *, packages_at: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder, which `-m` puts first on the path, without a display.

    `packages_at`: a folder to find nextframe in; where these tests found it when not given.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    if packages_at is not None:
        environment["PYTHONPATH"] = str(packages_at)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
