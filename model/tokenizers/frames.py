"""A generic frame tokenizer: frame to a grid of tokens and back, for any picture.

Owns the closed-form part (a PCA of patches, so encoding needs no training and the error in the latent is the error in
pixels) and a small convolutional refiner that is added to what the PCA draws. The refiner begins as nothing, so it can
only help.

A picture of tiles, each patch one of a few that are known, needs neither. Its tokens are codes drawn by chance,
one for each tile and all about as far apart, so that a figure that counts is no smaller a thing than a tree; whatever
is remembered or shown is the nearest tile (a codebook as in VQ-VAE, van den Oord et al. 2017, but none is learned).

Latent layout, float32 `(batch, tokens * channels)`: token by token, row by row of the grid. Channels are half
whitened (divided by the square root of their deviation), between making faint detail invisible and making it loud.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from .latent import LatentTokenizer

GROUND_CHANNELS = 8
SHUFFLE = 4
"""The refiner works on squares of so many pixels."""
BAND_ROOM = 1.1
"""What is remembered may lie so far beyond the largest number a real frame had."""


@dataclass(frozen=True)
class FrameConfig:
    """`patch_px`: side of the square that becomes one token; both frame sides are multiples of it, and it of 4.

    `tiles`: how many different patches there are, 0 where there is no end of them.
    """

    height_px: int
    width_px: int
    patch_px: int = 16
    channels: int = 64
    refine_width: int = 48
    refine_blocks: int = 2
    tiles: int = 0

    def __post_init__(self) -> None:
        if self.patch_px % SHUFFLE or self.height_px % self.patch_px or self.width_px % self.patch_px:
            raise ValueError(
                f"frame tokenizer: expected sides that are multiples of the patch, and a patch that is one of "
                f"{SHUFFLE}, got {self.width_px}x{self.height_px} and {self.patch_px}"
            )

    @property
    def rows(self) -> int:
        return self.height_px // self.patch_px

    @property
    def columns(self) -> int:
        return self.width_px // self.patch_px

    @property
    def tokens(self) -> int:
        return self.rows * self.columns

    @property
    def latent_dim(self) -> int:
        return self.tokens * self.channels


class FrameTokenizer(LatentTokenizer):
    """`encode(frames) -> latents`, `decode(latents) -> frames`; frames are `(batch, height, width, 3)` uint8."""

    config: FrameConfig
    mean: Tensor
    basis: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    tiles: Tensor
    """`(tiles, channels)`: the token of each patch that there is; only where `config.tiles`."""
    patches: Tensor
    """`(tiles, 3 * patch_px ** 2)`: how they look, 0..255."""

    def __init__(self, config: FrameConfig) -> None:
        super().__init__()
        self.config = config
        p, c = config.patch_px, config.channels
        self.register_buffer("mean", torch.zeros(3, config.height_px, config.width_px))
        self.register_buffer("basis", torch.zeros(c, 3 * p * p))
        self.register_buffer("scale", torch.ones(c))
        self.register_buffer("low", torch.full((c,), -4.0))
        self.register_buffer("high", torch.full((c,), 4.0))
        if config.tiles:
            self.register_buffer("tiles", torch.zeros(config.tiles, c))
            self.register_buffer("patches", torch.zeros(config.tiles, 3 * p * p))
        colours, width = 3 * SHUFFLE**2, config.refine_width
        self.ground = nn.Parameter(
            torch.randn(GROUND_CHANNELS, config.height_px // SHUFFLE, config.width_px // SHUFFLE) * 0.1
        )
        self.enter = nn.Conv2d(colours + GROUND_CHANNELS, width, 3, 1, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1))
            for _ in range(config.refine_blocks)
        )
        self.leave = nn.Conv2d(width, colours, 3, 1, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def canonical(self, latent: Tensor) -> Tensor:
        """Each number within what real frames had: memory holds nothing that no frame can have. In a world of tiles,
        each token the nearest of theirs."""
        if self.config.tiles:
            return self.tiles[self.nearest(latent)].flatten(-2)
        repeat = self.config.tokens
        return torch.minimum(torch.maximum(latent, self.low.repeat(repeat)), self.high.repeat(repeat))

    def nearest(self, latent: Tensor) -> Tensor:
        """The tile nearest to each token, `(batch, latent_dim)` to `(batch, tokens)`."""
        tokens = latent.float().unflatten(-1, (self.config.tokens, self.config.channels))
        return _nearest(tokens, self.tiles)

    def encode(self, frames: Tensor) -> Tensor:
        if self.config.tiles:
            patches = patches_of(frames.permute(0, 3, 1, 2).float(), self.config.patch_px)
            return self.tiles[_nearest(patches / 255 - 0.5, self.patches / 255 - 0.5)].flatten(1)
        images = frames.permute(0, 3, 1, 2).float() / 255 - self.mean
        return (patches_of(images, self.config.patch_px) @ self.basis.T / self.scale).flatten(1)

    def decode(self, latent: Tensor) -> Tensor:
        if self.config.tiles:
            return self.lay(self.patches[self.nearest(latent)]).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return (self.draw(latent).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def draw(self, latent: Tensor) -> Tensor:
        """`(batch, 3, height, width)` in 0..1, differentiable: the PCA's picture and what the refiner adds."""
        base = self.project(latent)
        shuffled = F.pixel_unshuffle(base - 0.5, SHUFFLE)
        x = self.enter(torch.cat([shuffled, self.ground[None].expand(len(latent), -1, -1, -1)], 1))
        for block in self.blocks:
            x = x + block(F.relu(x))
        return base + F.pixel_shuffle(self.leave(F.relu(x)), SHUFFLE).float()

    def project(self, latent: Tensor) -> Tensor:
        """The picture that the PCA alone draws, `(batch, 3, height, width)` around 0..1."""
        config = self.config
        tokens = latent.view(-1, config.tokens, config.channels)
        return self.lay((tokens * self.scale) @ self.basis) + self.mean

    def lay(self, patches: Tensor) -> Tensor:
        """Patches `(batch, tokens, 3 * patch_px ** 2)` as a picture `(batch, 3, height, width)`."""
        config = self.config
        grid = patches.view(-1, config.rows, config.columns, 3, config.patch_px, config.patch_px)
        return grid.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, config.height_px, config.width_px)


def patches_of(images: Tensor, patch_px: int) -> Tensor:
    """`(batch, 3, height, width)` to `(batch, tokens, 3 * patch_px ** 2)`."""
    batch, _, height, width = images.shape
    grid = images.view(batch, 3, height // patch_px, patch_px, width // patch_px, patch_px)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, 3 * patch_px * patch_px)


@dataclass(frozen=True)
class PatchPca:
    """`mean`: of the frames, `(3, height, width)` in 0..1. `basis`: `(n, n)`, a component a row, the strongest first.

    `variance`: of each component, `(n,)`.
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor

    def psnr_db(self, channels: int) -> float:
        """What so many components leave: closed form, on the frames it was fitted to."""
        left = self.variance[channels:].sum() / len(self.variance)
        return float(-10 * torch.log10(left.clamp(min=1e-8)))


def fit_patches(frames: Tensor, patch_px: int) -> PatchPca:
    """PCA of all patches of `(n, height, width, 3)` uint8 frames about the mean frame."""
    mean = (frames.float().mean(0) / 255).permute(2, 0, 1)
    size = 3 * patch_px * patch_px
    covariance, count = torch.zeros(size, size, dtype=torch.float64), 0
    for part in frames.split(256):
        patches = patches_of(part.permute(0, 3, 1, 2).float() / 255 - mean, patch_px).flatten(0, 1)
        covariance += (patches.T @ patches).double()
        count += len(patches)
    variance, vectors = torch.linalg.eigh(covariance / count)
    return PatchPca(mean, vectors.flip(1).T.float().contiguous(), variance.flip(0).clamp(min=0).float())


def fill(tokenizer: FrameTokenizer, pca: PatchPca, frames: Tensor) -> None:
    """Take over the PCA; `frames` (uint8) say how large each number gets."""
    config = tokenizer.config
    deviation = pca.variance[: config.channels].sqrt().clamp(min=1e-4)
    tokenizer.mean.copy_(pca.mean)
    tokenizer.basis.copy_(pca.basis[: config.channels])
    tokenizer.scale.copy_((deviation * deviation.mean()).sqrt())
    with torch.no_grad():
        codes = torch.cat([tokenizer.encode(part) for part in frames.split(256)])
    codes = codes.view(-1, config.channels)
    tokenizer.low.copy_(codes.amin(0) * BAND_ROOM)
    tokenizer.high.copy_(codes.amax(0) * BAND_ROOM)


def distinct_patches(frames: Tensor, patch_px: int, most: int) -> Tensor | None:
    """The different patches of `(n, height, width, 3)` uint8 frames, `(found, 3 * patch_px ** 2)` uint8 in a fixed
    order; None where there are more than `most`."""
    found: Tensor | None = None
    for part in frames.split(256):
        patches = patches_of(part.permute(0, 3, 1, 2), patch_px).flatten(0, 1)
        found = torch.cat([patches] if found is None else [found, patches]).unique(dim=0)
        if len(found) > most:
            return None
    return found


def fill_tiles(tokenizer: FrameTokenizer, patches: Tensor) -> None:
    """Take over `(tiles, 3 * patch_px ** 2)` uint8 patches, and draw a code of ones and minus ones for each."""
    draw = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 2, tuple(tokenizer.tiles.shape), generator=draw)
    tokenizer.tiles.copy_(2 * codes - 1)
    tokenizer.patches.copy_(patches)


def _nearest(points: Tensor, others: Tensor) -> Tensor:
    """Which of `others (n, dim)` is nearest to each of `points (..., dim)`: squared distances, less the point's own
    square, which is the same for all."""
    return (others.square().sum(-1) - 2 * points @ others.T).argmin(-1)
