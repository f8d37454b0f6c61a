"""Configuration: YAML text to frozen, validated models, and one clear line when the text is wrong.

Owns safe parsing (size and depth capped, no anchors, no duplicate keys, no YAML 1.1 surprises such as `no` meaning
false), the translation of every problem into a `ConfigError` with file, line and the nearest valid key, and the schema
of `worlds/<name>/world.yaml`. Knows nothing of what the values are used for.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import UnionType
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from .core import ActionSpace, ConfigError, WorldInfo

MAX_YAML_BYTES = 1 << 20
MAX_YAML_DEPTH = 32

YamlPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the top of a document to a value."""


class ConfigModel(BaseModel):
    """Base of every model read from YAML: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class Document(Generic[ModelT]):
    """A validated file that still knows its lines, for checks that need more than the schema."""

    value: ModelT
    source: str
    lines: Mapping[YamlPath, int]

    def line_of(self, path: YamlPath) -> int:
        """The 1-based line of the value at `path`, or of its nearest parent that stands in the file."""
        return _line_of(self.lines, path)

    def error(self, path: YamlPath, message: str) -> ConfigError:
        return ConfigError(f"{self.source}:{self.line_of(path)}: {message}")


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that looks most like `word`, or None when nothing is close."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.55)
    return found[0] if found else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of an error message: the nearest choice, else all of them (shortened)."""
    names = list(choices)
    guess = nearest(word, names)
    if guess is not None:
        return f"did you mean {guess!r}?"
    return "expected one of: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "none exist"


def load_yaml(path: Path | str, model: type[ModelT]) -> ModelT:
    """Read and validate a YAML file. Raises `ConfigError`."""
    return load_document(path, model).value


def load_document(path: Path | str, model: type[ModelT]) -> Document[ModelT]:
    return parse_document(read_text(path), str(path), model)


def read_text(path: Path | str) -> str:
    """The text of a small UTF-8 file; never reads more than `MAX_YAML_BYTES`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable YAML file: {error.strerror or error}") from error
    if len(data) > MAX_YAML_BYTES:
        raise ConfigError(f"{path}: expected at most {MAX_YAML_BYTES} bytes of YAML, the file is larger")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: expected UTF-8 text, got byte 0x{data[error.start]:02x}") from error


def parse_yaml(text: str, source_name: str, model: type[ModelT]) -> ModelT:
    """Validate YAML text; `source_name` stands for the file in messages. Raises `ConfigError`."""
    return parse_document(text, source_name, model).value


def parse_document(text: str, source_name: str, model: type[ModelT]) -> Document[ModelT]:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_YAML_BYTES:
        raise ConfigError(f"{source_name}: expected at most {MAX_YAML_BYTES} bytes of YAML, the text is longer")
    lines: dict[YamlPath, int] = {(): 1}
    root = _compose(text, source_name)
    data = _to_plain(root, (), lines, source_name) if root is not None else {}
    if not isinstance(data, dict):
        raise ConfigError(f"{source_name}:1: expected keys with values at the top, got {_short(data)}")
    try:
        # Through JSON, because only there a strict model still takes a list for a tuple.
        value = model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise _explain(error, model, lines, source_name) from error
    return Document(value, source_name, lines)


# --- YAML to plain data ------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses anchors, aliases and deep nesting, and resolves scalars as YAML 1.2 does."""

    # `no` and `off` are words here and `12:30` is no number; digits are bounded so that int() always takes them.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own pattern

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        self._depth += 1
        if self._depth > MAX_YAML_DEPTH:
            problem = f"nested deeper than {MAX_YAML_DEPTH} levels"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _add_resolver(tag: str, pattern: str, first_characters: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), [*first_characters])


_add_resolver("bool", "true|false|True|False", "tfTF")
_add_resolver("int", r"[-+]?[0-9]{1,18}", "-+0123456789")
_add_resolver("float", r"[-+]?(?:[0-9]{1,18}(?:\.[0-9]{0,32})?|\.[0-9]{1,32})(?:[eE][-+]?[0-9]{1,3})?", "-+.0123456789")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^(?:~|null|)$"), ["~", "n", ""])


def _compose(text: str, source: str) -> yaml.Node | None:
    """The one document in the text as nodes, which know their lines."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(f"{source}:{line}: not valid YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{source}:{line}: not valid YAML: {error.reason}") from error
    except ValueError as error:  # PyYAML lets chr() of an escape such as "\U00110000" through
        raise ConfigError(f"{source}:1: not valid YAML: {error}") from error


def _to_plain(node: yaml.Node, path: YamlPath, lines: dict[YamlPath, int], source: str) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_to_plain(item, (*path, index), lines, source) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, path, lines, source)
    return _plain_scalar(node, source)


def _plain_mapping(node: yaml.MappingNode, path: YamlPath, lines: dict[YamlPath, int], source: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
            got = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a collection"
            raise ConfigError(f"{source}:{line}: expected a name as key, got {_short(got)}; put quotes around it")
        key = key_node.value
        if key in result:
            first = lines[(*path, key)]
            raise ConfigError(f"{source}:{line}: key {key!r} is given twice (first on line {first}); remove one")
        lines[(*path, key)] = line
        result[key] = _to_plain(value_node, (*path, key), lines, source)
    return result


def _plain_scalar(node: yaml.Node, source: str) -> Any:
    text: str = node.value
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    try:
        match kind:
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                number = float(text)
                if math.isfinite(number):
                    return number
    except ValueError:
        pass  # a tag written by hand over a text that does not fit it
    raise ConfigError(f"{source}:{node.start_mark.line + 1}: {_short(text)} as {kind!r} is not allowed")


# --- messages ----------------------------------------------------------------------------------------------------


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _line_of(lines: Mapping[YamlPath, int], path: YamlPath) -> int:
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _explain(error: ValidationError, model: type[BaseModel], lines: Mapping[YamlPath, int], source: str) -> ConfigError:
    """One line for the problem that stands first in the file; a misspelt key goes before the one missing for it."""
    problems = _causes(error.errors(include_url=False))
    first = min(problems, key=lambda problem: (problem["type"] == "missing", _line_of(lines, problem["loc"])))
    path: YamlPath = first["loc"]
    if first["type"] == "extra_forbidden":
        what = f"unknown key {path[-1]!r}" + (f" in {_dotted(path[:-1])}" if path[:-1] else "")
        what += "; " + did_you_mean(str(path[-1]), _keys_at(model, path[:-1]))
    elif first["type"] == "missing":
        what = f"missing key {path[-1]!r}" + (f" in {_dotted(path[:-1])}" if path[:-1] else "")
    elif first["type"] == "value_error":
        what = (f"{_dotted(path)}: " if path else "") + str(first["msg"]).removeprefix("Value error, ")
    else:
        what = (f"{_dotted(path)}: " if path else "") + f"{_in_words(first)}, got {_short(first['input'])}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ConfigError(f"{source}:{_line_of(lines, path)}: {what}{more}")


def _causes(problems: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without the consequences: a list of which every entry is wrong is also "too short" once those are left out."""
    return [
        problem
        for problem in problems
        if not any(
            len(other["loc"]) > len(problem["loc"]) and other["loc"][: len(problem["loc"])] == problem["loc"]
            for other in problems
        )
    ]


PLAIN = {
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected keys with values",
    "model_type": "expected keys with values",
    "string_type": "expected text",
    "int_type": "expected an integer",
    "int_parsing": "expected an integer",
    "int_from_float": "expected an integer",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
}
"""What pydantic calls by its own types, in the words of a YAML file."""


def _in_words(problem: ErrorDetails) -> str:
    if problem["type"] in PLAIN:
        return PLAIN[problem["type"]]
    bounds = problem.get("ctx", {})
    if problem["type"] == "too_short":
        return f"expected at least {bounds['min_length']} item in the list"
    if problem["type"] == "too_long":
        return f"expected at most {bounds['max_length']} items in the list"
    message = str(problem["msg"]).replace("Input should", "expected it to").replace("String should", "expected text to")
    return message.replace("expected it to be ", "expected ")


def _dotted(path: YamlPath) -> str:
    return ".".join(str(part) for part in path)


def _keys_at(annotation: Any, path: YamlPath) -> list[str]:
    """The valid keys of the model that stands at `path` under a type; empty when there is none."""
    for candidate in _unwrapped(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in candidate.model_fields.items()}
            if not path:
                return list(fields)
            if path[0] in fields:
                return _keys_at(fields[str(path[0])], path[1:])
        elif path and get_args(candidate):
            mapped = get_origin(candidate) in (dict, Mapping)
            return _keys_at(get_args(candidate)[1 if mapped else 0], path[1:])
    return []


def _unwrapped(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _unwrapped(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for option in get_args(annotation):
            yield from _unwrapped(option)
    else:
        yield annotation


# --- the world file ----------------------------------------------------------------------------------------------


def _rational(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f'expected a rate such as 20 or "35/2", got {_short(value)}')
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f'expected a rate such as 20 or "35/2", got {_short(value)}') from error
    if not Fraction(1, 10) <= rate <= 1000:
        raise ValueError(f"expected 0.1 to 1000 ticks a second, got {_short(value)}")
    return rate


def _described(value: object) -> object:
    """A list of names is a mapping without descriptions."""
    if not isinstance(value, list):
        return value
    names = [str(name) for name in value]
    if len(set(names)) < len(names):
        raise ValueError(f"expected each name once, got {_short(names)}")
    return dict.fromkeys(names, "")


def _relative(value: str) -> str:
    path = PurePosixPath(value)
    if not value or path.is_absolute() or ".." in path.parts or "\\" in value or ":" in value or "\0" in value:
        raise ValueError(f"expected a path inside the world's folder, with no '..', got {_short(value)}")
    return value


Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Described: TypeAlias = Annotated[dict[Name, str], BeforeValidator(_described)]
Rate: TypeAlias = Annotated[Fraction, BeforeValidator(_rational), Field(strict=False)]
SidePx: TypeAlias = Annotated[int, Field(ge=8, le=8192)]


class ActionsSpec(ConfigModel):
    """The controls of a world: name -> description (a plain list of names will do), and its prompt vocabulary."""

    buttons: Described = {}
    axes: Described = {}
    prompts: dict[Name, tuple[str, ...]] = {}

    @model_validator(mode="after")
    def _one_meaning_a_name(self) -> ActionsSpec:
        both = sorted(self.buttons.keys() & self.axes.keys())
        if both:
            raise ValueError(f"expected {both[0]!r} to be a button or an axis, got both")
        return self


class WorldSpec(ConfigModel):
    """`worlds/<name>/world.yaml`. `kind` names the adapter that plays it; `parameters` belong to that adapter alone.

    `tick_hz` is exact: 20, or "35/2". `ladder` lists the denoise step counts the weights were trained for, ascending.
    `weights` are paths inside the world's folder. `stages`: over which processes its layers run, see docs/stages.md.
    Prompt groups may stand under `actions` or at the top, not both.
    """

    name: Name
    kind: Name = "neural"
    title: str = ""
    description: str = ""
    width_px: SidePx
    height_px: SidePx
    tick_hz: Rate = Fraction(20)
    ladder: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(default=(1,), min_length=1)
    actions: ActionsSpec = ActionsSpec()
    prompts: dict[Name, tuple[str, ...]] = {}
    default_prompt: str = ""
    weights: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    stages: str | None = None

    @field_validator("ladder")
    @classmethod
    def _ascending(cls, ladder: tuple[int, ...]) -> tuple[int, ...]:
        if list(ladder) != sorted(set(ladder)):
            raise ValueError(f"expected denoise step counts in ascending order, each once, got {list(ladder)}")
        return ladder

    @field_validator("weights")
    @classmethod
    def _inside_the_world(cls, weights: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_relative(path) for path in weights)

    @model_validator(mode="after")
    def _one_vocabulary(self) -> WorldSpec:
        if self.prompts and self.actions.prompts:
            raise ValueError("expected prompts at the top or under actions, got both")
        return self

    def action_space(self) -> ActionSpace:
        prompts = self.prompts or self.actions.prompts
        return ActionSpace(tuple(self.actions.buttons), tuple(self.actions.axes), dict(prompts))


def world_info(spec: WorldSpec, *, config_text: str, weights_sha256: str) -> WorldInfo:
    """What the runtime must know of a world, from its file and the text it was read from."""
    return WorldInfo(
        name=spec.name,
        width_px=spec.width_px,
        height_px=spec.height_px,
        tick_hz=spec.tick_hz,
        ladder=spec.ladder,
        actions=spec.action_space(),
        config_sha256=hashlib.sha256(config_text.encode("utf-8")).hexdigest(),
        weights_sha256=weights_sha256,
        config_text=config_text,
        default_prompt=spec.default_prompt,
    )
