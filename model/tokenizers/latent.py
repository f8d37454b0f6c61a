"""What every tokenizer offers a generator: frames to latents and back, and which latents there can be."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from torch import Tensor, nn


class FrameSize(Protocol):
    @property
    def height_px(self) -> int: ...

    @property
    def width_px(self) -> int: ...


class SceneCode(Protocol):
    """A latent of scene numbers that a picture shows, then slots: what the remedies against drift can take apart."""

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Scene `(..., scene_dim)` and slots `(..., slots, 6)`."""
        ...

    def scene_levels(self) -> Tensor:
        """How many grey levels of 255 one unit of each scene number changes in the frame, root mean square,
        `(scene_dim,)` on the host; 0 for a number that no picture shows."""
        ...


class LatentTokenizer(nn.Module):
    """A latent is a vector, `(rows, latent_dim)`."""

    config: FrameSize

    @abstractmethod
    def decode(self, latent: Tensor) -> Tensor:
        """Frames `(rows, height, width, 3)` uint8."""

    @abstractmethod
    def canonical(self, latent: Tensor) -> Tensor:
        """The nearest latent that a real frame can have. Memory holds only such, so a doubtful sample cannot smear."""

    def with_presence(self, latent: Tensor, decided: Tensor) -> Tensor:
        """`latent` with what the first denoise step decides for the whole tick taken from its estimate, `decided`: the
        expectation given all that is remembered. A later step would draw a sample of it, and of one draw a tick the
        earliest one wins. Nothing is decided unless a subclass says so."""
        return latent

    @property
    def scene_code(self) -> SceneCode | None:
        """The latent taken apart, where it is a scene that pictures show, number by number, and slots."""
        return None
