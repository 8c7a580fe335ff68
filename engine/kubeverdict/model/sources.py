"""Where a policy, a rule or a field came from."""

from __future__ import annotations

from typing import Protocol

import msgspec

from kubeverdict.errors import located

FieldPath = tuple[str | int, ...]


class Origin(Protocol):
    """A document inside a file. Implemented by the reader that found it."""

    @property
    def file(self) -> str:
        """The file as the user named it; ``<stdin>`` for standard input."""
        ...

    def line_of(self, path: FieldPath) -> int:
        """Line of the field at ``path``, from 1; of its nearest parent where it is absent.

        Computed when asked: nearly all of the lines of a large dump are never shown.
        """
        ...


class Source(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A field of a document."""

    origin: Origin
    path: FieldPath = ()

    @property
    def file(self) -> str:
        return self.origin.file

    @property
    def line(self) -> int:
        return self.origin.line_of(self.path)

    def __str__(self) -> str:
        return located(self.file, self.line)


def field_text(path: FieldPath) -> str:
    """``("spec", "ingress", 0, "ports")`` as ``spec.ingress[0].ports``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
