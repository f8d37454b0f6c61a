"""ViZDoom with Freedoom's assets as a Gymnasium environment with the axes look_x, move_x, move_y, and attack if asked.

Owns the choice of the game's settings. Turning is linear (`TURN_LEFT_RIGHT_DELTA`): the usual turn keys of that engine
speed up while they are held, which is hidden state that no picture shows. The view does not bob for the same reason.
Knows nothing of training.

Importing this module registers `Freedoom-v0`, as modules of Gymnasium environments do:
`--env nextframe.tools.lab.freedoom_pixels.game:Freedoom-v0` means "import it, then make it". ViZDoom itself is imported
when one is made.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from ....runtime.core import NextframeError
from ....worlds.freedoom.teacher.script import AXES
from .room import RAIL_UNITS, ROOM, room_wad

ENV_ID = "Freedoom-v0"
TICS_HZ = 35
ATTACK = "attack"
SCENARIOS = (ROOM, "my_way_home", "health_gathering", "health_gathering_supreme", "take_cover", "defend_the_center")
SETTLE_TICS = 8
"""The first tics of a map answer nothing."""


@dataclass(frozen=True)
class Pace:
    """What a full axis means. `degrees`: of turning a tic. `walk`: in the engine's own unit; 25 is its walking pace, 8
    map units a tic in the end."""

    degrees: float
    walk: float


PACES = {ROOM: Pace(1.25, 12.5)}
USUAL_PACE = Pace(2.5, 25.0)
"""At two tics a tick 5 degrees, about 6 of 128 pixels. More is hard to learn; a CPU's small network needs less."""
PLAYER_UNITS = 16
"""The player's half width."""


def pace_of(scenario: str) -> Pace:
    return PACES.get(scenario, USUAL_PACE)


class Freedoom(gymnasium.Env[NDArray[np.uint8], NDArray[np.float32]]):
    """Observations are pictures, `(120, 160, 3)` uint8; actions `(3,)` float32 of -1..1, one a tic.

    `attack`: show the weapon, and a fourth number of 0..1 fires it from a half on; rounds never run out, because how
    many are left would be hidden state.

    `scenario`: the room of `nextframe.tools.lab.freedoom_pixels.room`, where each seed begins somewhere else, or one of
    ViZDoom's own. An episode ends where the scenario's own does, but never by the clock. `info["pose"]`: x, y in map
    units and the angle in degrees. The same seed and actions give the same pictures, bit for bit.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": TICS_HZ}  # noqa: RUF012 - Gymnasium's own name and type

    def __init__(self, scenario: str = ROOM, attack: bool = False, render_mode: str | None = "rgb_array") -> None:
        if scenario not in SCENARIOS:
            raise NextframeError(f"scenario={scenario}: expected one of {', '.join(SCENARIOS)}")
        self.render_mode = render_mode
        self.action_names = (*AXES, ATTACK) if attack else AXES
        low = np.array([0.0 if name == ATTACK else -1.0 for name in self.action_names], np.float32)
        self.action_space = gymnasium.spaces.Box(low, np.ones_like(low))
        self.observation_space = gymnasium.spaces.Box(0, 255, (120, 160, 3), np.uint8)
        self._scenario, self._pace = scenario, pace_of(scenario)
        self._folder = tempfile.TemporaryDirectory(prefix="nextframe-freedoom-", ignore_cleanup_errors=True)
        self._game = open_game(scenario, Path(self._folder.name), attack=attack)
        self._last = np.zeros((120, 160, 3), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._game.set_seed(seed)
        self._game.new_episode()
        if self._scenario == ROOM:
            self._stand_somewhere()
        return self._look()

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:  # as Gymnasium has it
        look_x, move_x, move_y, *fire = (float(value) for value in np.clip(action, -1, 1))
        pace = self._pace
        held = [look_x * pace.degrees, move_x * pace.walk, move_y * pace.walk, *(float(v >= 0.5) for v in fire)]
        reward = self._game.make_action(held)
        view, info = self._look()
        return view, float(reward), bool(self._game.is_episode_finished()), False, info

    def render(self) -> Any:
        return self._last

    def close(self) -> None:
        self._game.close()
        self._folder.cleanup()

    def _stand_somewhere(self) -> None:
        """Anywhere inside the rail, looking anywhere."""
        most = RAIL_UNITS - PLAYER_UNITS - 1
        x, y = (int(value) for value in self.np_random.integers(-most, most + 1, 2))
        self._game.send_game_command(f"warp {x} {y}")
        for _ in range(SETTLE_TICS):
            self._game.make_action([0.0, 0.0, 0.0])
        for _ in range(4):  # a turn of up to a quarter each: the engine's unit of turning ends at a half
            self._game.make_action([float(self.np_random.uniform(0, 90)), 0.0, 0.0])

    def _look(self) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """After an episode's end there is no picture: the last one stays."""
        state = self._game.get_state()
        if state is None:
            return self._last, {}
        self._last = np.array(state.screen_buffer)
        return self._last, {"pose": tuple(float(value) for value in state.game_variables)}


def open_game(scenario: str, folder: Path, *, attack: bool = False) -> Any:
    """A `vizdoom.DoomGame` without window, sound, figures and messages: they are no part of a place. Without a weapon
    too, where it cannot be fired.

    `folder`: for the map and for the file of settings that the engine writes, into the working folder otherwise.
    """
    try:
        import vizdoom
    except ImportError as error:
        raise NextframeError("the Freedoom game needs ViZDoom: pip install 'nextframe[freedoom]'") from error
    game = vizdoom.DoomGame()
    if scenario == ROOM:
        (folder / "room.wad").write_bytes(room_wad())
        game.set_doom_scenario_path(str(folder / "room.wad"))
        game.set_doom_map("map01")
    else:
        game.load_config(str(Path(vizdoom.scenarios_path) / f"{scenario}.cfg"))
    game.set_doom_config_path(str(folder / "engine.ini"))
    game.add_game_args("+movebob 0 +sv_cheats 1 +sv_infiniteammo 1")
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    for hide in ("hud", "crosshair", "messages", "particles", "decals", "effects_sprites", "corpses"):
        getattr(game, f"set_render_{hide}")(False)
    game.set_render_weapon(attack)
    button, variable = vizdoom.Button, vizdoom.GameVariable
    buttons = [button.TURN_LEFT_RIGHT_DELTA, button.MOVE_LEFT_RIGHT_DELTA, button.MOVE_FORWARD_BACKWARD_DELTA]
    game.set_available_buttons([*buttons, *([button.ATTACK] if attack else [])])
    game.set_available_game_variables([variable.POSITION_X, variable.POSITION_Y, variable.ANGLE])
    game.set_episode_timeout(0)
    game.set_doom_skill(1)
    with contextlib.chdir(folder):  # the engine makes a folder of its own where it is started
        game.init()
    return game


def register() -> None:
    """Tell Gymnasium; once, however often it is asked."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point=f"{Freedoom.__module__}:{Freedoom.__name__}")


register()
