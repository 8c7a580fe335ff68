"""Where two sequences differ, one of which was made of the other."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from kubeverdict.compile.sequences import Chunks, changed, folded


def test_what_changed_is_between_what_did_not() -> None:
    small = 0
    for seed in range(200):
        random = Random(seed)
        items = [object() for _ in range(random.choice((0, 1, 5, 300, 1500)))]
        before = after = Chunks.of(items)
        for _ in range(random.randrange(3)):
            kind = random.randrange(3)
            if kind == 0 or not len(after):
                at, added = random.randint(0, len(after)), object()
                wanted = [*[*after][:at], added, *[*after][at:]]
                after = after.inserted(at, added)
                assert [*after] == wanted
            elif kind == 1:
                after = after.removed(random.randrange(len(after)))
            else:
                after = after.replaced(random.randrange(len(after)), object())
        expected = list(after)
        for one, other in ((before, after), (tuple(before), after), (before, tuple(after))):
            span = changed(one, other)
            assert [*one][: span.start] == expected[: span.start]
            assert [*one][span.before :] == expected[span.after :]
            assert span.shift == len(after) - len(before)
            # Not more than it has to be.
            gone, new = [*one][span.start : span.before], expected[span.start : span.after]
            assert not (gone and new) or (gone[0] is not new[0] and gone[-1] is not new[-1])
            small += len(before) > 256 and span.before - span.start < 2
    assert small > 20


def test_what_was_asked_of_a_part_is_asked_once() -> None:
    asked: list[int] = []

    def total(items: Sequence[int]) -> int:
        asked.append(len(items))
        return sum(items)

    numbers = Chunks.of(range(600))
    assert sum(folded(numbers, total)) == sum(range(600)) and len(asked) == 3
    for after, parts in (
        (numbers.replaced(300, 7), 1),
        (numbers.removed(599), 1),
        (numbers.appended(5), 1),
        (numbers, 0),
    ):
        asked.clear()
        assert sum(folded(after, total)) == sum(after)
        assert len(asked) == parts
    assert folded((1, 2), total) == [3]


def test_parts_stay_small() -> None:
    numbers = Chunks.of(range(10))
    for number in range(3_000):
        numbers = numbers.inserted(5, number)
    assert max(folded(numbers, len)) < 512 and len(numbers) == 3_010
    assert [*numbers] == [*range(5), *range(2_999, -1, -1), *range(5, 10)]
