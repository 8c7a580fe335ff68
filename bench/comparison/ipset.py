"""The quickest way to change a set there is: one netlink message, without starting a tool."""

from __future__ import annotations

import time

from bench.lab import Lab

_MEMBERS = 10_000
_NAME = "bench"


def add_times(lab: Lab, repetitions: int = 101) -> list[float]:
    """Seconds of each addition of an address to a ``hash:ip`` of 10,000, over netlink."""
    lines = [f"create {_NAME} hash:ip maxelem 100000"]
    lines += [f"add {_NAME} 10.3.{n >> 8}.{n & 255}" for n in range(_MEMBERS)]
    lab.run(["ipset", "restore"], input="\n".join([*lines, ""]))

    def add() -> list[float]:
        from pyroute2 import IPSet

        seconds = []
        with IPSet() as sets:
            for number in range(repetitions):
                begin = time.perf_counter()
                sets.add(_NAME, f"10.4.0.{number}", etype="ip")
                seconds.append(time.perf_counter() - begin)
        return seconds

    try:
        return lab.on_node(add)
    finally:
        lab.run(["ipset", "destroy", _NAME])
