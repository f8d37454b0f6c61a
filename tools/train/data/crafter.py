"""Crafter as a Gymnasium environment without what no picture shows: a closed place of tiles to walk and build in.

Owns the choice of what is left out of the game and how it is drawn. Off by default: the night (it covers the view with
new noise in every frame), creatures (they walk at random) and hunger (hidden counters). What chance decided is certain
here: grass always gives its sapling, and a plant does not ripen. Knows nothing of training.

Importing this module registers `Crafter-v0`: `--env tools.train.crafter:Crafter-v0`. Crafter itself (Danijar Hafner,
MIT licence) is imported when one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from ....runtime.core import NextframeError

ENV_ID = "Crafter-v0"
STEP_HZ = 5
TILE_PX = 16
"""Crafter's own pictures of things have that size."""
VIEW_TILES = 7
CARRIED = ("sapling", "wood", "stone", "coal", "iron", "wood_pickaxe", "stone_pickaxe")
"""What the row below the view shows, from left to right; health, food, drink and energy before them with hunger."""
LIFE = ("health", "food", "drink", "energy")
ACTIONS = ("noop", "move_left", "move_right", "move_up", "move_down", "do", "place_stone", "place_table", "place_plant",
           "make_wood_pickaxe", "make_stone_pickaxe")  # fmt: skip
ACTION_NAMES = ("noop", "left", "right", "up", "down", "use", "stone", "table", "plant", "pickaxe", "stone_pickaxe")
KINDS = ("outside", "water", "grass", "stone", "path", "sand", "tree", "lava", "coal", "iron", "diamond", "table",
         "furnace", "thing")  # fmt: skip
"""What `observation["around"]` counts in; a thing is whatever stands on a tile: a plant or a creature."""
MIN_AREA, MAX_AREA = 9, 64


class Crafter(gymnasium.Env[dict[str, Any], Any]):
    """A step is an action of `ACTIONS`; `render()` gives the picture, `(128, 112, 3)` uint8 without hunger.

    `area`: tiles on each side of the place. `place`: which place, always the same one; -1 for another in each episode.
    `night`, `creatures`, `hunger`: as in the game itself. `bag`: half of the episodes begin with things to carry.

    Observations: `around`, the kinds of the `(7, 7)` tiles in view, column first; `facing`, a step `(2,)`; `carried`,
    how many of each of `CARRIED`. Each episode begins somewhere else, and ends after so many `steps` (0: never) or with
    the player's life. The same seed and actions give the same pictures. NextframeError where Crafter is not installed.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": STEP_HZ}  # noqa: RUF012 - Gymnasium's own name and type
    action_names = ACTION_NAMES

    def __init__(
        self, area: int = 16, place: int = 4, steps: int = 150, *, night: bool = False, creatures: bool = False,
        hunger: bool = False, bag: bool = True, render_mode: str | None = "rgb_array",
    ) -> None:  # fmt: skip
        if not MIN_AREA <= area <= MAX_AREA:
            raise NextframeError(f"area={area}: expected {MIN_AREA} to {MAX_AREA} tiles on each side")
        self.render_mode = render_mode
        self.action_space = gymnasium.spaces.Discrete(len(ACTIONS))
        self.observation_space = gymnasium.spaces.Dict({
            "around": gymnasium.spaces.Box(0, len(KINDS) - 1, (VIEW_TILES, VIEW_TILES), np.int8),
            "facing": gymnasium.spaces.Box(-1, 1, (2,), np.int8),
            "carried": gymnasium.spaces.Box(0, 9, (len(CARRIED),), np.int8),
        })  # fmt: skip
        self._place, self._bag, self._hunger = place, bag, hunger
        self._steps, self._left = steps, steps
        self._game = open_game(area, night=night, creatures=creatures)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self._left = self._steps
        game = self._game
        game.begin(self._place if self._place >= 0 else int(self.np_random.integers(2**31)))
        world, player = game._world, game._player
        free = [(x, y) for x, y in np.ndindex(*world.area) if world[x, y][1] is None and player.is_free((x, y))]
        world.move(player, free[int(self.np_random.integers(len(free)))] if free else player.pos)
        player.facing = [(-1, 0), (1, 0), (0, -1), (0, 1)][int(self.np_random.integers(4))]
        if self._bag and self.np_random.random() < 0.5:
            for name in ("sapling", "wood", "stone", "wood_pickaxe"):
                most = 1 if name == "wood_pickaxe" else 9
                player.inventory[name] = int(self.np_random.integers(most + 1))
        return self._look(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        player = self._game._player
        if not self._hunger:
            player._hunger = player._thirst = player._fatigue = player._recover = 0
        reward, over = self._game.go(ACTIONS[int(action)])
        self._left -= 1
        return self._look(), reward, over, self._left == 0, {"place": tuple(int(v) for v in player.pos)}

    def render(self) -> Any:
        game, unit = self._game, np.array([TILE_PX, TILE_PX])
        player = game._player
        rows = [game._local_view(player, unit)]
        for names in (LIFE, CARRIED) if self._hunger else (CARRIED,):
            rows.append(game._item_view({name: player.inventory[name] for name in names}, unit))
        return np.ascontiguousarray(np.concatenate(rows, 1).transpose(1, 0, 2).astype(np.uint8))

    def _look(self) -> dict[str, Any]:
        world, player = self._game._world, self._game._player
        around = np.zeros((VIEW_TILES, VIEW_TILES), np.int8)
        for x, y in np.ndindex(around.shape):
            material, thing = world[player.pos + np.array([x, y]) - VIEW_TILES // 2]
            taken = thing is not None and thing is not player
            around[x, y] = KINDS.index("thing") if taken else KINDS.index(material or "outside")
        carried = np.array([player.inventory[name] for name in CARRIED], np.int8)
        return {"around": around, "facing": np.array(player.facing, np.int8), "carried": carried}


class Certain:
    """In place of the player's random numbers: chance always falls the lucky way."""

    def uniform(self) -> float:
        return 0.0


def open_game(area: int, *, night: bool, creatures: bool) -> Any:
    """Crafter's own environment with a view of 7 tiles, and what was asked for left out."""
    try:
        import crafter
        from crafter import engine
    except ImportError as error:
        raise NextframeError(f"the Crafter game needs Crafter: pip install 'nextframe[crafter]' ({error})") from error

    class Game(crafter.Env):
        def begin(self, place: int) -> None:
            """The same place for the same number."""
            self._seed, self._episode = place, 0
            self.reset()
            self._player.random = Certain()
            if not creatures:
                for thing in self._world.objects:
                    if thing is not self._player:
                        self._world.remove(thing)

        def go(self, action: str) -> tuple[float, bool]:
            for thing in self._world.objects:
                if hasattr(thing, "grown"):
                    thing.grown = 0
            _, reward, over, _ = self.step(crafter.constants.actions.index(action))
            return float(reward), bool(over)

        def render(self, size: Any = None) -> Any:
            """What a step draws, which nobody looks at: the view is drawn once, when it is asked for."""

        def _update_time(self) -> None:
            if night:
                super()._update_time()
            else:
                self._world.daylight = 1.0

        def _balance_chunk(self, chunk: Any, things: Any) -> None:
            if creatures:
                super()._balance_chunk(chunk, things)

    game = Game(area=(area, area), view=(VIEW_TILES, VIEW_TILES + 3), length=0, seed=0)
    view: Callable[..., Any] = engine.LocalView
    game._local_view = view(game._world, game._textures, [VIEW_TILES, VIEW_TILES])
    game._item_view = engine.ItemView(game._textures, [VIEW_TILES, 1])
    return game


def register() -> None:
    """Tell Gymnasium; once, however often it is asked."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point=f"{Crafter.__module__}:{Crafter.__name__}", disable_env_checker=True)


register()
