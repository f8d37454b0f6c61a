"""`python -m nextframe.tools.lab.prompts.compare`: the vocabulary and the sentence encoder on 200 phrasings, as a
table.

The threshold is chosen on the 60 calibration phrasings (`--calibrate`), read with their own words taken out of the
examples; the table is of the 140 others. Exit code 2 without the extra.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ....runtime.session.registry import find_world
from ....worlds.prompts.encoder import HOW_TO_INSTALL, PhraseVectors, load_vectors, package_folder
from .phrasings import FILE, GROUPS, Phrasing, load_phrasings
from .readers import (
    Reader,
    encoder_reader,
    negation_reader,
    shipped_reader,
    shuffled,
    unseen_words_reader,
    vocabulary_reader,
)

SHIPPED_WITHOUT = "shipped, without the extra: and listed examples"
SHIPPED = "shipped: and the encoder"
UNSEEN = "vocabulary and encoder, its words in no example"
SWEEP = tuple(round(0.05 + 0.02 * step, 2) for step in range(19))


@dataclass(frozen=True)
class Score:
    """Shares in 0..1 of the phrasings that are read as expected: a group, "not said" included, or both groups.

    `missed`: groups spoken of and not read. `wrong`: read as another word. `invented`: read and not spoken of.
    """

    phrasings: int
    weather: float
    time: float
    both: float
    missed: int
    wrong: int
    invented: int

    @property
    def cost(self) -> int:
        """A miss is reported and costs the player another try; a wrong word changes the world, and counts for two."""
        return self.missed + 2 * (self.wrong + self.invented)


def score(reader: Reader, phrasings: Sequence[Phrasing]) -> Score:
    right: dict[str, int] = dict.fromkeys((*GROUPS, "both"), 0)
    missed = wrong = invented = 0
    for phrasing in phrasings:
        read = reader(phrasing.text)
        right["both"] += dict(read) == phrasing.expected
        for group in GROUPS:
            said, expected = read.get(group), phrasing.expected.get(group)
            right[group] += said == expected
            missed += expected is not None and said is None
            wrong += expected is not None and said not in (None, expected)
            invented += expected is None and said is not None
    share = {name: count / len(phrasings) for name, count in right.items()}
    return Score(len(phrasings), share["weather"], share["time"], share["both"], missed, wrong, invented)


def readers(world: str, folder: Path, vectors: PhraseVectors) -> dict[str, Reader]:
    """Name -> reader, in the order of the table."""
    found = find_world(world)
    groups, synonyms = found.spec.action_space().prompts, found.synonyms
    return {
        "vocabulary": vocabulary_reader(groups, synonyms),
        "vocabulary, negation heard": negation_reader(groups, synonyms),
        SHIPPED_WITHOUT: shipped_reader(groups, synonyms, Path("no such folder")),
        SHIPPED: shipped_reader(groups, synonyms, folder),
        "vocabulary and encoder": encoder_reader(groups, synonyms, vectors),
        UNSEEN: unseen_words_reader(groups, synonyms, vectors),
        "the same, vectors shuffled": unseen_words_reader(groups, synonyms, shuffled(vectors)),
    }


def table(scores: Mapping[str, Score]) -> str:
    lines = [
        "| | weather | time | both | missed | wrong | invented | cost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in scores.items():
        shares = " | ".join(f"{share:.1%}" for share in (one.weather, one.time, one.both))
        lines.append(f"| {name} | {shares} | {one.missed} | {one.wrong} | {one.invented} | {one.cost} |")
    return "\n".join(lines)


def by_kind(reader_of: Mapping[str, Reader], phrasings: Sequence[Phrasing]) -> str:
    """Both groups right, per kind of phrasing."""
    kinds = list(dict.fromkeys(phrasing.kind for phrasing in phrasings))
    parts = {kind: [phrasing for phrasing in phrasings if phrasing.kind == kind] for kind in kinds}
    heads = " | ".join(f"{kind} ({len(parts[kind])})" for kind in kinds)
    lines = [f"| | {heads} |", "|---" * (len(kinds) + 1) + "|"]
    for name, reader in reader_of.items():
        cells = " | ".join(f"{score(reader, parts[kind]).both:.0%}" for kind in kinds)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def calibration(world: str, vectors: PhraseVectors, phrasings: Sequence[Phrasing]) -> dict[float, Score]:
    """Threshold -> score on the calibration phrasings, their own words taken out of the examples."""
    found = find_world(world)
    groups, synonyms = found.spec.action_space().prompts, found.synonyms
    return {
        threshold: score(unseen_words_reader(groups, synonyms, vectors, threshold), phrasings) for threshold in SWEEP
    }


def reading_ms(reader: Reader, phrasings: Sequence[Phrasing]) -> tuple[float, float]:
    """Median and slowest, each text read for the first time by a reader that is loaded."""
    reader("nothing in particular")
    taken = []
    for phrasing in phrasings:
        start_ns = time.perf_counter_ns()
        reader(phrasing.text)
        taken.append((time.perf_counter_ns() - start_ns) / 1e6)
    return float(np.median(taken)), max(taken)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.prompts.compare", description=__doc__)
    parser.add_argument("--world", default="circuit")
    parser.add_argument("--calibrate", action="store_true", help="the threshold, on the calibration phrasings")
    parser.add_argument("--mistakes", action="store_true", help="also list what is read otherwise")
    parser.add_argument("--phrasings", type=Path, help="another file of them, all of it held out")
    options = parser.parse_args(arguments)
    folder = package_folder()
    if folder is None:
        print(f"The comparison needs the encoder: {HOW_TO_INSTALL}", file=sys.stderr)
        return 2
    vectors, phrasings = load_vectors(folder), load_phrasings(options.phrasings or FILE)
    held_out = [phrasing for phrasing in phrasings if phrasing.held_out or options.phrasings]
    if options.calibrate:
        kept = [phrasing for phrasing in phrasings if not phrasing.held_out]
        print(table({f"{at:.2f}": one for at, one in calibration(options.world, vectors, kept).items()}))
        return 0
    compared = readers(options.world, folder, vectors)
    median_ms, slowest_ms = reading_ms(compared[SHIPPED], held_out)
    scores = {name: score(reader, held_out) for name, reader in compared.items()}
    print(table(scores), by_kind(compared, held_out), sep="\n\n")
    if options.mistakes:
        for name in (SHIPPED, UNSEEN):
            print(f"\n{name}:")
            for phrasing in held_out:
                if (read := dict(compared[name](phrasing.text))) != phrasing.expected:
                    print(f"  {phrasing.text!r}: expected {phrasing.expected}, read {read}")
    print()
    print(json.dumps({
        "median_ms": round(median_ms, 3), "slowest_ms": round(slowest_ms, 3),
        "scores": {name: asdict(one) for name, one in scores.items()},
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
