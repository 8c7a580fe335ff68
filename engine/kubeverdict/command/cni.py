"""How both commands are told which network plug-in to judge as."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kubeverdict.model.profile import PROFILES, profile_name

if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:  # takes a parameter from click 8.2 on
    _Choice = click.Choice


class CniName(_Choice):
    """The name of a profile, also as NAME@VERSION where it was proved for that version."""

    def __init__(self) -> None:
        super().__init__(list(PROFILES))

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return profile_name(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
