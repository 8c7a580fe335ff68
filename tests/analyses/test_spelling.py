from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.analyses.spelling import Guess, closest, distance

words = st.text("abc", max_size=8)


@pytest.mark.parametrize(
    ("one", "other", "letters"),
    [
        ("checkout", "checkout", 0),
        ("chekout", "checkout", 1),
        ("chekcout", "checkout", 1),
        ("checkouts", "checkout", 1),
        ("chackout", "checkout", 1),
        ("web", "db", 2),
        ("", "abc", 3),
    ],
)
def test_letters_are_inserted_removed_replaced_or_swapped(
    one: str, other: str, letters: int
) -> None:
    assert distance(one, other, limit=9) == letters


@given(words, words)
def test_distance_is_the_same_both_ways(one: str, other: str) -> None:
    assert distance(one, other, 9) == distance(other, one, 9)


@given(words, words, st.integers(0, 8))
def test_a_limit_only_hides_what_is_beyond_it(one: str, other: str, limit: int) -> None:
    assert distance(one, other, limit) == min(distance(one, other, 9), limit + 1)


@given(words, words)
def test_distance_is_that_of_the_plain_recursion(one: str, other: str) -> None:
    assert distance(one, other, 9) == recursive_distance(one, other)


def recursive_distance(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    best = min(
        recursive_distance(one[:-1], other[:-1]) + (one[-1] != other[-1]),
        *(
            (recursive_distance(one[:-1], other) + 1, recursive_distance(one, other[:-1]) + 1)
            if one[-1] != other[-1]
            else ()
        ),
        len(one) + len(other),
    )
    if len(one) > 1 and len(other) > 1 and one[-2:] == other[-1] + other[-2]:
        best = min(best, recursive_distance(one[:-2], other[:-2]) + 1)
    return best


def test_the_closest_word_and_how_far_it_is() -> None:
    guess = closest("chekout", ["cart", "checkout", "catalog"])
    assert guess == Guess("checkout", 1)
    assert str(guess) == 'did you mean "checkout"? 1 letter off'


def test_nothing_is_better_than_a_wild_guess() -> None:
    assert closest("payments", ["web", "db", "frontend"]) is None
    assert closest("a", []) is None


def test_ties_go_to_the_first_in_the_alphabet() -> None:
    assert closest("wab", ["web", "wob"]) == Guess("web", 1)
