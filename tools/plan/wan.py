"""Profiles from first principles: Wan 2.1 video models of 1.3B and 14B parameters as StreamDiffusionV2 runs them.

Operations and bytes are counted; one number is fitted. Layer shapes are those of the published configurations of Wan
2.1; the autoencoder's are of its published decoder and encoder. A multiply and an add count as two operations. Every
time is `operations / (peak rate * utilisation)`, for transformer and autoencoder alike, or the time to read the weights
where that is longer; starting kernels, the host and the camera cost nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

from .hardware import CHIPS, GB
from .profile import Cost, Profile, Sizes, StageCosts

BF16_BYTES = 2
FRAMES_PER_LATENT = 4
TEXT_TOKENS = 512
HISTORY_LATENTS = 6
"""What a latent attends to, itself included: `num_kv_cache` of StreamDiffusionV2's video-to-video configuration."""
LATENT_CHANNELS = 16
UTILISATION = 0.1464
"""Share of the H100's dense bf16 rate, fitted on one figure: 64.52 FPS of the 1.3B model on four H100s at 512x512 with
one denoise step. `nextframe.tools.lab.plan.article` fits it again, and predicts the other figures with it."""


@dataclass(frozen=True)
class WanShape:
    layers: int
    width: int
    mlp_width: int


SHAPES = {"wan-1.3b": WanShape(30, 1536, 8960), "wan-14b": WanShape(40, 5120, 13824)}
SQUARE_PX, WIDE_PX = (512, 512), (480, 832)
"""Height and width of the two published cases."""


def tokens_of(height_px: int, width_px: int) -> int:
    """Of one latent: the autoencoder shrinks by 8, patches are 2x2."""
    return (height_px // 16) * (width_px // 16)


def layer_weights(shape: WanShape) -> int:
    """Parameters of a layer: self- and cross-attention, four matrices each, and the MLP. Modulation is left out."""
    return 8 * shape.width**2 + 2 * shape.width * shape.mlp_width


def layer_flop(shape: WanShape, tokens: int) -> float:
    """One layer over one latent. Text keys and values are cached, so cross-attention has two matrices to do."""
    products = 2 * (6 * shape.width**2 + 2 * shape.width * shape.mlp_width)
    attention = 4 * shape.width * (HISTORY_LATENTS * tokens + TEXT_TOKENS)
    return float(tokens * (products + attention))


def _conv(kernel: int, wide_in: int, wide_out: int) -> float:
    """Operations of a convolution per place of its output."""
    return 2.0 * kernel * wide_in * wide_out


def _residual(wide_in: int, wide_out: int) -> float:
    """Two 3x3x3 convolutions, and a 1x1x1 one beside them where the width changes."""
    beside = _conv(1, wide_in, wide_out) if wide_in != wide_out else 0.0
    return _conv(27, wide_in, wide_out) + _conv(27, wide_out, wide_out) + beside


def decode_flop(height_px: int, width_px: int) -> float:
    """One latent to four pictures: three residual blocks at each of four sizes, doubling the picture between them."""
    pixels = height_px * width_px
    at_8 = _conv(27, LATENT_CHANNELS, 384) + 2 * _residual(384, 384) + 3 * _residual(384, 384) + _conv(3, 384, 768)
    at_4 = _conv(9, 384, 192) + _residual(192, 384) + 2 * _residual(384, 384) + _conv(3, 384, 768)
    at_2 = _conv(9, 384, 192) + 3 * _residual(192, 192)
    at_1 = _conv(9, 192, 96) + 3 * _residual(96, 96) + _conv(27, 96, 3)
    return pixels * (at_8 / 64 + 2 * at_4 / 16 + 4 * at_2 / 4 + 4 * at_1)


def encode_flop(height_px: int, width_px: int) -> float:
    """Four pictures to one latent: two residual blocks at each size."""
    pixels = height_px * width_px
    at_1 = _conv(27, 3, 96) + 2 * _residual(96, 96)
    at_2 = _conv(9, 96, 96) + _residual(96, 192) + _residual(192, 192)
    at_4 = _conv(9, 192, 192) + (_conv(3, 192, 192) + _residual(192, 384) + _residual(384, 384)) / 2
    at_8 = 2 * _conv(9, 384, 384) + _conv(3, 384, 384) + 4 * _residual(384, 384) + _conv(27, 384, 32)
    return pixels * (4 * at_1 + 4 * at_2 / 4 + 4 * at_4 / 16 + at_8 / 64)


def _remembered_bytes(picture_px: tuple[int, int], *, at_1: int, at_2: int, at_4: int, at_8: int) -> int:
    """What the autoencoder's causal convolutions keep of a session: the last two steps of all their inputs, given as
    channels at each size of the picture."""
    pixels = picture_px[0] * picture_px[1]
    return round(2 * BF16_BYTES * pixels * (at_1 + at_2 / 4 + at_4 / 16 + at_8 / 64))


def wan_profile(
    name: str,
    picture_px: tuple[int, int] = SQUARE_PX,
    *,
    denoise_steps: int = 1,
    utilisation: float = UTILISATION,
    chip: str = "h100",
) -> Profile:
    """`name`: a key of `SHAPES`. Video-to-video with history of the same noise level, so there is no commit pass."""
    shape, device, tokens = SHAPES[name], CHIPS[chip], tokens_of(*picture_px)
    flop_per_ms = device.bf16_tflops * 1e9 * utilisation

    def cost(flop: float, weights_bytes: float) -> Cost:
        return Cost(row_ms=flop / flop_per_ms, floor_ms=weights_bytes / (device.memory_gb_s * 1e6))

    weights_bytes = layer_weights(shape) * BF16_BYTES
    autoencoder_bytes = 127_000_000 * BF16_BYTES
    return Profile(
        name=name,
        source=f"first principles: operations over {100 * utilisation:.1f} % of {device.bf16_tflops:g} bf16 TFLOP/s, "
        f"{picture_px[1]}x{picture_px[0]} px",
        device=chip,
        device_memory_bytes=round(device.memory_gb * GB),
        layers=shape.layers,
        denoise_steps=denoise_steps,
        frames_per_latent=FRAMES_PER_LATENT,
        frame_hz=16.0,
        history="same_level",
        costs=StageCosts(
            encode=cost(encode_flop(*picture_px), 0),
            layer=cost(layer_flop(shape, tokens), weights_bytes),
            decode=cost(decode_flop(*picture_px), 0),
        ),
        sizes=Sizes(
            hop_row_bytes=tokens * shape.width * BF16_BYTES,
            latent_row_bytes=LATENT_CHANNELS * 4 * tokens * BF16_BYTES,
            layer_weights_bytes=weights_bytes,
            front_weights_bytes=autoencoder_bytes // 2,
            decode_weights_bytes=autoencoder_bytes // 2,
            # Keys and values of the history, and of the text.
            kv_layer_bytes=2 * (HISTORY_LATENTS * tokens + TEXT_TOKENS) * shape.width * BF16_BYTES,
            session_bytes=_remembered_bytes(picture_px, at_1=3 + 4 * 96, at_2=672, at_4=1536, at_8=10 * 384),
            decode_session_bytes=_remembered_bytes(
                picture_px, at_1=7 * 96, at_2=6 * 192, at_4=2496, at_8=16 + 11 * 384
            ),
            work_row_bytes=4 * tokens * (shape.width + shape.mlp_width) * BF16_BYTES,
        ),
    )


def built_in(name: str) -> Profile | None:
    """`wan-1.3b`, `wan-14b` at 512x512, or with `-480p` at 832x480."""
    base, _, size = name.partition("-480p")
    if base not in SHAPES or size:
        return None
    profile = wan_profile(base, WIDE_PX if name.endswith("-480p") else SQUARE_PX)
    return profile.model_copy(update={"name": name})


BUILT_IN = tuple(name + size for name in SHAPES for size in ("", "-480p"))
