"""Names of keys: by place on the keyboard, whatever layout is set, and by what the layout prints there.

A control such as `key:w` is a place: the key that carries W on a US keyboard, under AZERTY the one marked Z. Places are
SDL scancodes, which are USB usage numbers. What is printed there is only for people to read.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # the banner would spoil output meant for other programs

import pygame  # after the line above

PUNCTUATION = {
    ".": "period", ",": "comma", ";": "semicolon", "'": "quote", "`": "backquote", "/": "slash", "\\": "backslash",
    "-": "minus", "=": "equals", "+": "plus", "*": "asterisk", "[": "left_bracket", "]": "right_bracket",
    "<": "less", ">": "greater", "#": "hash",
}  # fmt: skip
FIRST_LETTER_PLACE = 4
PLACES_IN_A_ROW = "abcdefghijklmnopqrstuvwxyz1234567890"
"""The printable keys of scancodes 4 to 39, in their order."""
OTHER_PRINTABLE_PLACES = {
    45: "minus", 46: "equals", 47: "left_bracket", 48: "right_bracket", 49: "backslash", 51: "semicolon", 52: "quote",
    50: "backslash", 53: "backquote", 54: "comma", 55: "period", 56: "slash", 100: "iso_backslash",
}  # fmt: skip
"""50 is the same key as 49, beside Return on European keyboards; 100 lies between their left shift and Z."""
PLACE_COUNT = 512
SCANCODE_MASK = 1 << 30
"""SDL's code of a key that prints nothing is its scancode with this bit."""
LAST_CHARACTER = 0x3100
"""Layouts print characters below this: Latin to Georgian, Thai and kana; ideographs are composed, not printed."""


def key_control(key: int) -> str:
    """The name of a pygame key code, by what it prints: `key:w`, `key:left`, `key:keypad_plus`; "" if unknown."""
    name = pygame.key.name(key) or pygame.key.name(key, use_compat=False).lower()
    if not name:
        return ""
    prefix = ""
    if len(name) > 2 and name[0] == "[" and name[-1] == "]":  # pygame writes keypad keys as [1] and [+]
        prefix, name = "keypad_", name[1:-1]
    return "key:" + prefix + PUNCTUATION.get(name, name).replace(" ", "_")


def place_control(scancode: int) -> str:
    """The name of a place: `key:w` is where a US keyboard has W. "" for a number that stands for none."""
    if not 0 < scancode < PLACE_COUNT:
        return ""
    at = scancode - FIRST_LETTER_PLACE
    if 0 <= at < len(PLACES_IN_A_ROW):
        return "key:" + PLACES_IN_A_ROW[at]
    if scancode in OTHER_PRINTABLE_PLACES:
        return "key:" + OTHER_PRINTABLE_PLACES[scancode]
    spoken = {pygame.KSCAN_RETURN: "return", pygame.KSCAN_ESCAPE: "escape", pygame.KSCAN_BACKSPACE: "backspace",
               pygame.KSCAN_TAB: "tab", pygame.KSCAN_SPACE: "space", pygame.KSCAN_DELETE: "delete"}  # fmt: skip
    if scancode in spoken:
        return "key:" + spoken[scancode]
    return key_control(scancode | SCANCODE_MASK) or f"key:scancode_{scancode}"


def _places() -> dict[str, int]:
    """Name to scancode. Made anew each time: pygame knows no names before its display is initialised."""
    named = ((place_control(scancode), scancode) for scancode in range(PLACE_COUNT - 1, 0, -1))
    return {name: scancode for name, scancode in named if name}


class Layout:
    """What the keyboard layout in use prints at each place. `read` again when SDL says that it has changed."""

    def __init__(self) -> None:
        self._places = _places()
        self._printed: dict[int, int] = {}
        self.read()

    def read(self) -> None:
        """Ask SDL for the place of every character; there is no call for the other way."""
        place_of: Any = pygame.key.ScancodeWrapper
        places = place_of(tuple(range(PLACE_COUNT)))  # indexed by key code, answers by scancode; stubs say bool
        self._printed = {}
        for key in range(32, LAST_CHARACTER):
            if place := int(places[key]):
                self._printed.setdefault(place, key)

    def printed(self, control: str) -> str:
        """The control named as its key is marked: `key:w` is `key:z` under AZERTY. Others are returned unchanged."""
        scancode = self._places.get(control)
        key = self._printed.get(scancode) if scancode is not None else None
        name = key_control(key) if key is not None else ""
        return name or control

    def is_place(self, control: str) -> bool:
        """False for a name that no key has by its place: a character such as `key:é`."""
        return control in self._places
