"""Where a cluster is and who asks: kubeconfig files, merged as kubectl merges them.

Of a name that several files have, the first file counts. Paths in a file are relative to its
folder. Without any file the service account of the pod is used, where this runs in one.

Source: client-go's ``clientcmd``, and its types ``api/v1`` and ``clientauthentication``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.manifests import yaml_text

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_FILE = Path(".kube") / "config"


class _Entry(msgspec.Struct, frozen=True, rename="kebab"):
    """A part of a kubeconfig. Fields that are not known are ignored, as kubectl does."""


class Variable(msgspec.Struct, frozen=True):
    """A variable of the environment of a credential plug-in."""

    name: str
    value: str = ""


class Plugin(msgspec.Struct, frozen=True, rename="camel"):
    """A program that prints credentials."""

    command: str
    api_version: str = ""
    args: tuple[str, ...] | None = None
    env: tuple[Variable, ...] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = "IfAvailable"


class ClusterEntry(_Entry, frozen=True):
    """How a server is reached and recognised. ``…_data`` is base64 and comes before the file."""

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    disable_compression: bool = False


# Neither in one style.
_KEYS = {
    "client_certificate": "client-certificate",
    "client_certificate_data": "client-certificate-data",
    "client_key": "client-key",
    "client_key_data": "client-key-data",
    "token_file": "tokenFile",
    "plugin": "exec",
    "auth_provider": "auth-provider",
    "as_user": "as",
    "as_uid": "as-uid",
    "as_groups": "as-groups",
    "as_user_extra": "as-user-extra",
}


class UserEntry(msgspec.Struct, frozen=True, rename=_KEYS):
    """How a user authenticates, and for whom it asks."""

    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    plugin: Plugin | None = None
    auth_provider: Mapping[str, Any] | None = None
    as_user: str = ""
    as_uid: str = ""
    as_groups: tuple[str, ...] | None = None
    as_user_extra: Mapping[str, tuple[str, ...]] | None = None


class ContextEntry(_Entry, frozen=True):
    """A cluster and a user, by name."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: ClusterEntry = ClusterEntry()


class _NamedUser(msgspec.Struct, frozen=True):
    name: str
    user: UserEntry = UserEntry()


class _NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: ContextEntry = ContextEntry()


class _File(_Entry, frozen=True):
    current_context: str = ""
    clusters: tuple[_NamedCluster, ...] | None = None
    users: tuple[_NamedUser, ...] | None = None
    contexts: tuple[_NamedContext, ...] | None = None


class Impersonation(msgspec.Struct, frozen=True):
    """Whom a request is made as, instead of the user who sends it."""

    user: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = {}


class Access(msgspec.Struct, frozen=True):
    """One way to one cluster. ``name`` is that of the context; ``namespace`` is where the context
    is, empty where it does not say; ``folder`` is what a plug-in's relative path starts from."""

    name: str
    cluster: ClusterEntry
    user: UserEntry
    namespace: str
    impersonation: Impersonation
    folder: Path


def find_access(
    kubeconfig: str | None = None,
    context: str | None = None,
    impersonation: Impersonation | None = None,
    environment: Mapping[str, str] = os.environ,
    service_account: Path = _SERVICE_ACCOUNT,
) -> Access:
    """The cluster that a context stands for.

    ``kubeconfig`` is a file; without it ``KUBECONFIG`` names some, or there is one in the home
    folder, or this is a pod. ``context`` None is the current one. ``impersonation`` comes before
    that of the kubeconfig. Raises UsageError where there is no such cluster, InputError where a
    file cannot be used.
    """
    files = _files(kubeconfig, environment)
    if not files and context is None:
        inside = _in_cluster(environment, service_account)
        if inside is not None:
            return msgspec.structs.replace(inside, impersonation=impersonation or Impersonation())
    if not files:
        raise UsageError("no kubeconfig: name one with --kubeconfig or KUBECONFIG")
    return _chosen(files, context, impersonation)


def _files(kubeconfig: str | None, environment: Mapping[str, str]) -> list[Path]:
    if kubeconfig is not None:
        return [Path(kubeconfig)]
    listed = environment.get("KUBECONFIG", "")
    if listed:
        # As with kubectl, files of the list that are not there are left out.
        return [Path(one) for one in listed.split(os.pathsep) if one and Path(one).exists()]
    home = environment.get("HOME", "")
    default = Path(home) / _DEFAULT_FILE
    return [default] if home and default.exists() else []


def _chosen(
    files: Sequence[Path], context: str | None, impersonation: Impersonation | None
) -> Access:
    read = [(path, _read(path)) for path in files]
    names = ", ".join(map(str, files))
    current = next((file.current_context for _, file in read if file.current_context), "")
    wanted = current if context is None else context
    contexts = _first((one.name, one.context) for _, file in read for one in file.contexts or ())
    if not wanted:
        raise UsageError(f"{names}: no current-context; --context names one of {_listed(contexts)}")
    if wanted not in contexts:
        raise UsageError(f"{names}: no context {wanted!r}; there are {_listed(contexts)}")
    chosen = contexts[wanted]
    clusters = _first(
        (one.name, (path.parent, one.cluster)) for path, file in read for one in file.clusters or ()
    )
    users = _first(
        (one.name, (path.parent, one.user)) for path, file in read for one in file.users or ()
    )
    if chosen.cluster not in clusters:
        raise UsageError(
            f"{names}: context {wanted!r} is of a cluster {chosen.cluster!r} that is not there"
        )
    if chosen.user and chosen.user not in users:
        raise UsageError(
            f"{names}: context {wanted!r} is of a user {chosen.user!r} that is not there"
        )
    folder, cluster = clusters[chosen.cluster]
    user_folder, user = users.get(chosen.user, (folder, UserEntry()))
    if not cluster.server:
        raise UsageError(f"{names}: cluster {chosen.cluster!r} names no server")
    return Access(
        name=wanted,
        cluster=_placed(cluster, folder, "certificate_authority"),
        user=_placed(user, user_folder, "client_certificate", "client_key", "token_file"),
        namespace=chosen.namespace,
        impersonation=impersonation or _impersonation(user),
        folder=user_folder.absolute(),
    )


def _read(path: Path) -> _File:
    def wrong(line: int, field: str, message: str) -> InputError:
        return InputError([Problem(str(path), line, field, message)], skippable=False)

    try:
        value, _ = yaml_text.parse(path.read_text("utf-8"))
    except OSError as error:
        raise wrong(0, "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise wrong(0, "", "not UTF-8 text") from None
    except yaml_text.TextError as error:
        raise wrong(error.line + 1, "", error.message) from None
    try:
        return msgspec.convert({} if value is None else value, _File)
    except msgspec.ValidationError as error:
        message, _, field = str(error).partition(" - at `$")
        raise wrong(0, field.rstrip("`").lstrip("."), message) from None


def _first(entries: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, entry in entries:
        found.setdefault(name, entry)
    return found


_Part = TypeVar("_Part", ClusterEntry, UserEntry)


def _placed(entry: _Part, folder: Path, *fields: str) -> _Part:
    """An entry whose files are found from any working directory."""
    absolute = {name: str(folder / path) for name in fields if (path := getattr(entry, name))}
    return msgspec.structs.replace(entry, **absolute)


def _impersonation(user: UserEntry) -> Impersonation:
    return Impersonation(
        user.as_user, user.as_groups or (), user.as_uid, dict(user.as_user_extra or {})
    )


def _in_cluster(environment: Mapping[str, str], folder: Path) -> Access | None:
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "")
    token = folder / "token"
    if not (host and port and token.exists()):
        return None
    place = f"[{host}]" if ":" in host else host
    try:
        namespace = (folder / "namespace").read_text("utf-8").strip()
    except OSError:
        namespace = ""
    return Access(
        name="in-cluster",
        cluster=ClusterEntry(
            server=f"https://{place}:{port}", certificate_authority=str(folder / "ca.crt")
        ),
        user=UserEntry(token_file=str(token)),
        namespace=namespace,
        impersonation=Impersonation(),
        folder=folder,
    )


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"
