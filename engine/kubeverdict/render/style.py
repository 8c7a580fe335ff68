"""What the output device can show."""

from __future__ import annotations

import msgspec

# Columns of a terminal. Text is laid out for it whatever it is written to, so that what is piped
# looks as it did on the screen.
WIDTH = 80

_CODES = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2"}


class Style(msgspec.Struct, frozen=True):
    """``color``: terminal colours are understood. ``unicode``: box lines and arrows can be
    encoded."""

    color: bool = False
    unicode: bool = True

    def paint(self, text: str, *colors: str) -> str:
        if not self.color or not colors:
            return text
        codes = ";".join(_CODES[color] for color in colors)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def verdict(self, allowed: bool) -> str:
        return self.paint("allowed", "green") if allowed else self.paint("denied", "red")

    @property
    def arrow(self) -> str:
        return "→" if self.unicode else "->"
