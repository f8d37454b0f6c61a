"""A view of a plan: every pixel lands where a ray walked step by step lands, and shows the texel that is there."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nextframe.model.tokenizers.scenes.place_rays import FAR_UNITS, LEVELS, Plan, Rays, ViewConfig, tiles_of
from nextframe.model.tokenizers.scenes.place_view import PlaceTokenizer

ROWS, COLUMNS = 7, 8
CELL = 32


def plan() -> Plan:
    """A room with a pillar, a block one looks over, a lintel, and a corner under the sky."""
    rows, columns = ROWS, COLUMNS
    solid = torch.zeros(rows, columns, dtype=torch.bool)
    solid[0], solid[-1], solid[:, 0], solid[:, -1] = True, True, True, True
    solid[3, 3] = True
    floor, ceiling = torch.zeros(rows, columns), torch.full((rows, columns), 128.0)
    floor[2, 5], ceiling[4, 2] = 32.0, 72.0
    sky = torch.zeros(rows, columns, dtype=torch.bool)
    sky[4:6, 4:7] = True
    floor[solid], ceiling[solid] = 128.0, 128.0
    return Plan(floor, ceiling, solid, sky)


def view(height_px: int = 48) -> ViewConfig:
    rows = (tuple(tuple(row) for row in part.float().tolist()) for part in plan())
    floor, ceiling, solid, sky = rows
    lamps = tuple(tuple(int(column < 4) - 1 + int(row < 3) for column in range(COLUMNS)) for row in range(ROWS))
    return ViewConfig(
        floor, ceiling, solid, sky, lamps, height_px=height_px, width_px=64, focal_x=32.0, focal_y=38.4, sky_columns=64
    )


CONFIG = view()
EYE = CONFIG.eye


def walked(place: Plan, x: float, y: float, angle: float, pixel: tuple[int, int]) -> tuple[str, float]:
    """What a ray meets that goes on in tiny steps, and how deep. The slow and sure way."""
    row, column = pixel
    aside = (column + 0.5 - CONFIG.width_px / 2) / CONFIG.focal_x
    slope = (CONFIG.horizon_px - 0.5 - row) / CONFIG.focal_y
    cos, sin = math.cos(angle), math.sin(angle)
    dx, dy, step = cos + aside * sin, sin - aside * cos, 0.05
    was = int(y // CELL), int(x // CELL)
    for n in range(1, 20_000):
        t = n * step
        now = int((y + t * dy) // CELL), int((x + t * dx) // CELL)
        z = EYE + slope * t
        if bool(place.solid[now]) or (now != was and not float(place.floor[now]) <= z <= float(place.ceiling[now])):
            return "wall", t
        if z <= float(place.floor[now]):
            return "floor", t
        if z >= float(place.ceiling[now]):
            return ("sky", FAR_UNITS) if place.sky[now] else ("ceiling", t)
        was = now
    raise AssertionError("a ray that never ends")


def kinds_of(rays: Rays, place: Plan, texels: Tensor) -> list[str]:
    """What each texel of the finest level belongs to."""
    tiles = tiles_of(place, CELL, 128)
    number = texels // CELL**2
    found = []
    for k in number.tolist():
        first = k * CELL**2
        found.append(
            "floor" if bool((tiles.floor == first).any()) else "ceiling" if bool((tiles.ceiling == first).any())
            else "wall"
        )  # fmt: skip
    return found


@pytest.mark.parametrize(("x", "y", "angle"), [(70, 50, 0.4), (210, 180, 2.6), (80, 150, -0.9), (150, 48, 1.6)])
def test_every_pixel_lands_where_a_ray_walked_step_by_step_lands(x: float, y: float, angle: float) -> None:
    place = plan()
    rays = Rays(CONFIG)
    columns = torch.arange(3, 64, 10)
    pose = torch.tensor([[x, y]], dtype=torch.float32).expand(len(columns), -1)
    heading = torch.tensor([[math.cos(angle), math.sin(angle)]]).expand(len(columns), -1)
    landed = rays.look(pose[:, 0], pose[:, 1], heading, rays.aside[columns])
    depth = landed.depth.view(len(columns), -1)
    fine = landed.texels[:, 0].view(len(columns), -1)
    wrong = checked = 0
    for i, column in enumerate(columns.tolist()):
        for row in range(1, CONFIG.height_px, 3):
            kind, t = walked(place, x, y, angle, (row, column))
            same = abs(float(depth[i, row]) - t) < 0.3 + 0.02 * t
            if same and kind != "sky" and int(fine[i, row]) < rays.level_first(1):
                same = kinds_of(rays, place, fine[i, row : row + 1]) == [kind]
            wrong, checked = wrong + (not same), checked + 1
    assert wrong <= checked // 50, f"{wrong} of {checked}: only pixels on an edge may differ"


def test_the_slow_way_sees_a_wall_that_is_moved() -> None:
    """The control: the two ways are of the same plan, or they differ."""
    place = plan()
    here = walked(place, 70, 50, 0.4, (20, 30))
    place.solid[2, 3] = True
    assert walked(place, 70, 50, 0.4, (20, 30)) != here


def test_weights_are_shares_and_texels_exist() -> None:
    rays = Rays(CONFIG)
    heading = torch.tensor([[1.0, 0.0]]).expand(64, -1)
    landed = rays.look(torch.full((64,), 200.0), torch.full((64,), 170.0), heading, rays.aside)
    assert torch.allclose(landed.weights.sum(-1), torch.ones(len(landed.weights)), atol=1e-5)
    assert int(landed.texels.min()) >= 0
    assert int(landed.texels.max()) < rays.texels


def tokenizer() -> PlaceTokenizer:
    torch.manual_seed(2)
    return PlaceTokenizer(CONFIG).eval().requires_grad_(False)


def latent(x: float, y: float, angle: float) -> Tensor:
    rows, columns = CONFIG.cells
    place = [(x - columns * CELL / 2) / 64, (y - rows * CELL / 2) / 64]
    return torch.tensor([[0.0, 0.0, 1.0, 1.0, *place, math.cos(angle), math.sin(angle), 1.0, -1.0]])


def test_a_wall_that_is_painted_is_seen_from_where_it_can_be_seen() -> None:
    net = tokenizer()
    tiles = tiles_of(plan(), CELL, 128)
    net.colour[-1].weight.zero_()
    net.colour[-1].bias.zero_()
    net.looks.fill_(0.2)
    first = int(tiles.wall[3, 3, 0]) // CELL**2
    net.looks[first : first + 4] = torch.tensor([1.0, 0.0, 0.0])
    net._forget()
    red = [
        (net.draw(latent(*pose))[0, ..., 0] > 0.9).float().mean()
        for pose in ((48, 112, 0.0), (48, 112, math.pi), (180, 112, math.pi))
    ]
    assert red[0] > 0.1, "the pillar's west face, from the west"
    assert red[1] == 0, "with the back to it"
    assert red[2] == 0, "its east face is another one"


def test_a_lamp_that_is_out_changes_what_lies_under_it_and_nothing_else() -> None:
    net = tokenizer()
    lit = latent(48, 112, 0.0)
    changed = []
    for lamp in (0, 1):
        out = lit.clone()
        out[0, 2 + lamp] = -1.0
        changed.append((net.draw(out) != net.draw(lit)).any(-1)[0])
    assert changed[0].any()
    assert changed[1].any()
    assert not (changed[0] & changed[1]).any(), "no pixel is under two lamps"


def test_training_and_playing_draw_the_same() -> None:
    net, pose = tokenizer(), latent(90, 60, 0.7)
    with torch.inference_mode():
        played = net.draw(pose)
    net.requires_grad_(True)
    assert torch.allclose(played, net.draw(pose), atol=1e-5)


@pytest.mark.bitexact
def test_rows_do_not_disturb_each_other() -> None:
    """Two rows beside two: a row alone is another shape, and may be rounded otherwise."""
    net = tokenizer()
    one, two, three = latent(90, 60, 0.7), latent(180, 170, 2.0), latent(120, 80, 1.2)
    with torch.inference_mode():
        together = net.decode(torch.cat([one, two]))
        assert torch.equal(together[0], net.decode(torch.cat([one, three]))[0])
        assert torch.equal(together[1], net.decode(torch.cat([three, two]))[1])
        assert not torch.equal(together[0], together[1])
        alone = torch.cat([net.decode(one), net.decode(two)])
    assert (together.int() - alone.int()).abs().max() <= 1, "one level of 255, where a number lies near a half"


def test_a_coarser_level_is_the_mean_of_a_finer_one() -> None:
    net = tokenizer()
    table = net.table()
    assert table.shape == (net.rays.texels, 3)
    last = table[net.rays.level_first(LEVELS - 1) :][:4].mean(0)
    assert torch.allclose(last, net.looks[0].mean((0, 1)), atol=1e-6)


def test_a_canonical_latent_has_a_unit_heading_and_stays_as_it_is() -> None:
    net = tokenizer()
    rough = torch.tensor([[0.3, -0.2, 0.1, -0.4, 1.0, 2.0, 3.0, 4.0, 0.2, 0.9]])
    once = net.canonical(rough)
    assert torch.allclose(once, torch.tensor([[0.3, -0.2, 1.0, -1.0, 1.0, 2.0, 0.6, 0.8, 1.0, -1.0]]))
    assert torch.equal(net.canonical(once), once)


def test_reading_a_picture_gives_a_canonical_latent_at_rest() -> None:
    net = tokenizer()
    small = PlaceTokenizer(view(height_px=64))
    read = small.encode(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    assert read.shape == (2, 10)
    assert torch.equal(read, net.canonical(read))
    assert torch.equal(read[:, :2], torch.zeros(2, 2))
