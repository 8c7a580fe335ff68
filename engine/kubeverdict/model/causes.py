"""Why a cluster changed."""

from __future__ import annotations

import msgspec


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object that was added, changed or deleted (``what``).

    ``kind`` has the API group behind it, as ``kubectl get`` takes it. ``version`` is its
    resourceVersion, of one that is gone that of its end. ``manager`` is who changed it last, as far
    as the object says. ``error`` is why it cannot be read.
    """

    what: str
    kind: str
    namespace: str
    name: str
    version: str = ""
    manager: str = ""
    error: str = ""

    @property
    def path(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        by = f" by {self.manager}" if self.manager else ""
        version = f" (resourceVersion {self.version})" if self.version else ""
        return f"{self.kind} {self.path} {self.what}{by}{version}"
