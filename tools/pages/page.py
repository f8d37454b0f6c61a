"""The shell of every page: one self-contained HTML document that loads nothing.

A page's template extends `shell.html` and fills its blocks; macros for cards, tables and lists are in `parts.html`.
Names, reasons and evidence are foreign text, so everything is escaped, and a content security policy keeps a page from
loading anything even if something slipped through.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...runtime.core import NextframeError
from . import words

HERE = Path(__file__).parent
STYLE, TEMPLATE, SCRIPT = "style.css", "template.html", "script.js"


def render(folder: Path, *, command: str, schema: str, **named: Any) -> str:
    """The page as text: `folder`'s template.html in the shell, with page.css, then the folder's style.css and script.js
    where it has them. `named`: everything else that the template names; a name without a value is an error.

    `command` and `schema` stand in the footer: what drew the page, from which document.
    """
    context = {
        "command": command,
        "schema": schema,
        "style": Markup((HERE / "page.css").read_text(encoding="utf-8") + _text_of(folder / STYLE)),
        "script": Markup(_text_of(folder / SCRIPT)),
        **named,
    }
    return _environment(folder).get_template(TEMPLATE).render(context) + "\n"


def write(text: str, path: Path) -> Path:
    """Write a page and return `path`. NextframeError: the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NextframeError(f"{path}: expected a place to write the page: {error.strerror}") from error
    return path


def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Data for scripts keep the order they are given in; and six thousand points need no spaces.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters.update(
        shown=words.shown, percent=words.percent, whole=words.whole, byte_size=words.byte_size, plural=words.plural
    )
    return environment


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
