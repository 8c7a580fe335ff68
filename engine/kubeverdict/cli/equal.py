"""The verb ``equal``: whether two sets of policies allow the same."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from kubeverdict.cli.inputs import check_pods, cluster_in, compiled_from
from kubeverdict.cli.options import cni_of_each, judging, live_options, namespace_option, two_cnis
from kubeverdict.cli.output import show
from kubeverdict.command.failures import CLEAN, FINDINGS, WRONG
from kubeverdict.command.running import verb

if TYPE_CHECKING:
    from kubeverdict.model.cluster import Cluster


@verb()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--any",
    "any_pod",
    is_flag=True,
    help="For every pod and namespace that could be created, too.",
)
@live_options
@namespace_option
@partial(two_cnis, sides=("a", "b"))
@judging("equal")
def equal(
    first: str,
    second: str,
    any_pod: bool,
    namespace: str,
    cni_a: str | None,
    cni_b: str | None,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """Whether the policies of two inputs allow the same.

    Pods, namespaces and nodes are those of the input that has pods; where both have, they must be
    the same. Exit status 0 where the policies are equal, 1 where they are not, with the simplest
    connections that tell them apart, and 2 where that cannot be said.
    """
    from kubeverdict.analyses.equal import DIFFERENT, EQUAL
    from kubeverdict.analyses.equal import equal as equal_
    from kubeverdict.model.same_world import in_same_world

    cnis = cni_of_each(cni, cni_a, cni_b)
    clusters: list[Cluster] = [
        cluster_in((path,), namespace, skip_invalid) for path in (first, second)
    ]
    shared = in_same_world(*clusters)
    compiled = [compiled_from(one, name, static) for one, name in zip(shared, cnis, strict=True)]
    if not any_pod:
        check_pods(*compiled)
    report = equal_(*compiled, any_pod=any_pod)
    show("equal", output, report)
    return {EQUAL: CLEAN, DIFFERENT: FINDINGS}.get(report.verdict, WRONG)
