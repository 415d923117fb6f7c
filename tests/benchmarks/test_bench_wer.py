from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.wer import edit_distance, normalise, number_words, word_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("It's the boy\u2019s kite.", ["it's", "the", "boy's", "kite"]),
        ("'quoted' words", ["quoted", "words"]),
        ("sharp-edged", ["sharp", "edged"]),
        ("Caf\u00e9", ["cafe"]),
        ("30 years", ["thirty", "years"]),
        ("1,250 men", ["one", "thousand", "two", "hundred", "fifty", "men"]),
        ("Mr. Brown, Dr. Gray", ["mister", "brown", "doctor", "gray"]),
        ("", []),
        (" ...?! ", []),
    ],
)
def test_normalise(text: str, words: list[str]) -> None:
    assert normalise(text) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (47, "forty seven"),
        (100, "one hundred"),
        (1001, "one thousand one"),
        (9999, "nine thousand nine hundred ninety nine"),
        (12345, "one two three four five"),
    ],
)
def test_number_words(number: int, words: str) -> None:
    assert " ".join(number_words(number)) == words


def test_number_below_zero() -> None:
    with pytest.raises(ValueError, match="below zero"):
        number_words(-1)


@given(number=st.integers(min_value=0, max_value=9999))
@settings(deadline=None)
def test_digits_and_words_are_the_same(number: int) -> None:
    assert normalise(str(number)) == normalise(" ".join(number_words(number)))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b c", "a b b c", 1),
        ("a b c", "", 3),
        ("", "a b", 2),
        ("kitten", "sitting down", 2),
    ],
)
def test_word_errors(reference: str, hypothesis: str, errors: int) -> None:
    assert word_errors(reference, hypothesis) == (errors, len(reference.split()))


@given(one=WORDS, other=WORDS, third=WORDS)
@settings(deadline=None)
def test_edit_distance_is_a_metric(one: list[str], other: list[str], third: list[str]) -> None:
    distance = edit_distance(one, other)
    assert (distance == 0) == (one == other)
    assert distance == edit_distance(other, one)
    assert abs(len(one) - len(other)) <= distance <= max(len(one), len(other))
    assert edit_distance(one, third) <= distance + edit_distance(other, third)
