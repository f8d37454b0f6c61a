"""The ways of reading a prompt that are compared: vocabulary, listed examples, encoder, and controls for each.

The controls: what the examples do as a list without an encoder, what the encoder does with words it was given no
example of, and what it does with vectors dealt to the wrong tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ....worlds.prompts.encoder import Floats, PhraseReader, PhraseVectors
from ....worlds.prompts.phrases import ASIDES
from ....worlds.prompts.sentences import (
    THRESHOLD,
    Groups,
    Guess,
    SentenceReader,
    Synonyms,
    content_words,
    examples_for,
    guess_by_encoder,
    read_prompt,
)
from ....worlds.prompts.words import parse_prompt

Reader = Callable[[str], Mapping[str, str]]
"""Text -> group -> word."""
Vectors = Callable[[Sequence[str]], Floats]
STEM_CHARS = 4


def vocabulary_reader(groups: Groups, synonyms: Synonyms) -> Reader:
    """What worlds do: each word by itself, negations unheard."""
    return lambda text: parse_prompt(text, groups, synonyms).chosen


def negation_reader(groups: Groups, synonyms: Synonyms) -> Reader:
    """The vocabulary, with negations read."""
    return lambda text: read_prompt(text, groups, synonyms).chosen


def shipped_reader(groups: Groups, synonyms: Synonyms, folder: Path) -> Reader:
    """What a player meets: vocabulary, listed examples, encoder. `folder`: one that is not there for no encoder."""
    reader = SentenceReader(groups, synonyms, folder=folder)
    return lambda text: reader.read(text).chosen


def encoder_reader(groups: Groups, synonyms: Synonyms, vectors: Vectors, threshold: float = THRESHOLD) -> Reader:
    """Vocabulary and encoder, the examples read by the encoder only."""
    encoder = PhraseReader(vectors, examples_for(groups, synonyms), ASIDES)
    return lambda text: read_prompt(text, groups, synonyms, [_guess(encoder, groups, threshold)]).chosen


def unseen_words_reader(groups: Groups, synonyms: Synonyms, vectors: Vectors, threshold: float = THRESHOLD) -> Reader:
    """Vocabulary and encoder, fitted anew for each text without the examples that share a word with it.

    The world's own words excepted. What a player may expect of a phrase that was not foreseen: the author of the
    phrasings also wrote the examples.
    """
    examples = examples_for(groups, synonyms)
    own = {*examples, *synonyms}

    def read(text: str) -> Mapping[str, str]:
        words = content_words(text)
        fewer = {
            meaning: [phrase for phrase in phrases if phrase in own or not _shares(words, phrase)]
            for meaning, phrases in examples.items()
        }
        asides = [phrase for phrase in ASIDES if not _shares(words, phrase)]
        encoder = PhraseReader(vectors, fewer, asides)
        return read_prompt(text, groups, synonyms, [_guess(encoder, groups, threshold)]).chosen

    return read


def shuffled(vectors: PhraseVectors, seed: int = 0) -> PhraseVectors:
    """The same vectors, each dealt to another token: the negative control."""
    return PhraseVectors(np.random.default_rng(seed).permutation(vectors.table), vectors.tokenizer)


def _shares(words: Sequence[str], phrase: str) -> bool:
    """Whether a word of the phrase is, or begins with the same four letters as, one of the words."""
    return any(
        one == other or (min(len(one), len(other)) >= STEM_CHARS and one[:STEM_CHARS] == other[:STEM_CHARS])
        for one in words
        for other in content_words(phrase)
    )


def _guess(encoder: PhraseReader, groups: Groups, threshold: float) -> Guess:
    return lambda phrases: guess_by_encoder(encoder, phrases, groups, threshold)
