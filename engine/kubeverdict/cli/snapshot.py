"""The verb ``snapshot``: a compiled cluster in one file."""

from __future__ import annotations

import click

from kubeverdict.cli.inputs import compiled_from, load_input, remarks
from kubeverdict.cli.options import cni_options, input_files
from kubeverdict.command.failures import CLEAN
from kubeverdict.command.running import verb


@verb()
@input_files
@click.option("-o", "--output", required=True, metavar="FILE.kvs", help="The file to write.")
@cni_options
def snapshot(
    files: tuple[str, ...],
    namespace: str,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """Keep a cluster as it is now, compiled, in one file.

    Every verb reads it in place of manifests, in milliseconds, and answers as of then.
    """
    from kubeverdict import snapshots
    from kubeverdict.evaluate.scenarios.workbench import workbench

    loaded = load_input(files, namespace, skip_invalid)
    compiled = compiled_from(loaded.cluster, cni, static)
    snapshots.write(output, compiled, workbench(compiled), remarks=remarks(loaded))
    return CLEAN
