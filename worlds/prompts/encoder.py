"""Word vectors out of the installed `wordllama` package, and a linear reader of phrases fitted on examples.

Finds and reads the package's two files (token vectors and tokenizer). Never imports `wordllama` itself and never asks
the network: its own loader would do both.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.core import ConfigError

PACKAGE = "wordllama"
HOW_TO_INSTALL = "pip install 'nextframe[prompts]'"
WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")
TENSOR = "embedding.weight"
TENSOR_SHAPE = (32_000, 256)

RIDGE = 2.0
"""Weight of the penalty in `fit`: the best of 0.5, 1, 2 and 5 on the calibration phrasings."""
CACHED_WORDS = 4_096

Floats = NDArray[np.float32]


def package_folder() -> Path | None:
    """Where `wordllama` and `tokenizers` are installed, found without importing either; None without the extra."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations or importlib.util.find_spec("tokenizers") is None:
        return None
    return Path(found.submodule_search_locations[0])


class PhraseVectors:
    """Phrases as unit vectors of 256 numbers: the mean of their tokens' vectors, less the mean of all tokens.

    `table`: `(tokens, 256)` float16, kept so: as float32 it would be 32 MB for the few rows that are used.
    `tokenizer`: of the `tokenizers` package.
    """

    def __init__(self, table: NDArray[np.float16], tokenizer: Any) -> None:
        self.table, self.tokenizer = table, tokenizer
        self._mean: Floats = table.mean(0, dtype=np.float32)
        self._word: Callable[[str], tuple[Floats, int]] = lru_cache(CACHED_WORDS)(self._tokens_of)

    def __call__(self, phrases: Sequence[str]) -> Floats:
        """`(phrases, 256)` of length one. Words are cut into tokens one by one: no token spans a blank."""
        vectors = np.empty((len(phrases), TENSOR_SHAPE[1]), np.float32)
        for row, phrase in enumerate(phrases):
            parts = [self._word(word) for word in phrase.split()]
            tokens = sum(count for _, count in parts)
            vectors[row] = sum(total for total, _ in parts) / np.float32(tokens) - self._mean
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def _tokens_of(self, word: str) -> tuple[Floats, int]:
        """The sum of a word's token vectors, and how many they are."""
        rows = self.table[self.tokenizer.encode(word, add_special_tokens=False).ids]
        return rows.sum(0, dtype=np.float32), len(rows)


def load_vectors(folder: Path) -> PhraseVectors:
    """The token vectors of WordLlama (Miller 2024), a table distilled from large models' input embeddings.

    `folder`: of the installed package. Raises ConfigError for files that are missing or not the ones expected.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    for file in (folder / WEIGHTS, folder / TOKENIZER):
        if not file.is_file():
            raise ConfigError(f"{file}: expected a file of {PACKAGE} 0.4, got none; {HOW_TO_INSTALL}")
    try:
        table = load_file(folder / WEIGHTS).get(TENSOR)
    except SafetensorError as error:
        raise ConfigError(f"{folder / WEIGHTS}: damaged ({error}); {HOW_TO_INSTALL} again") from error
    if table is None or table.shape != TENSOR_SHAPE:
        got = "none" if table is None else str(table.shape)
        raise ConfigError(f"{folder / WEIGHTS}: expected {TENSOR} of {TENSOR_SHAPE}, got {got}")
    try:
        document = (folder / TOKENIZER).read_text(encoding="utf-8")
        json.loads(document)  # tokenizers raises bare Exception, which cannot be caught by name
    except ValueError as error:
        raise ConfigError(f"{folder / TOKENIZER}: damaged ({error}); {HOW_TO_INSTALL} again") from error
    return PhraseVectors(table, Tokenizer.from_str(document))


class PhraseReader:
    """How much a phrase sounds like each word: least squares with a penalty, towards 1 for a word's own examples.

    Ridge regression (Hoerl and Kennard 1970), one column per word; `asides` are examples of none. About 0 means
    nothing like it. Solved in float64 once, 257 unknowns.
    """

    def __init__(
        self,
        vectors: Callable[[Sequence[str]], Floats],
        examples: Mapping[str, Sequence[str]],
        asides: Sequence[str],
    ) -> None:
        self.words = tuple(examples)
        self._vectors = vectors
        labelled = [(phrase, word) for word, phrases in examples.items() for phrase in phrases]
        labelled += [(phrase, "") for phrase in asides]
        given = _with_one(vectors([phrase for phrase, _ in labelled]))
        wanted = np.array([[float(word == label) for word in self.words] for _, label in labelled])
        self._weights = np.linalg.solve(given.T @ given + RIDGE * np.eye(given.shape[1]), given.T @ wanted)

    def scores(self, phrases: Sequence[str]) -> NDArray[np.float64]:
        """`(phrases, words)`, in the order of `words`."""
        return np.asarray(_with_one(self._vectors(phrases)) @ self._weights)


def _with_one(vectors: Floats) -> NDArray[np.float64]:
    return np.hstack([vectors.astype(np.float64), np.ones((len(vectors), 1))])
