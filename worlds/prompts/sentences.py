"""Free text to at most one word per prompt group: what a player typed, before any world hears of it.

The order is idioms and negation, the vocabulary, then listed examples, then the encoder, and "not said". What comes out
is said in the vocabulary, so worlds and recordings need none of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from ...runtime.core import ConfigError
from .encoder import HOW_TO_INSTALL, PhraseReader, load_vectors, package_folder
from .phrases import ASIDES, EXAMPLES
from .words import FILLERS, parse_prompt

Groups = Mapping[str, tuple[str, ...]]
Synonyms = Mapping[str, str]
Guess = Callable[[Sequence[str]], Mapping[str, tuple[str, str]]]
"""Phrases to group -> (word, the phrase that says so), for the groups that they speak of."""

THRESHOLD = 0.33
"""A phrase that scores less for every word says nothing. Between 0.31 and 0.41 the calibration phrasings cost 22 to 24,
below it 26 or more, when a word read wrongly counts for two that were missed
(`python -m nextframe.tools.lab.prompts.compare --calibrate`)."""
MAX_WORDS = 80
"""More is not read: a prompt has 400 characters at most."""
MAX_SAID_CHARS = 400
"""What a controller hands on of a text: a longer one is said in words of the vocabulary."""
PHRASE_WORDS = 2
"""Words side by side that are compared together, besides each alone: "golden hour"."""

NEGATIONS = frozenset(
    {
        "no", "not", "without", "never", "nor", "neither", "stop", "less", "minus", "none", "enough", "don't",
        "doesn't", "didn't", "isn't", "aren't", "wasn't", "won't", "shouldn't", "mustn't", "instead of", "rather than",
        "anything but", "no longer",
    }
)  # fmt: skip
"""From here to the end of the clause, what is said is not wanted. "Can't" is none: "I can't see a thing" is fog."""
CLAUSE_STARTS = frozenset({"and", "but", "please", "just", "make", "only", "with", "now"})
"""They end a negated clause in which something was refused: "no rain make it snow", but "don't make it snow"."""
TOKEN = re.compile(r"instead of|rather than|anything but|no longer|[a-z]+(?:'[a-z]+)?|[,.;:!?]")
EMPTY_WORDS = FILLERS | {
    "i", "me", "my", "we", "us", "you", "be", "been", "am", "are", "was", "were", "this", "that", "there", "some",
    "any", "let", "have", "has", "do", "does", "can", "could", "would", "should", "will", "want", "like", "as", "from",
    "for", "on", "by", "when", "while", "if", "so", "very", "quite", "really", "bit", "little", "all", "every", "into",
    "out", "up", "down", "off", "then", "than", "s", "t", "m",
}  # fmt: skip
"""Of no weight at the edges of a phrase."""


@dataclass(frozen=True)
class Reading:
    """`chosen`: group -> word. `said`: what to hand on to the world, "" when nothing was chosen.

    `guessed`: word -> the phrase it was read from, where that is not the word or a synonym. `refused`: vocabulary words
    that only stand where the text says what it does not want. `ignored`: words that mean nothing here.
    """

    chosen: Mapping[str, str]
    said: str
    guessed: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read_prompt(
    text: str,
    groups: Groups,
    synonyms: Synonyms,
    guesses: Sequence[Guess] = (),
    *,
    idioms: Mapping[str, str] = MappingProxyType({}),
) -> Reading:
    """Idioms are read for the word they mean; then words of the vocabulary and synonyms choose, the last of a group.

    Then each of `guesses` in turn, only while a group is open and unknown words are left; a word that was read once is
    not read again. `idioms`: as `idioms_among` gives them.
    """
    literal, spoken = _without_idioms(text.lower().replace("’", "'"), idioms)
    wanted, unwanted = _split_at_negations(literal)
    exact = parse_prompt(" ".join(word for word in wanted if word), groups, synonyms)
    chosen = dict(exact.chosen)
    guessed = {word: idiom for word, idiom in spoken.items() if word in chosen.values()}
    known = {*synonyms, *(word for words in groups.values() for word in words)}
    for guess in guesses:
        phrases = [] if len(chosen) == len(groups) else phrases_of(wanted, known)
        for group, (word, phrase) in guess(phrases).items() if phrases else ():
            if group not in chosen:
                chosen[group] = word
                guessed[word] = phrase
            known.update(phrase.split())
    used = {word for phrase in guessed.values() for word in phrase.split()}
    meant = (word for said in unwanted for word in parse_prompt(said, groups, synonyms).chosen.values())
    return Reading(
        chosen,
        _said(text, chosen, groups, synonyms),
        guessed,
        tuple(dict.fromkeys(meant)),
        tuple(word for word in exact.ignored if word not in used and word not in EMPTY_WORDS),
    )


def phrases_of(words: Sequence[str], known: set[str]) -> list[str]:
    """The unknown words of a text ("" is a gap), alone and with neighbours, none with an empty word at an edge."""
    phrases = []
    for at in range(len(words)):
        for end in range(at + 1, min(at + PHRASE_WORDS, len(words)) + 1):
            phrase = words[at:end]
            if any(not word or word in known for word in phrase):
                break
            if phrase[0] not in EMPTY_WORDS and phrase[-1] not in EMPTY_WORDS:
                phrases.append(" ".join(phrase))
    return list(dict.fromkeys(phrases))


class SentenceReader:
    """Reads the prompts of one world. The encoder is loaded by the first text that needs it, or by `prepare`.

    Without the extra, or with damaged files of it, vocabulary and listed words are all there is; `lack` says why.
    `folder`: of the installed `wordllama`; where Python would find it when not given.
    """

    def __init__(self, groups: Groups, synonyms: Synonyms, *, folder: Path | None = None) -> None:
        self._groups, self._synonyms, self._folder = groups, synonyms, folder
        self.lack: str | None = None

    def read(self, text: str) -> Reading:
        return read_prompt(text, self._groups, self._synonyms, (self._listed, self._encoded), idioms=self._idioms)

    def prepare(self) -> bool:
        """Load the encoder now (it holds Python for a fifth of a second), where a world has prompts. Is it there?"""
        return bool(self._groups) and self._encoder is not None

    @cached_property
    def _examples(self) -> dict[str, tuple[str, ...]]:
        return examples_for(self._groups, self._synonyms)

    @cached_property
    def _list(self) -> dict[str, str]:
        return listed_words(self._examples, ASIDES)

    @cached_property
    def _idioms(self) -> dict[str, str]:
        return idioms_among(self._examples, self._groups, self._synonyms)

    @cached_property
    def _encoder(self) -> PhraseReader | None:
        folder = self._folder or package_folder()
        if folder is None:
            self.lack = f"more free text is understood with {HOW_TO_INSTALL}"
            return None
        try:
            return PhraseReader(load_vectors(folder), self._examples, ASIDES)
        except ConfigError as error:  # a session goes on with the vocabulary
            self.lack = str(error)
            return None

    def _listed(self, phrases: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        return guess_from_list(self._list, phrases, self._groups)

    def _encoded(self, phrases: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        return {} if self._encoder is None else guess_by_encoder(self._encoder, phrases, self._groups)


def guess_from_list(listed: Mapping[str, str], phrases: Sequence[str], groups: Groups) -> dict[str, tuple[str, str]]:
    """Per group the last listed phrase. `listed`: as `listed_words` gives it."""
    group_of = {word: group for group, words in groups.items() for word in words}
    return {group_of[listed[phrase]]: (listed[phrase], phrase) for phrase in phrases if phrase in listed}


def guess_by_encoder(
    encoder: PhraseReader, phrases: Sequence[str], groups: Groups, threshold: float = THRESHOLD
) -> dict[str, tuple[str, str]]:
    """Per group the word of the highest score and its phrase. A phrase speaks of the one word it sounds most like."""
    scores = encoder.scores(phrases)  # (phrases, words)
    best = scores.argmax(1)
    group_of = {word: group for group, words in groups.items() for word in words}
    found = {}
    for row in scores.max(1).argsort(kind="stable"):  # ascending: the best of a group comes last
        word = encoder.words[best[row]]
        if scores[row, best[row]] >= threshold:
            found[group_of[word]] = (word, phrases[row])
    return found


def listed_words(examples: Mapping[str, Sequence[str]], asides: Sequence[str]) -> dict[str, str]:
    """Phrase -> prompt word: whole examples, and the words that stand in the examples of one prompt word alone."""
    owners: dict[str, set[str]] = {word: {""} for phrase in asides for word in content_words(phrase)}
    for meaning, phrases in examples.items():
        for word in (word for phrase in phrases for word in content_words(phrase)):
            owners.setdefault(word, set()).add(meaning)
    listed = {word: min(meanings) for word, meanings in owners.items() if len(meanings) == 1 and "" not in meanings}
    return listed | {phrase: meaning for meaning, phrases in examples.items() for phrase in phrases}


def idioms_among(examples: Mapping[str, Sequence[str]], groups: Groups, synonyms: Synonyms) -> dict[str, str]:
    """Idiom -> prompt word, longest first: the examples of several words whose words by themselves mean another thing.

    "The sun goes down" speaks of no sun, "not a cloud in sight" refuses nothing. Articles before them are left out.
    """
    listed = listed_words(examples, ASIDES)
    found = {}
    for meaning, phrases in examples.items():
        for phrase in (phrase for phrase in phrases if " " in phrase):
            alone = read_prompt(phrase, groups, synonyms, [lambda said: guess_from_list(listed, said, groups)])
            if list(alone.chosen.values()) != [meaning]:
                found[re.sub(r"^(?:the|an?) ", "", phrase)] = meaning
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def content_words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z]+", text.lower()) if word not in EMPTY_WORDS]


def examples_for(groups: Groups, synonyms: Synonyms) -> dict[str, tuple[str, ...]]:
    """Word -> itself, its synonyms and the phrases kept for it. Words that no text could say are left out."""
    examples = {}
    for group, words in groups.items():
        for word in words:
            if parse_prompt(word, groups, synonyms).chosen == {group: word}:
                own = (synonym for synonym, meaning in synonyms.items() if meaning == word)
                examples[word] = tuple(dict.fromkeys((word, *own, *EXAMPLES.get(word, ()))))
    return examples


def explain(reading: Reading, groups: Groups, lack: str | None = None) -> str:
    """One line for the player: what was understood, from what, and what was not. `lack`: why nothing was guessed."""
    if reading.chosen:
        guessed = [f"{phrase!r} read as {word}" for word, phrase in reading.guessed.items()]
        unknown = [f"unknown: {', '.join(reading.ignored)}"] if reading.ignored else []
        unwanted = [f"not: {', '.join(reading.refused)}"] if reading.refused else []
        notes = "; ".join([*guessed, *unwanted, *unknown])
        return " ".join(reading.chosen.values()) + (f"   ({notes})" if notes else "")
    vocabulary = ", ".join(word for words in groups.values() for word in words)
    if not vocabulary:
        return "this world has no prompts"
    if reading.refused:
        return f"say what you want instead of {', '.join(reading.refused)}: {vocabulary}"
    return f"no word of it is known here; try {vocabulary}" + (f"   ({lack})" if lack else "")


def _without_idioms(text: str, idioms: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The text (in small letters) with the words that its idioms mean in their places, and word -> idiom."""
    spoken = {}
    for idiom, meaning in idioms.items():
        literal = re.sub(rf"\b{re.escape(idiom)}\b", meaning, text) if idiom in text else text
        if literal != text:
            text, spoken[meaning] = literal, idiom
    return text, spoken


def _split_at_negations(text: str) -> tuple[list[str], list[str]]:
    """Words as written (small letters) with "" for each gap, and the words inside negated clauses."""
    wanted: list[str] = []
    unwanted: list[str] = []
    negated = refused = False
    for token in TOKEN.findall(text)[:MAX_WORDS]:
        mark = not token[0].isalpha()
        if mark or (refused and token in CLAUSE_STARTS):
            negated = refused = False
        if token in NEGATIONS:
            negated = True
        elif negated:
            unwanted.append(token)
            refused = refused or token not in EMPTY_WORDS
        wanted.append("" if negated or mark else token)
    return wanted, unwanted


def _said(text: str, chosen: Mapping[str, str], groups: Groups, synonyms: Synonyms) -> str:
    """The text itself where the vocabulary alone reads it the same: a recording then tells what was typed."""
    if not chosen:
        return ""
    same = len(text) <= MAX_SAID_CHARS and parse_prompt(text, groups, synonyms).chosen == chosen
    return text if same else " ".join(chosen.values())
