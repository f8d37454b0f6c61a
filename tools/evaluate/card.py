"""Write a world's evaluation into its model card, between the card's markers.

python -m nextframe.tools.evaluate.card WORLD
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...runtime.core import NextframeError
from ...runtime.session.registry import find_world

BEGIN, END = "<!-- eval: written by tools/evaluate/card.py -->", "<!-- /eval -->"


def put_between(text: str, block: str, source: str) -> str:
    """`text` with what stands between the markers replaced. NextframeError where there are none."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise NextframeError(f"{source}: expected {BEGIN} and {END}, got no such place; put them where it belongs")
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def write_card(name: str) -> Path:
    """Returns the card's path. NextframeError for a world without gates of its own, ConfigError for an unknown one."""
    found = find_world(name)
    if found.kind.gates is None:
        raise NextframeError(f"{name}: expected a world with gates of its own, got none; see its eval.json")
    report = json.loads((found.path / "eval.json").read_text(encoding="utf-8"))
    card = found.path / "MODEL_CARD.md"
    card.write_text(put_between(card.read_text(encoding="utf-8"), found.kind.gates().card(report), str(card)), "utf-8")
    return card


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextframe.tools.evaluate.card", description=(__doc__ or "")[:78])
    parser.add_argument("world")
    print(f"{write_card(parser.parse_args().world)}: written")


if __name__ == "__main__":
    main()
