"""Paints a `Hud` as one RGBA picture of the window's size: layout, colours, fonts.

Uses pygame for its fonts only. Warnings differ in shape as well as in colour.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # the banner would spoil output meant for other programs

import pygame  # after the line above

from .hud import FRAME_HISTORY, Graph, HelpLine, Hud, KeyCap, Stats, help_columns

Colour: TypeAlias = tuple[int, int, int]

TEXT: Colour = (240, 243, 246)
QUIET: Colour = (160, 171, 182)
GOOD: Colour = (94, 214, 190)
WARN: Colour = (255, 176, 58)
RECORD: Colour = (255, 82, 82)
PANEL = (14, 18, 24, 186)
CAP = (46, 54, 64, 235)
EDGE = (255, 255, 255, 36)
ARROW_DEGREES = {"left": 180, "right": 0, "up": 90, "down": 270}
"""Degrees. Drawn, because pygame's built-in font has no arrows."""


class HudPainter:
    """`scale` enlarges everything (1.0: text follows the window's height)."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self._scale = scale
        self._unit = 0  # text height in px: everything is laid out in it
        self._size_px = (0, 0)
        pygame.font.init()
        self._text = lru_cache(maxsize=512)(self._render_text)
        self._font = lru_cache(maxsize=32)(lambda size: pygame.font.Font(None, size))

    def render(self, hud: Hud, size_px: tuple[int, int]) -> NDArray[np.uint8]:
        """A new (height, width, 4) uint8 array, straight alpha, for a window of `size_px` (width, height)."""
        width, height = max(1, size_px[0]), max(1, size_px[1])
        picture = np.zeros((height, width, 4), np.uint8)
        if min(size_px) < 48:  # nothing would be readable
            return picture
        unit = int(max(11, min(30, min(height / 40, width / 52) * self._scale)))
        self._unit, self._size_px = unit, (width, height)
        canvas = pygame.image.frombuffer(picture.data, (width, height), "RGBA")
        if hud.stats is not None:
            self._draw_stats(canvas, hud.stats)
        if hud.title or hud.prompt:
            self._draw_world(canvas, hud.title, hud.prompt)
        self._draw_pressed(canvas, hud.keys)
        if hud.recording:
            self._draw_recording(canvas)
        if hud.help is not None:
            self._draw_help(canvas, hud.help)
        if hud.paused:
            self._draw_paused(canvas)
        if hud.typed is not None:
            self._draw_prompt_line(canvas, hud.typed)
        if hud.message:
            self._draw_message(canvas, hud.message)
        return picture

    # --- parts ----------------------------------------------------------------------------------------------

    def _draw_stats(self, canvas: pygame.Surface, stats: Stats) -> None:
        unit = self._unit
        margin, pad = unit, int(unit * 0.9)
        width = min(unit * 19, self._size_px[0] - 2 * margin)
        graph_height = int(unit * 3.6)
        full = self._size_px[1] >= unit * 24  # a low window keeps the numbers and loses the graph
        height = pad * 2 + int(unit * 6.2) + (graph_height + unit if full else 0)
        self._panel(canvas, pygame.Rect(margin, margin, width, height))
        left, right, y = margin + pad, margin + width - pad, margin + pad

        big = self._write(canvas, stats.fps, left, y, size=2.1)
        self._write(canvas, "fps", big + unit // 3, y + int(unit * 0.85), QUIET)
        self._write_right(canvas, stats.response, right, y)
        self._write_right(canvas, stats.deadline, right, y + int(unit * 1.15), QUIET)
        y += int(unit * 2.5)

        after = self._draw_pips(canvas, stats, left, y)
        self._write(canvas, self._fit(stats.why, right - after - unit // 2), after + unit // 2, y, QUIET)
        y += int(unit * 1.5)
        if full:
            self._draw_graph(canvas, stats.graph, pygame.Rect(left, y, width - 2 * pad, graph_height))
            y += graph_height + unit
        self._labelled(canvas, "misses", stats.misses, left, y, warn=stats.warn)
        self._labelled(canvas, "held", stats.held, left + (width - 2 * pad) // 2, y)
        y += int(unit * 1.35)
        self._labelled(canvas, "input to screen", stats.input_to_screen, left, y)

    def _draw_pips(self, canvas: pygame.Surface, stats: Stats, left: int, y: int) -> int:
        """The quality ladder as pips, filled up to the rung in use; returns where the text after it ends."""
        if not stats.pips:
            return left
        size = int(self._unit * 0.62)
        for index, filled in enumerate(stats.pips):
            pip = rounded(size, size, size / 2, (*GOOD, 255) if filled else (0, 0, 0, 0), (*GOOD, 255))
            canvas.blit(pip, (left + index * int(size * 1.35), y + (self._unit - size) // 2 - 1))
        after = left + len(stats.pips) * int(size * 1.35) + self._unit // 3
        return self._write(canvas, stats.steps, after, y)

    def _draw_graph(self, canvas: pygame.Surface, graph: Graph, area: pygame.Rect) -> None:
        """Frame times, newest at the right; a bar over the deadline is amber, full width and wears a cap."""
        times, top_ms = graph.frame_ms, graph.top_ms
        canvas.fill((6, 9, 13, 222), area)
        pitch = area.width / FRAME_HISTORY
        for index, time_ms in enumerate(times):
            slot = FRAME_HISTORY - len(times) + index
            x, end = area.left + int(slot * pitch), area.left + int((slot + 1) * pitch)
            height = max(1, round(area.height * min(1.0, time_ms / top_ms)))
            late = graph.late(time_ms)
            bar_width = max(1, end - x - (0 if late else 1))
            canvas.fill((*(WARN if late else GOOD), 255), (x, area.bottom - height, bar_width, height))
            if late:
                cap = max(3, self._unit // 4)
                canvas.fill(
                    (*WARN, 255), (x + bar_width // 2 - cap, area.bottom - height, 2 * cap + 1, max(2, cap // 2))
                )
        if graph.deadline_ms:
            y = area.bottom - round(area.height * graph.deadline_ms / top_ms)
            dash = max(4, self._unit // 2)
            for x in range(area.left, area.right, dash):
                canvas.fill((*TEXT, 220), (x, y, min(dash // 2, area.right - x), 1))

    def _draw_world(self, canvas: pygame.Surface, title: str, prompt: str) -> None:
        """World, tick and prompt, bottom right: maps and scores of worlds are usually above."""
        if self._size_px[0] < self._unit * 34:
            return
        unit, pad = self._unit, int(self._unit * 0.9)
        prompt = self._fit(prompt, unit * 16)
        width = quantised(max(self._width(title), self._width(prompt)) + 2 * pad, unit)
        height = 2 * pad + int(unit * (2.4 if prompt else 1.0))
        left, top = self._size_px[0] - unit - width, self._size_px[1] - unit - height
        self._panel(canvas, pygame.Rect(left, top, width, height))
        self._write_right(canvas, title, left + width - pad, top + pad, QUIET)
        self._write_right(canvas, prompt, left + width - pad, top + pad + int(unit * 1.4))

    def _draw_recording(self, canvas: pygame.Surface) -> None:
        unit = self._unit
        width, height = int(unit * 5.2), int(unit * 2)
        above_the_world_px = int(unit * 4.8)
        top = self._size_px[1] - unit - above_the_world_px - height
        rect = pygame.Rect(self._size_px[0] - unit - width, top, width, height)
        self._panel(canvas, rect, radius=height / 2)
        dot = int(unit * 0.9)
        canvas.blit(rounded(dot, dot, dot / 2, (*RECORD, 255)), (rect.left + unit, rect.centery - dot // 2))
        self._write(canvas, "REC", rect.left + int(unit * 2.3), rect.centery - int(unit * 0.45))

    def _draw_paused(self, canvas: pygame.Surface) -> None:
        unit = self._unit
        label = self._text("PAUSED", int(unit * 1.9), TEXT)
        bar_width, bar_height = int(unit * 0.5), int(unit * 1.6)
        rect = pygame.Rect(0, 0, quantised(label.get_width() + int(unit * 5.2), 2), int(unit * 3.8))
        rect.center = (self._size_px[0] // 2, self._size_px[1] // 2)
        self._panel(canvas, rect, radius=unit * 1.2)
        x = rect.left + int(unit * 1.5)
        for offset in (0, int(bar_width * 1.7)):
            canvas.fill((*TEXT, 255), (x + offset, rect.centery - bar_height // 2, bar_width, bar_height))
        canvas.blit(label, (x + int(unit * 2.2), rect.centery - label.get_height() // 2 + 1))

    def _draw_pressed(self, canvas: pygame.Surface, keys: tuple[KeyCap, ...]) -> None:
        x, y = self._unit, self._size_px[1] - int(self._unit * 5.4)  # the lowest strip is left to a world's own gauges
        for key in keys:
            x = self._key_cap(canvas, key, x, y) + self._unit // 2

    def _draw_prompt_line(self, canvas: pygame.Surface, text: str) -> None:
        unit = self._unit
        width = min(unit * 36, self._size_px[0] - 2 * unit)
        rect = pygame.Rect((self._size_px[0] - width) // 2, self._size_px[1] - int(unit * 8.0), width, int(unit * 4.4))
        self._panel(canvas, rect, edge=(*GOOD, 200))
        left, room = rect.left + unit, width - int(unit * 2.6)
        while text and self._width(text, 1.35) > room:  # the end is what is being typed
            text = text[1:]
        end = self._write(canvas, text, left, rect.top + unit, size=1.35)
        canvas.fill((*GOOD, 255), (end + 2, rect.top + int(unit * 0.85), max(2, unit // 7), int(unit * 1.3)))
        hint = self._fit("describe the world     Enter: apply     Esc: cancel", width - 2 * unit)
        self._write(canvas, hint, left, rect.bottom - int(unit * 1.7), QUIET)

    def _draw_message(self, canvas: pygame.Surface, message: str) -> None:
        unit = self._unit
        message = self._fit(message, self._size_px[0] - unit * 4)
        width, height = quantised(self._width(message) + 2 * unit, 2), int(unit * 2.2)
        rect = pygame.Rect((self._size_px[0] - width) // 2, self._size_px[1] - int(unit * 6.2), width, height)
        self._panel(canvas, rect, radius=height / 2)
        self._write(canvas, message, rect.left + unit, rect.centery - int(unit * 0.45))

    def _draw_help(self, canvas: pygame.Surface, lines: tuple[HelpLine, ...]) -> None:
        """Controls and their meanings in columns, in smaller type where the window is small."""
        unit = self._unit
        while True:
            row, pad = int(self._unit * 2.3), int(self._unit * 1.6)
            head = int(self._unit * 2.4)
            columns = help_columns(lines, (self._size_px[1] - 2 * pad - head) // row)
            widths = [self._help_widths(column) for column in columns]
            inner = sum(cap + self._unit + text for cap, text in widths) + 2 * pad * (len(columns) - 1)
            inner = max(inner, self._width("Controls", 1.5))
            if self._unit <= 7 or inner + 2 * pad <= self._size_px[0]:
                break
            self._unit -= 1
        rows = max((len(column) for column in columns), default=0)
        rect = pygame.Rect(0, 0, inner + 2 * pad, rows * row + 2 * pad + head)
        rect.center = (self._size_px[0] // 2, self._size_px[1] // 2)
        self._panel(canvas, rect, fill=(*PANEL[:3], 232))
        self._write(canvas, "Controls", rect.left + pad, rect.top + pad, size=1.5)
        x = rect.left + pad
        for column, (cap_width, text_width) in zip(columns, widths, strict=True):
            for index, line in enumerate(column):
                y = rect.top + pad + head + index * row
                if line.key is not None:
                    self._key_cap(canvas, line.key, x, y)
                    self._write(canvas, line.text, x + cap_width + self._unit, y + int(self._unit * 0.6))
                else:
                    self._write(canvas, line.text, x, y + int(self._unit * 0.9), GOOD)
            x += cap_width + self._unit + text_width + 2 * pad
        self._unit = unit

    def _help_widths(self, column: tuple[HelpLine, ...]) -> tuple[int, int]:
        caps = (0 if line.key is None else self._cap_width(line.key) for line in column)
        return max(caps), max(self._width(line.text) for line in column)

    # --- pieces ---------------------------------------------------------------------------------------------

    def _panel(
        self,
        canvas: pygame.Surface,
        rect: pygame.Rect,
        *,
        radius: float | None = None,
        fill: tuple[int, int, int, int] = PANEL,
        edge: tuple[int, int, int, int] = EDGE,
    ) -> None:
        canvas.blit(rounded(rect.width, rect.height, radius or self._unit * 0.7, fill, edge), rect.topleft)

    def _key_cap(self, canvas: pygame.Surface, key: KeyCap, x: int, y: int) -> int:
        """A key with its label; returns its right edge."""
        unit = self._unit
        width, height = self._cap_width(key), int(unit * 2.0)
        canvas.blit(rounded(width, height, unit * 0.45, (0, 0, 0, 120)), (x, y + max(1, unit // 7)))  # its thickness
        canvas.blit(rounded(width, height, unit * 0.45, CAP, (255, 255, 255, 90)), (x, y))
        if key.arrow:
            draw_arrow(canvas, (x + width / 2, y + height / 2), unit * 0.42, ARROW_DEGREES[key.arrow])
        else:
            self._write(canvas, key.label, x + (width - self._width(key.label)) // 2, y + int(unit * 0.55))
        return x + width

    def _cap_width(self, key: KeyCap) -> int:
        unit = self._unit
        return unit * 2 if key.arrow else max(unit * 2, self._width(key.label) + unit)

    def _labelled(self, canvas: pygame.Surface, label: str, value: str, x: int, y: int, *, warn: bool = False) -> None:
        after = self._write(canvas, label, x, y, QUIET) + self._unit // 2
        after = self._write(canvas, value, after, y, WARN if warn else TEXT)
        if warn:  # a shape too: colour alone is not seen by everyone
            self._write(canvas, "!", after + self._unit // 4, y, WARN)

    def _render_text(self, text: str, size: int, colour: Colour) -> pygame.Surface:
        surface = self._font(text_px(size)).render(printable(text), True, colour)
        return pygame.transform.smoothscale(surface, (surface.get_width() // 2, surface.get_height() // 2))

    def _write(
        self, canvas: pygame.Surface, text: str, x: int, y: int, colour: Colour = TEXT, *, size: float = 1.0
    ) -> int:
        """Write with the top left corner at (x, y); returns the right edge."""
        if not text:
            return x
        surface = self._text(text, int(self._unit * size), colour)
        canvas.blit(surface, (x, y))
        return x + int(surface.get_width())

    def _write_right(self, canvas: pygame.Surface, text: str, right: int, y: int, colour: Colour = TEXT) -> None:
        self._write(canvas, text, right - self._width(text), y, colour)

    def _width(self, text: str, size: float = 1.0) -> int:
        return int(self._font(text_px(int(self._unit * size))).size(printable(text))[0]) // 2 if text else 0

    def _fit(self, text: str, width_px: int) -> str:
        """The text, shortened with an ellipsis if it is wider than that."""
        if self._width(text) <= width_px:
            return text
        while text and self._width(text + "…") > width_px:
            text = text[:-1]
        return text + "…" if text else ""


def printable(text: str) -> str:
    """The text with a space for each control character: prompts and messages come from outside."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def quantised(width_px: int, unit_px: int) -> int:
    """Rounded up, so that a panel does not tremble with every digit that changes."""
    return -(-width_px // unit_px) * unit_px


def text_px(size_px: int) -> int:
    """The font size for text of that height: twice as large, to be halved, because small sizes are spaced unevenly."""
    return int(size_px * 2.9)


@lru_cache(maxsize=256)
def rounded(
    width: int,
    height: int,
    radius: float,
    fill: tuple[int, int, int, int],
    edge: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> pygame.Surface:
    """A rounded rectangle with smooth edges and a one-pixel border, computed from its distance field.

    The surface is shared: not to be drawn on.
    """
    radius = min(radius, width / 2, height / 2)
    x = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius)
    y = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius)
    outside = np.hypot(np.maximum(x, 0)[None, :], np.maximum(y, 0)[:, None])
    distance = outside + np.minimum(np.maximum(x[None, :], y[:, None]), 0) - radius  # negative inside
    cover = np.clip(0.5 - distance, 0, 1)
    border = np.clip(1.5 + distance, 0, 1) * (edge[3] / 255)
    alpha = border + fill[3] / 255 * (1 - border)
    pixels = np.empty((height, width, 4), np.uint8)
    for channel in range(3):
        mixed = edge[channel] * border + fill[channel] * (fill[3] / 255) * (1 - border)
        pixels[..., channel] = np.round(mixed / np.maximum(alpha, 1e-6))
    pixels[..., 3] = np.round(255 * alpha * cover)
    return pygame.image.frombytes(pixels.tobytes(), (width, height), "RGBA")


def draw_arrow(canvas: pygame.Surface, centre: tuple[float, float], size: float, degrees: float) -> None:
    """A filled triangle that points to `degrees` (0 right, 90 up)."""
    turn = np.deg2rad(degrees)
    points = []
    for x, y in ((1.0, 0.0), (-0.7, 0.95), (-0.7, -0.95)):
        points.append(
            (
                centre[0] + size * (x * np.cos(turn) + y * np.sin(turn)),
                centre[1] - size * (x * np.sin(turn) - y * np.cos(turn)),
            )
        )
    pygame.draw.polygon(canvas, TEXT, points)
    pygame.draw.aalines(canvas, TEXT, True, points)
