"""The verb ``warmup``: kernels compiled ahead of time."""

from __future__ import annotations

from kubeverdict.cli.output import say
from kubeverdict.command.failures import CLEAN
from kubeverdict.command.running import verb


@verb()
def warmup() -> int:
    """Compile the kernels that large inputs need, once.

    Later commands load them from a cache.
    """
    from kubeverdict.evaluate.warmup import warmup as warmup_

    warmup_(lambda what, done, total: say(f"{done}/{total}", what))
    return CLEAN
