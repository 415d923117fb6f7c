"""Word error rate: edit distance in words between a transcript and what was recognised."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_UNITS: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen"),
    *("seventeen", "eighteen", "nineteen"),
)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SHORT: Final = {"mr": "mister", "mrs": "missus", "dr": "doctor"}
_APOSTROPHES: Final = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'"})
_TOKEN: Final = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*")
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3})")


def number_words(number: int) -> list[str]:
    """English words of a number; from 10 000 on its digits one by one.

    Raises:
        ValueError: the number is negative.
    """
    if number < 0:
        raise ValueError(f"a number below zero has no words here: {number}")
    if number >= 10_000:
        return [_UNITS[int(digit)] for digit in str(number)]
    words: list[str] = []
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            words += [_UNITS[number // size], name]
            number %= size
    if number >= 20:
        words.append(_TENS[number // 10 - 2])
        number %= 10
        if number:
            words.append(_UNITS[number])
    elif number or not words:
        words.append(_UNITS[number])
    return words


def normalise(text: str) -> list[str]:
    """Words without case, accents and punctuation; digits and a few titles spelled out.

    An apostrophe inside a word stays: "it's" is one word.
    """
    plain = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).lower()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    words: list[str] = []
    for token in _TOKEN.findall(_THOUSANDS.sub("", plain)):
        if token.isdecimal():
            words += number_words(int(token))
        else:
            words.append(_SHORT.get(token, token))
    return words


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """Fewest substitutions, deletions and insertions that turn one list into the other."""
    previous = list(range(len(hypothesis) + 1))
    for row, word in enumerate(reference, start=1):
        current = [row]
        for column, other in enumerate(hypothesis, start=1):
            current.append(
                min(
                    previous[column] + 1,
                    current[column - 1] + 1,
                    previous[column - 1] + (word != other),
                )
            )
        previous = current
    return previous[-1]


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """(errors, words of the reference) after `normalise`."""
    words = normalise(reference)
    return edit_distance(words, normalise(hypothesis)), len(words)
