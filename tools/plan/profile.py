"""What is planned: the stage costs and sizes of a world, and the file they are kept in.

Times are milliseconds on the device that the profile names; sizes are bytes.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...runtime.core import NextframeError

SCHEMA = "nextframe.plan_profile/1"
MAX_PROFILE_BYTES = 1 << 20
MAX_COUNT = 1024

NotBelowZero: TypeAlias = Annotated[float, Field(ge=0)]
AboveZero: TypeAlias = Annotated[float, Field(gt=0)]
Size: TypeAlias = Annotated[int, Field(ge=0)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=MAX_COUNT)]


class PlanError(NextframeError):
    """A plan that cannot be made from what was given."""


class PlanModel(BaseModel):
    """Immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Cost(PlanModel):
    """Time of one piece of work for some rows in one call: `max(floor_ms, fixed_ms + row_ms * rows)`.

    `fixed_ms`: starting operations, reading small weights. `floor_ms`: what a call takes however few its rows, such as
    reading large weights while the arithmetic hides behind it. `points`: instead of these, measured (rows, ms) in
    ascending order, with straight lines between them and the last line going on.
    """

    fixed_ms: NotBelowZero = 0.0
    row_ms: NotBelowZero = 0.0
    floor_ms: NotBelowZero = 0.0
    points: tuple[tuple[Count, NotBelowZero], ...] = ()

    @model_validator(mode="after")
    def _points_ascend(self) -> Cost:
        if any(after[0] <= before[0] or after[1] < before[1] for before, after in pairwise(self.points)):
            raise ValueError("points: expected ascending rows with times that do not fall")
        return self

    def ms(self, rows: int) -> float:
        if not self.points:
            return max(self.floor_ms, self.fixed_ms + self.row_ms * rows)
        if len(self.points) == 1 or rows <= self.points[0][0]:
            return self.points[0][1]
        at = next((at for at, point in enumerate(self.points[1:-1], 1) if rows <= point[0]), len(self.points) - 1)
        (low, low_ms), (high, high_ms) = self.points[at - 1], self.points[at]
        return low_ms + (high_ms - low_ms) * (rows - low) / (high - low)


class StageCosts(PlanModel):
    """`encode`: of a source picture, where there is one. `layer`: one layer in one denoise step. `step`: what else a
    denoise step does (tokens in, latent out, sampler). `commit_layer`, `commit`: the pass that writes memory."""

    encode: Cost = Cost()
    condition: Cost = Cost()
    layer: Cost
    step: Cost = Cost()
    decode: Cost
    commit_layer: Cost = Cost()
    commit: Cost = Cost()


class Sizes(PlanModel):
    """`hop_row`: activations between two layers, of a row. `latent_row`: a finished latent, with what travels beside
    it. `kv_layer`: memory of one session in one layer. `session`, `decode_session`: what else a session keeps on the
    first stage and where it is decoded.
    `work_row`: scratch of a row while it is computed."""

    hop_row_bytes: Size = 0
    latent_row_bytes: Size = 0
    layer_weights_bytes: Size = 0
    front_weights_bytes: Size = 0
    decode_weights_bytes: Size = 0
    kv_layer_bytes: Size = 0
    session_bytes: Size = 0
    decode_session_bytes: Size = 0
    work_row_bytes: Size = 0


class Link(PlanModel):
    """Between two devices: a message takes `bytes / bandwidth` on the wire, and `latency_ms` on top."""

    name: str = "given"
    bandwidth_gb_s: AboveZero
    latency_ms: NotBelowZero

    def wire_ms(self, size_bytes: float) -> float:
        return size_bytes / (self.bandwidth_gb_s * 1e6)


class Profile(PlanModel):
    """A world as the planner sees it.

    `device`: what the costs were measured on, or are derived for; `device_memory_bytes`: what a session's process may
    use there. `history`: "clean" (a commit pass writes finished frames) or "same_level" (rows read history of their
    own denoise step; only this makes stream-batch legal). `frames_per_latent`: pictures shown for one latent.
    `layer_scale`: relative cost by layer where layers differ. `max_rows`:
    costs are known for so many rows in a call. `source`: in words, where the numbers come from.
    """

    name: str
    source: str
    device: str
    device_memory_bytes: Annotated[int, Field(gt=0)]
    layers: Count
    denoise_steps: Count
    frames_per_latent: Count = 1
    frame_hz: AboveZero | None = None
    history: Literal["clean", "same_level"] = "clean"
    costs: StageCosts
    sizes: Sizes = Sizes()
    link: Link | None = None
    layer_scale: tuple[float, ...] = ()
    max_rows: Count = MAX_COUNT

    @model_validator(mode="after")
    def _one_scale_per_layer(self) -> Profile:
        if len(self.layer_scale) not in {0, self.layers} or any(scale <= 0 for scale in self.layer_scale):
            raise ValueError(f"layer_scale: expected {self.layers} numbers above 0, got {len(self.layer_scale)}")
        return self

    @property
    def scales(self) -> tuple[float, ...]:
        return self.layer_scale or (1.0,) * self.layers

    def with_steps(self, denoise_steps: int) -> Profile:
        return self.model_copy(update={"denoise_steps": denoise_steps})


def read_profile(path: Path) -> Profile:
    """Raises `PlanError` with the file, the first key that is wrong, and why."""
    try:
        if path.stat().st_size > MAX_PROFILE_BYTES:
            raise PlanError(f"{path}: expected a profile of at most {MAX_PROFILE_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: expected a profile, cannot read it: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"{path}: expected a profile in JSON: {error}") from None
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise PlanError(f'{path}: expected "schema": "{SCHEMA}"; make one with: nextframe plan WORLD --measure')
    try:
        return Profile.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "profile"
        raise PlanError(f"{path}: {where}: {first['msg']}") from None


def write_profile(profile: Profile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"schema": SCHEMA, **profile.model_dump(mode="json")}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
