"""The engine in the keep: ViZDoom with Freedoom's assets, put anywhere and asked for pictures and poses.

Its pictures are drawn at twice the size and halved, since the engine itself smooths nothing.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import NextframeError
from .keep import keep_wad
from .plan import LAMPS
from .walk import FRICTION, LOOK_DEGREES, STOP_UNITS, THRUST, WALK, Steps, Walk, Walkers

HEIGHT_PX, WIDTH_PX = 192, 256
SETTLE_TICS = 10
HIDDEN = ("hud", "weapon", "crosshair", "messages", "particles", "decals", "effects_sprites", "corpses")


class KeepGame:
    """The game itself in the keep: the truth that everything here is measured against. Close it.

    `dark`: whose lamps are out, as indices of `LAMPS`; the game cannot switch them while it runs.
    """

    def __init__(self, dark: Collection[int] = ()) -> None:
        self.lit = ~np.isin(np.arange(len(LAMPS)), list(dark))
        self._folder = tempfile.TemporaryDirectory(prefix="nextframe-keep-", ignore_cleanup_errors=True)
        self._walk, self._game = Walk(), _open(Path(self._folder.name), keep_wad(dark))
        self._game.new_episode()
        for _ in range(SETTLE_TICS):
            self._game.make_action([0.0, 0.0, 0.0])

    def put(self, x: float, y: float, angle: float) -> None:
        """Stand there, in units, at rest, and look as near as may be to an angle in radians.

        The engine puts a player on whole units only. The rest is a push, and one against it a tic later.
        """
        near_x, near_y = self._whole(x, y)
        while self._rolls():
            self._game.make_action([0.0, 0.0, 0.0])
        self._game.send_game_command(f"warp {near_x} {near_y}")
        for _ in range(2):  # the second turns by what the first could not: half a turn is the most
            turn = np.degrees(angle - self.walkers().angle[0])
            self._game.make_action([float(-((turn + 180) % 360 - 180)), 0.0, 0.0])
        if (x, y) == (near_x, near_y):
            return
        cos, sin = np.cos(self.walkers().angle[0]), np.sin(self.walkers().angle[0])
        right, ahead = (x - near_x) * sin - (y - near_y) * cos, (x - near_x) * cos + (y - near_y) * sin
        for push in (1.0, -FRICTION):
            self._game.make_action([0.0, float(push * right / THRUST), float(push * ahead / THRUST)])

    def _rolls(self) -> bool:
        walker = self.walkers()
        return bool(np.abs([walker.vx, walker.vy]).max() > STOP_UNITS)

    def _whole(self, x: float, y: float) -> tuple[int, int]:
        """The nearest whole units that are free."""
        floor = np.floor([x, y])
        around = sorted(
            ((floor[0] + i, floor[1] + j) for i in (0, 1) for j in (0, 1)),
            key=lambda at: (
                float(self._walk.blocked(np.array([at[0]]), np.array([at[1]]))[0]) * 9 + np.hypot(at[0] - x, at[1] - y)
            ),
        )
        return int(around[0][0]), int(around[0][1])

    def step(self, steps: Steps) -> None:
        """One tick of the first of `steps`."""
        for _ in range(2):
            self._game.make_action([steps.look[0] * LOOK_DEGREES, steps.aside[0] * WALK, steps.ahead[0] * WALK])

    def walkers(self) -> Walkers:
        """The one there is."""
        x, y, angle, vx, vy = (np.array([value]) for value in self._game.get_state().game_variables)
        return Walkers(x, y, np.radians(angle), vx, vy, self.lit[None])

    def frame(self) -> NDArray[np.uint8]:
        """`(HEIGHT_PX, WIDTH_PX, 3)`."""
        large = np.asarray(self._game.get_state().screen_buffer, np.float32)
        return np.round(large.reshape(HEIGHT_PX, 2, WIDTH_PX, 2, 3).mean((1, 3))).astype(np.uint8)

    def close(self) -> None:
        self._game.close()
        self._folder.cleanup()


def _open(folder: Path, wad: bytes) -> Any:
    try:
        import vizdoom
    except ImportError as error:
        raise NextframeError("the Freedoom game needs ViZDoom: pip install 'nextframe[freedoom]'") from error
    (folder / "keep.wad").write_bytes(wad)
    game, button, variable = vizdoom.DoomGame(), vizdoom.Button, vizdoom.GameVariable
    game.set_doom_scenario_path(str(folder / "keep.wad"))
    game.set_doom_map("map01")
    game.set_doom_config_path(str(folder / "engine.ini"))
    game.add_game_args("+movebob 0 +sv_cheats 1")
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_512X384)
    for hidden in HIDDEN:
        getattr(game, f"set_render_{hidden}")(False)
    game.set_available_buttons(
        [button.TURN_LEFT_RIGHT_DELTA, button.MOVE_LEFT_RIGHT_DELTA, button.MOVE_FORWARD_BACKWARD_DELTA]
    )
    game.set_available_game_variables(
        [variable.POSITION_X, variable.POSITION_Y, variable.ANGLE, variable.VELOCITY_X, variable.VELOCITY_Y]
    )
    game.set_episode_timeout(0)
    game.set_doom_skill(1)
    with contextlib.chdir(folder):  # the engine makes a folder of its own where it is started
        game.init()
    return game
