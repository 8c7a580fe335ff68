"""The verb ``completion``: what makes a shell complete verbs, options and file names."""

from __future__ import annotations

import click

from kubeverdict.command.failures import CLEAN, write_out
from kubeverdict.command.running import completion_variable, verb


@verb()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that makes a shell complete this command.

    \b
    bash   kubeverdict completion bash > ~/.local/share/bash-completion/completions/kubeverdict
    zsh    kubeverdict completion zsh > "${fpath[1]}/_kubeverdict"
    fish   kubeverdict completion fish > ~/.config/fish/completions/kubeverdict.fish
    """
    from click.shell_completion import ShellComplete, get_completion_class

    root = context.find_root().command
    # As it is installed; kubectl completes its plug-ins in a way of its own.
    name = "kubeverdict"
    kind = get_completion_class(shell)
    assert kind is not None, shell
    # What the class for bash does beyond that is to run bash, to see how old it is.
    script = ShellComplete.source(kind(root, {}, name, completion_variable(name)))
    write_out(f"{script.strip()}\n")
    return CLEAN
