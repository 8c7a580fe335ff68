"""The policy code of Calico and of Cilium beside the engine, on the same small clusters.

Both are given the cluster as documents and the same questions, and both times are from that to the
answers. Nothing is compared here: tests do that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from time import perf_counter
from typing import NamedTuple

from kubeverdict.model.profile import PROFILES
from tests.clusters.generated_documents import Object
from tests.oracles import calico_policies, cilium_policies
from tests.oracles.client import Client, WireProbe
from tests.oracles.comparison import on_the_wire
from tests.programs.build import program

_PROBES = 500
# A cluster, what its program is asked, and what the engine does with the same questions.
_Asked = tuple[list[Object], Sequence[WireProbe], Callable[[], object]]


class Rates(NamedTuple):
    """Probes a second."""

    ours: float
    theirs: float


def beside(name: str, seeds: Iterable[int]) -> Rates:
    """Put the clusters of these seeds to ``calico`` or ``cilium``, and to the engine.

    Raises Unavailable where the program cannot be had here."""
    made = {"calico": _of_calico, "cilium": _of_cilium}[name]
    options = cilium_policies.OPTIONS if name == "cilium" else None
    probes, ours, theirs = 0, 0.0, 0.0
    with Client(program(f"{name}-oracle")) as client:
        for number, seed in enumerate([0, *seeds]):
            objects, asked, engine = made(seed)
            began = perf_counter()
            client.ask(objects, asked, options)
            between = perf_counter()
            engine()
            done = perf_counter()
            if number:  # the first one loads what both need
                probes += len(asked)
                theirs += between - began
                ours += done - between
    return Rates(probes / ours, probes / theirs)


def _of_calico(seed: int) -> _Asked:
    random = Random(seed)
    objects = calico_policies.made_up(random, mixed=True)
    asked = list(calico_policies.probes_of(random, objects, _PROBES))
    profile = PROFILES["calico"]
    return objects, asked, lambda: calico_policies.engine_says(objects, profile, asked)


def _of_cilium(seed: int) -> _Asked:
    objects, asked = cilium_policies.made_up(seed, mixed=True, probes=_PROBES)
    profile = PROFILES["cilium"]
    wire = [on_the_wire(one) for one in asked]
    return objects, wire, lambda: cilium_policies.engine_says(objects, profile, asked)
