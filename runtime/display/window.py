"""The desktop window: an OpenGL surface, and the events of keyboard, mouse and gamepads put into the input latch.

Everything SDL: the window, text entry, gamepad hot-plug, focus. Keys are controls by their place on the keyboard
(`devices.keys`), and letters while a prompt is typed.

Use it on one thread only, the one that made it (SDL's rule). Event times are the time `pump` took the event.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # the banner would spoil output meant for other programs

import pygame  # after the line above

from ..core import Clock, DisplayError, MonotonicClock
from ..tick.latch import DESK, InputLatch
from .devices.keys import Layout, key_control, place_control
from .devices.pads import PAD_AXES, PAD_AXIS_MAX, PAD_BUTTONS, Pads, device_key

PROMPT_COMMAND = "prompt"
"""The command that opens text entry. It comes back as `prompt:<text>` when Enter is pressed."""
DEFAULT_TEXT_CONTROL = "key:t"
CHARACTER = "char:"
"""Before the name of a key that is bound by what it prints, wherever the layout has it."""
DESKTOP_SHARE = 2 / 3
UNSEEN_DRIVERS = frozenset({"offscreen", "dummy", "evdev"})
"""SDL video drivers that open a 'window' that cannot be seen: reported as no display."""

HELD_COMMANDS = ("rewind",)
"""Commands that last as long as their key: its release comes as `RELEASED + command`."""
RELEASED = "release:"
MOUSE_BUTTONS = {1: "mouse:left", 2: "mouse:middle", 3: "mouse:right", 6: "mouse:x1", 7: "mouse:x2"}
"""SDL's numbers; 4 and 5 are old-style wheel clicks, which arrive as `mouse:wheel` instead."""


def integer_scale(desktop_px: tuple[int, int], frame_px: tuple[int, int]) -> int:
    """The largest whole scale at which the frame fits in about two thirds of the desktop; at least 1."""
    return max(1, min(int(d * DESKTOP_SHARE) // f for d, f in zip(desktop_px, frame_px, strict=True)))


class Window:
    """A resizable window with a current OpenGL 3.3 core context.

    `frame_size_px` is (width, height); `scale` multiplies it (None: what fits about two thirds of the desktop).
    `commands` maps control names to command names ("key:p" -> "pause"): such controls never reach the latch. Key T
    opens text entry unless `commands` gives `key:t` another meaning. `bound`: the controls that the world's actions and
    prompts are bound to; of keys, those among them that are no place on a keyboard (`key:é`, `char:z`) are heard by
    character. Raises DisplayError if no window can be opened.
    """

    def __init__(
        self,
        title: str,
        frame_size_px: tuple[int, int],
        *,
        latch: InputLatch,
        commands: Mapping[str, str],
        bound: Collection[str] = (),
        vsync: bool = True,
        scale: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._latch = latch
        self._commands = {DEFAULT_TEXT_CONTROL: PROMPT_COMMAND, **commands}
        self._clock = clock or MonotonicClock()
        self._text: str | None = None
        self._max_text_chars = 0
        self._triggered: list[str] = []
        self._held_commands: dict[str, set[tuple[str, str]]] = {}  # which controls, of which device, hold them
        self._open = True
        self.vsync = _open_window(title, frame_size_px, vsync, scale)
        self._layout = Layout()
        by_name = (c for c in (*commands, *bound) if c.startswith((CHARACTER, "key:")))
        self._characters = frozenset(c for c in by_name if not self._layout.is_place(c))
        self._down: dict[int, str] = {}  # by scancode, for the layout may change while a key is held
        self._pads = Pads((*commands, *bound))
        pygame.key.stop_text_input()  # otherwise the key that opens the prompt is also its first letter
        self._handlers: dict[int, Callable[[Any], None]] = {
            pygame.QUIT: lambda event: self._triggered.append("quit"),
            pygame.KEYDOWN: self._on_key_down,
            pygame.KEYUP: self._on_key_up,
            pygame.KEYMAPCHANGED: lambda event: self._layout.read(),
            pygame.TEXTINPUT: self._on_text,
            pygame.MOUSEBUTTONDOWN: lambda event: self._press(MOUSE_BUTTONS.get(event.button, "")),
            pygame.MOUSEBUTTONUP: lambda event: self._release(MOUSE_BUTTONS.get(event.button, "")),
            pygame.MOUSEMOTION: self._on_mouse_motion,
            pygame.MOUSEWHEEL: lambda event: self._move("mouse:wheel", float(event.y)),
            pygame.WINDOWFOCUSLOST: lambda event: self._let_go(),
            pygame.WINDOWMINIMIZED: lambda event: self._let_go(),
            pygame.CONTROLLERBUTTONDOWN: lambda event: self._press(_pad_button(event.button), _device(event)),
            pygame.CONTROLLERBUTTONUP: lambda event: self._release(_pad_button(event.button), _device(event)),
            pygame.CONTROLLERAXISMOTION: self._on_pad_axis,
            pygame.CONTROLLERDEVICEADDED: lambda event: self._pads.add_gamepad(event.device_index),
            pygame.JOYDEVICEADDED: lambda event: self._pads.add_any(event.device_index),
            pygame.JOYDEVICEREMOVED: self._on_device_removed,
            pygame.JOYAXISMOTION: self._on_raw_axis,
            pygame.JOYBUTTONDOWN: lambda event: self._turn_raw(event, f"button_{event.button}", True),
            pygame.JOYBUTTONUP: lambda event: self._turn_raw(event, f"button_{event.button}", False),
            pygame.JOYHATMOTION: self._on_hat,
        }

    # --- events ---------------------------------------------------------------------------------------------

    def pump(self) -> list[str]:
        """Move all waiting events into the latch. Returns the commands triggered, in order, "quit" included."""
        for event in pygame.event.get():
            handler = self._handlers.get(event.type)
            if handler is not None:
                handler(event)
        triggered, self._triggered = self._triggered, []
        return triggered

    def take_notices(self) -> list[str]:
        """What the player should be told about devices, oldest first; each once."""
        taken, self._pads.notices = self._pads.notices, []
        return taken

    def _press(self, control: str, device: str = DESK) -> None:
        command = self._commands.get(control)
        if command == PROMPT_COMMAND:
            self.begin_text()
        elif command is not None:
            if command not in self._held_commands:
                self._triggered.append(command)
            if command in HELD_COMMANDS:
                self._held_commands.setdefault(command, set()).add((device, control))
        elif control:
            self._latch.press(control, self._clock.now_ns(), device=device)

    def _release(self, control: str, device: str = DESK) -> None:
        command = self._commands.get(control)
        if command in self._held_commands:
            self._let_go_of_command(command, {(device, control)})
        elif control and command is None:
            self._latch.release(control, self._clock.now_ns(), device=device)

    def _let_go_of_command(self, command: str, holds: set[tuple[str, str]]) -> None:
        """A held command ends when the last control that holds it comes up."""
        self._held_commands[command] -= holds
        if not self._held_commands[command]:
            del self._held_commands[command]
            self._triggered.append(RELEASED + command)

    def _let_go(self) -> None:
        """Of everything: what is released while the window is not looking is never told."""
        self._latch.release_all()
        for command, holds in list(self._held_commands.items()):
            self._let_go_of_command(command, set(holds))

    def _move(self, axis: str, value: float, device: str = DESK) -> None:
        self._latch.move(axis, value, self._clock.now_ns(), device=device)

    def _on_mouse_motion(self, event: Any) -> None:
        for axis, pixels in zip(("mouse:dx", "mouse:dy"), event.rel, strict=True):
            if pixels:
                self._move(axis, float(pixels))

    def _on_pad_axis(self, event: Any) -> None:
        if event.axis < len(PAD_AXES):
            self._move("pad:" + PAD_AXES[event.axis], max(-1.0, event.value / PAD_AXIS_MAX), _device(event))

    def _on_raw_axis(self, event: Any) -> None:
        for control in self._pads.raw_controls(event.instance_id, f"axis_{event.axis}"):
            self._move(control, max(-1.0, min(1.0, event.value)), _device(event))

    def _turn_raw(self, event: Any, part: str, down: bool) -> None:
        turn = self._press if down else self._release
        for control in self._pads.raw_controls(event.instance_id, part):
            turn(control, _device(event))

    def _on_hat(self, event: Any) -> None:
        for part, down in self._pads.hat_turns(event.instance_id, event.hat, event.value):
            self._turn_raw(event, part, down)

    def _on_device_removed(self, event: Any) -> None:
        """What it held is let go, what others hold stays held."""
        self._pads.remove(event.instance_id)
        self._latch.release_all(device=_device(event))
        for command, holds in list(self._held_commands.items()):
            self._let_go_of_command(command, {hold for hold in holds if hold[0] == _device(event)})

    # --- text entry -----------------------------------------------------------------------------------------

    @property
    def text_being_typed(self) -> str | None:
        """What stands in the prompt line, or None when it is closed."""
        return self._text

    def begin_text(self, initial: str = "", *, max_chars: int = 120) -> None:
        """Open the prompt line: keys type until Enter (command `prompt:<text>`) or Escape. Held keys are let go."""
        for by in ("key:", CHARACTER):
            self._latch.release_all(by)
        self._text = initial[:max_chars]
        self._max_text_chars = max_chars
        pygame.key.start_text_input()
        pygame.key.set_repeat(400, 40)  # so that holding Backspace deletes; ms

    def _end_text(self) -> None:
        self._text = None
        pygame.key.stop_text_input()
        pygame.key.set_repeat()

    def _on_key_down(self, event: Any) -> None:
        if self._text is None:
            control = self._down[_place(event)] = self._control_of(event)
            self._press(control)
        elif event.key == pygame.K_ESCAPE:
            self._end_text()
        elif event.key == pygame.K_BACKSPACE:
            self._text = self._text[:-1]
        elif event.key in (pygame.K_RETURN, pygame.K_KP_ENTER):
            if self._text.strip():
                self._triggered.append(f"{PROMPT_COMMAND}:{self._text.strip()}")
            self._end_text()

    def _on_key_up(self, event: Any) -> None:
        self._release(self._down.pop(_place(event), "") or self._control_of(event))

    def _control_of(self, event: Any) -> str:
        """The key by its character where a binding asks for that, else by its place."""
        name = key_control(event.key)
        for control in (CHARACTER + name.removeprefix("key:"), name):
            if control in self._characters:
                return control
        return place_control(_place(event)) or name

    def printed(self, control: str) -> str:
        """The control under the name that the player's keyboard has on its key: `key:w` is `key:z` under AZERTY."""
        return self._layout.printed(control)

    def _on_text(self, event: Any) -> None:
        if self._text is not None and event.text.isprintable():
            self._text = (self._text + event.text)[: self._max_text_chars]

    # --- surface --------------------------------------------------------------------------------------------

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the drawable now; the user may change it at any time, down to nothing."""
        width, height = pygame.display.get_window_size()
        return width, height

    def flip(self) -> None:
        """Show what was drawn. With vsync this may wait for the screen."""
        pygame.display.flip()

    def capture_mouse(self, captured: bool) -> None:
        """Hide and hold the pointer, so that relative motion never runs into the screen's edge."""
        pygame.event.set_grab(captured)
        pygame.mouse.set_visible(not captured)

    def close(self) -> None:
        """Let go of all controls and close the window. A second call does nothing."""
        if self._open:
            self._open = False
            self._latch.release_all()
            self._pads.close()
            pygame.display.quit()

    def __enter__(self) -> Window:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _place(event: Any) -> int:
    """The scancode; 0 where a program made the event and gave none."""
    return int(event.dict.get("scancode", 0))


def _device(event: Any) -> str:
    return device_key(event.instance_id)


def _pad_button(number: int) -> str:
    return "pad:" + PAD_BUTTONS[number] if number < len(PAD_BUTTONS) else ""


def _open_window(title: str, frame_size_px: tuple[int, int], vsync: bool, scale: int | None) -> bool:
    """Open the window; returns whether it waits for vertical sync, which a driver may refuse."""
    try:
        pygame.display.init()
        if pygame.display.get_driver() in UNSEEN_DRIVERS:
            raise _no_display(f"SDL offers only its '{pygame.display.get_driver()}' driver")
        for attribute, value in (
            (pygame.GL_CONTEXT_MAJOR_VERSION, 3),
            (pygame.GL_CONTEXT_MINOR_VERSION, 3),
            (pygame.GL_CONTEXT_PROFILE_MASK, pygame.GL_CONTEXT_PROFILE_CORE),
            (pygame.GL_CONTEXT_FLAGS, pygame.GL_CONTEXT_FORWARD_COMPATIBLE_FLAG),  # macOS gives no core profile without
        ):
            pygame.display.gl_set_attribute(attribute, value)
        scale = scale or integer_scale(pygame.display.get_desktop_sizes()[0], frame_size_px)
        size_px = (frame_size_px[0] * scale, frame_size_px[1] * scale)
        vsync = _set_mode(size_px, vsync)
        pygame.display.set_caption(title)
        return vsync
    except pygame.error as error:
        pygame.display.quit()
        raise _no_display(f"SDL says '{error}'") from error
    except DisplayError:
        pygame.display.quit()
        raise


def _set_mode(size_px: tuple[int, int], vsync: bool) -> bool:
    flags = pygame.OPENGL | pygame.DOUBLEBUF | pygame.RESIZABLE
    if vsync:
        try:
            pygame.display.set_mode(size_px, flags, vsync=1)
        except pygame.error:  # no vertical sync here (virtual and remote displays): the loop's clock paces alone
            vsync = False
    if not vsync:
        pygame.display.set_mode(size_px, flags, vsync=0)
    return vsync


def _no_display(got: str) -> DisplayError:
    shown = " ".join(f"{name}={os.environ.get(name, '(unset)')}" for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return DisplayError(
        f"cannot open a window: expected a desktop with OpenGL 3.3, got none ({got}; {shown}); "
        "start it from a desktop session, or run headless with `nextframe run`"
    )
