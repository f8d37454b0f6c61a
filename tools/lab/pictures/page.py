"""Pictures of a page in a real browser: to look at, and for the docs.

python -m nextframe.tools.lab.pictures.page out/report.html docs/report.png --width 1280 [--dark] [--height 1500]

Needs the package playwright and a Chromium or Chrome on the path; both are wanted only here and in one slow test.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from ....runtime.core import NextframeError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_path() -> str | None:
    """The first browser on the path that playwright can drive, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def take(page_path: Path, picture: Path, *, width_px: int, height_px: int | None, dark: bool) -> None:
    """Save the page as PNG, from the top down to `height_px` (None: all of it)."""
    from playwright.sync_api import sync_playwright

    browser_file = browser_path()
    if browser_file is None:
        raise NextframeError(f"expected a browser on the path, one of {', '.join(BROWSERS)}; got none: install one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_file, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": width_px, "height": height_px or 900}, color_scheme="dark" if dark else "light"
        )
        page.goto(page_path.resolve().as_uri())
        page.screenshot(path=picture, full_page=height_px is None)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, help="cut here; the whole page if not given")
    parser.add_argument("--dark", action="store_true")
    arguments = parser.parse_args()
    take(arguments.page, arguments.picture, width_px=arguments.width, height_px=arguments.height, dark=arguments.dark)


if __name__ == "__main__":
    main()
