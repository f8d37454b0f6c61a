"""A private X server for tests that need a real window: started on a free display, stopped when the session ends.

Use: `from tests.support.xvfb import xvfb_server, xvfb` (both, pytest finds fixtures by name) and ask for `xvfb`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

SCREEN = "1280x960x24"


def start_xvfb() -> tuple[subprocess.Popen[bytes], str]:
    """Start Xvfb on a display number it picks itself; returns the process and the display name (":7")."""
    read_end, write_end = os.pipe()
    # Without -noreset the server starts anew whenever its last window closes, and refuses clients meanwhile.
    options = ["-screen", "0", SCREEN, "-nolisten", "tcp", "-noreset", "+extension", "GLX"]
    command = ["Xvfb", "-displayfd", str(write_end), *options]
    server = subprocess.Popen(
        command, pass_fds=[write_end], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        number = pipe.readline().strip()  # blocks until the server is ready, ends empty if it dies
    if not number:
        server.wait()
        raise RuntimeError(f"Xvfb did not start: {' '.join(command)} exited with {server.returncode}")
    return server, f":{number}"


@pytest.fixture(scope="session")
def xvfb_server() -> Iterator[str]:
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed: window tests need a virtual X server (apt-get install xvfb)")
    server, display = start_xvfb()
    yield display
    server.terminate()
    server.wait(timeout=10)


@pytest.fixture
def xvfb(xvfb_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """DISPLAY points at the private server; SDL is closed again before the test ends."""
    import pygame

    monkeypatch.setenv("DISPLAY", xvfb_server)
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")  # the same rasteriser wherever the tests run
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    yield xvfb_server
    pygame.display.quit()  # Xlib ends the process if the server goes away under an open connection
