from __future__ import annotations

import pytest

from kubeverdict.model.counts import count


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("pod",), "0 pods"),
        (1, ("pod",), "1 pod"),
        (1234, ("pod pair",), "1,234 pod pairs"),
        (2, ("policy",), "2 policies"),
        (2, ("gateway",), "2 gateways"),
        (2, ("address",), "2 addresses"),
        (1, ("line holds", "lines hold"), "1 line holds"),
        (35, ("line holds", "lines hold"), "35 lines hold"),
    ],
)
def test_the_word_agrees_with_the_number(number: int, words: tuple[str, ...], text: str) -> None:
    assert count(number, *words) == text
