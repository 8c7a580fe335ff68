"""All verbs of the command ``kubeverdict``."""

from __future__ import annotations

import click

from kubeverdict.cli.bulk import bulk
from kubeverdict.cli.completion import completion
from kubeverdict.cli.diff import diff
from kubeverdict.cli.equal import equal
from kubeverdict.cli.examples import examples
from kubeverdict.cli.explain import explain
from kubeverdict.cli.lint import lint
from kubeverdict.cli.list import list_
from kubeverdict.cli.recommend import recommend
from kubeverdict.cli.replay import replay
from kubeverdict.cli.serve import serve
from kubeverdict.cli.snapshot import snapshot
from kubeverdict.cli.verify import verify
from kubeverdict.cli.warmup import warmup
from kubeverdict.cli.watch import watch
from kubeverdict.cli.whatif import whatif
from kubeverdict.command.running import SETTINGS, VerbGroup
from kubeverdict.command.version import version_option


@click.group(cls=VerbGroup, context_settings=SETTINGS)
@version_option
def cli() -> None:
    """Who can talk to whom in a Kubernetes cluster, which rule decides, what a change does."""


for _verb in (
    bulk,
    completion,
    diff,
    equal,
    examples,
    explain,
    lint,
    list_,
    recommend,
    replay,
    serve,
    snapshot,
    verify,
    warmup,
    watch,
    whatif,
):
    cli.add_command(_verb)
