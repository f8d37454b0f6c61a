"""The networks that stages are made of, by name, and their sizes as they travel: in one JSON line to a new process.

Which tokenizers there are to decode with, and how a config comes back from plain lists. Loads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from ..dynamics.places import PlaneConfig
from ..dynamics.slots import DynamicsConfig
from ..tokenizers.scenes.chase import ChaseConfig, ChaseTokenizer
from ..tokenizers.scenes.place_rays import ViewConfig
from ..tokenizers.scenes.place_view import PlaceTokenizer
from ..tokenizers.scenes.still import SlotTokenizer, TokenizerConfig

AnyTokenizer: TypeAlias = SlotTokenizer | ChaseTokenizer | PlaceTokenizer


class TokenizerKind(NamedTuple):
    config: type[Any]
    tokenizer: type[AnyTokenizer]


TOKENIZERS = {
    "slots": TokenizerKind(TokenizerConfig, SlotTokenizer),
    "chase": TokenizerKind(ChaseConfig, ChaseTokenizer),
    "place": TokenizerKind(ViewConfig, PlaceTokenizer),
}


def kind_of(tokenizer: AnyTokenizer) -> str:
    """The name of its kind."""
    return next(name for name, kind in TOKENIZERS.items() if type(tokenizer) is kind.tokenizer)


def new_tokenizer(kind: str, fields: Mapping[str, Any]) -> AnyTokenizer:
    """One of these sizes, still without weights."""
    made: Any = TOKENIZERS[kind]
    tokenizer: AnyTokenizer = made.tokenizer(made.config(**tuples(fields)))
    return tokenizer


def dynamics_config(fields: Mapping[str, Any]) -> DynamicsConfig:
    """The config whose fields these are, by way of JSON or not."""
    whole = tuples(fields)
    return DynamicsConfig(**{**whole, "planes": tuple(PlaneConfig(*plane) for plane in whole.get("planes", ()))})


def tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same with every list a tuple, at any depth: JSON knows only lists."""
    return {name: _tuple(value) for name, value in fields.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(part) for part in value) if isinstance(value, list | tuple) else value
