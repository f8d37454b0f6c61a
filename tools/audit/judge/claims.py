"""What a vendor says, as values: a YAML file of short sentences in a small grammar.

The grammar is in docs/audit.md; every form is one line of `FORMS`, and a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from ....runtime.config import ConfigModel, Document, load_document, nearest, parse_document

Kind: TypeAlias = Literal[
    "category", "fps", "idle_fps", "response_frames", "response_ms", "ttff_ms", "memory_s", "memory_ticks",
    "survives_prompt_change", "miss_rate", "jitter_ms", "unique_share", "breadth",
]  # fmt: skip
Bound: TypeAlias = Literal["at least", "at most", "is"]


@dataclass(frozen=True)
class Claim:
    """One sentence and what it means: the measure `kind` is at least, at most or exactly `value`.

    Units are in the kind; `fps`, `miss_rate` and `unique_share` are frames a second and shares in [0, 1].
    """

    text: str
    kind: Kind
    bound: Bound
    value: float | str | bool
    line: int = 0


@dataclass(frozen=True)
class Form:
    """One sentence of the grammar. `scale`: unit as written -> factor to the unit of the kind."""

    example: str
    pattern: re.Pattern[str]
    kind: Kind
    bound: Bound
    scale: Mapping[str, float]
    value: float | str | bool | None = None


MS = {"ms": 1.0, "milliseconds": 1.0, "s": 1000.0, "second": 1000.0, "seconds": 1000.0}
SECONDS = {"s": 1.0, "second": 1.0, "seconds": 1.0, "min": 60.0, "minute": 60.0, "minutes": 60.0}
ONE = {"": 1.0}
PERCENT = {"%": 0.01, "percent": 0.01}
NUMBER = r"(?P<number>\d+(?:\.\d+)?)"
UNDER = r"(?:under|below|within|in|at most|up to|of at most)"


AT_MOST = ("response_frames", "response_ms", "ttff_ms", "miss_rate", "jitter_ms")
NAMED = ("category", "survives_prompt_change", "breadth")


def _form(
    example: str, kind: Kind, pattern: str, *, scale: Mapping[str, float] = ONE, value: float | str | bool | None = None
) -> Form:
    """In patterns <n> is a number, <unit> one of the scale's units, <under> what may stand before an upper bound."""
    units = "|".join(sorted((re.escape(unit) for unit in scale if unit), key=len, reverse=True))
    written = {"<n>": NUMBER, "<under>": UNDER, "<unit>": rf"(?P<unit>{units})"}
    for name, meant in written.items():
        pattern = pattern.replace(name, meant)
    bound: Bound = "is" if kind in NAMED else "at most" if kind in AT_MOST else "at least"
    return Form(example, re.compile(pattern), kind, bound, scale, value)


FORMS = (
    _form("30 FPS", "fps", r"(?:at least )?<n> ?fps(?: (?:sustained|while interacting|interactive))?"),
    _form("30 FPS idle", "idle_fps", r"(?:at least )?<n> ?fps (?:idle|playback|without input)"),
    _form("next-frame control", "response_frames", r"(?:next|per)[- ]frame (?:control|response)", value=1.0),
    _form("responds within 2 frames", "response_frames", r"respon(?:ds?|se) <under> <n> frames?"),
    _form("responds within 100 ms", "response_ms", r"respon(?:ds?|se) <under> <n> ?<unit>", scale=MS),
    _form("TTFF under 500 ms", "ttff_ms", r"(?:ttff|(?:time to )?first frame) <under> <n> ?<unit>", scale=MS),
    _form("remembers 60 s", "memory_s", r"(?:remembers|memory of) (?:at least )?<n> ?<unit>", scale=SECONDS),
    _form("remembers 40 ticks", "memory_ticks", r"(?:remembers|memory of) (?:at least )?<n> (?:tick|frame)s?"),
    _form(
        "survives prompt changes",
        "survives_prompt_change",
        r"(?:survives|keeps its state across) (?:a )?prompt changes?",
        value=True,
    ),
    _form("misses under 1 %", "miss_rate", r"(?:misses|miss rate) <under> <n> ?<unit>", scale=PERCENT),
    _form("jitter under 5 ms", "jitter_ms", r"jitter <under> <n> ?<unit>", scale=MS),
    _form("no duplicate frames", "unique_share", r"no duplicate(?:d)? frames|every frame is new", value=0.99),
    _form("unique frames at least 95 %", "unique_share", r"unique frames (?:at least )?<n> ?<unit>", scale=PERCENT),
    _form("interactive", "category", r"(?:is )?(?:real[- ]time )?interactive", value="interactive"),
    _form("streaming", "category", r"(?:is )?streaming", value="streaming"),
    _form("batch", "category", r"(?:is )?(?:fast )?batch", value="batch"),
    _form("broad source", "breadth", r"(?:a )?broad (?:source|world)", value="broad"),
    _form("narrow source", "breadth", r"(?:a )?narrow (?:source|world)", value="narrow"),
)


def parse_claim(text: str, line: int = 0) -> Claim:
    """One sentence as a claim. ValueError with the nearest form for one that the grammar does not know."""
    words = " ".join(text.split()).casefold()
    for form in FORMS:
        match = form.pattern.fullmatch(words)
        if match is not None:
            return Claim(text, form.kind, form.bound, _value_of(form, match), line)
    guess = nearest(words, [form.example.casefold() for form in FORMS])
    examples = {form.example.casefold(): form.example for form in FORMS}
    hint = f"did you mean the form {examples[guess]!r}?" if guess else "expected a sentence such as " + ", ".join(
        repr(form.example) for form in FORMS[:6]
    )  # fmt: skip
    raise ValueError(f"unknown claim {text!r}; {hint} (all forms: docs/audit.md)")


def _value_of(form: Form, match: re.Match[str]) -> float | str | bool:
    if form.value is not None:
        return form.value
    return round(float(match["number"]) * form.scale[match.groupdict().get("unit") or ""], 9)


# --- the file ----------------------------------------------------------------------------------------------------

Sentence: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]


class ClaimsFile(ConfigModel):
    """`target` and `source` are for people: what the claims are about and where they were made."""

    target: str = ""
    source: str = ""
    claims: tuple[Sentence, ...] = Field(min_length=1, max_length=100)


@dataclass(frozen=True)
class Claims:
    target: str
    source: str
    claims: tuple[Claim, ...]


def load_claims(path: Path) -> Claims:
    """Read a claims file. `ConfigError` with file and line for anything the grammar does not know."""
    return _checked(load_document(path, ClaimsFile))


def parse_claims(text: str, source_name: str) -> Claims:
    """The same from text; `source_name` stands for the file in messages."""
    return _checked(parse_document(text, source_name, ClaimsFile))


def _checked(document: Document[ClaimsFile]) -> Claims:
    found: list[Claim] = []
    for index, text in enumerate(document.value.claims):
        path = ("claims", index)
        try:
            claim = parse_claim(text, document.line_of(path))
        except ValueError as error:
            raise document.error(path, str(error)) from error
        for earlier in found:
            if _contradict(earlier, claim):
                raise document.error(path, f"{text!r} contradicts {earlier.text!r} on line {earlier.line}; keep one")
        found.append(claim)
    return Claims(document.value.target, document.value.source, tuple(found))


def _contradict(first: Claim, second: Claim) -> bool:
    """Two names for one thing cannot both hold; two bounds can."""
    return first.kind == second.kind and first.bound == "is" and first.value != second.value
