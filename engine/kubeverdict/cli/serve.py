"""The verb ``serve``: a page on which policies are edited."""

from __future__ import annotations

from pathlib import Path

import click

from kubeverdict.cli.inputs import check_pods, load_input, say_notes, say_wait, snapshot_in
from kubeverdict.cli.options import cni_options, input_files
from kubeverdict.cli.output import say
from kubeverdict.command.failures import CLEAN, write_out
from kubeverdict.command.running import verb
from kubeverdict.errors import UsageError
from kubeverdict.model.profile import PROFILES


@verb()
@input_files
@click.option(
    "--assertions",
    metavar="FILE",
    help="What must hold, as for verify: the page shows what an edit breaks.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="any that is free",
    help="The port of 127.0.0.1 to listen on.",
)
@cni_options
def serve(
    files: tuple[str, ...],
    namespace: str,
    assertions: str | None,
    port: int,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """A page to edit policies on, which shows what each edit opens and closes.

    It is served to this machine alone, at an address that is printed; Ctrl-C ends it. Nothing is
    written anywhere: what was edited is taken from the page as YAML or as a diff. Needs the extra
    'serve'.
    """
    try:
        import websockets  # noqa: F401  # uvicorn goes without it, and the page does not

        from kubeverdict.server.serving import serve as serve_
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "kubeverdict":
            raise
        raise UsageError(f"serve needs {error.name}: pip install 'kubeverdict[serve]'") from None
    from kubeverdict.manifests.assertions import read_assertions
    from kubeverdict.server.workspace import Inputs, Workspace
    from kubeverdict.session.session import Session
    from kubeverdict.session.settings import lint_settings

    if snapshot_in(files) is not None:
        raise UsageError(f"{files[0]} is a snapshot, which holds no text to edit: name manifests")
    text = ""
    if assertions is not None:
        if Path(assertions).is_dir():
            raise UsageError(f"--assertions {assertions}: is a folder, name one file")
        read_assertions([assertions])
        text = Path(assertions).read_text("utf-8")
    settings = lint_settings()
    loaded = load_input(files, namespace, skip_invalid)
    say_wait(loaded.cluster)
    session = Session.of(loaded.cluster, PROFILES[cni], static=static)
    say_notes(session.now.compiled)
    check_pods(session.now.compiled)
    workspace = Workspace(session, Inputs(loaded.origins, settings, text))
    workspace.prepare()

    def ready(address: str) -> None:
        write_out(f"{address}\n")
        say("note", "open this address in a browser on this machine; Ctrl-C ends the server")

    serve_(workspace, port, ready)
    return CLEAN
