"""Names of Services in the cluster's DNS."""

from __future__ import annotations

import re

_SERVICE = re.compile(
    r"(?P<name>[a-z0-9]([-a-z0-9]*[a-z0-9])?)\.(?P<namespace>[a-z0-9]([-a-z0-9]*[a-z0-9])?)"
    r"\.svc(\.(?P<domain>[a-z0-9]([-a-z0-9.]*[a-z0-9])?))?\.?"
)
CLUSTER_DOMAIN = "cluster.local"


def service_name(text: str) -> tuple[str, str] | None:
    """Namespace and name of the Service that ``db.shop.svc`` or ``db.shop.svc.cluster.local``
    stands for; None where the text has another form."""
    match = _SERVICE.fullmatch(text.lower())
    return (match["namespace"], match["name"]) if match else None


def is_of_cluster(text: str) -> bool:
    """Whether a name is one of the cluster's, by the domain that clusters have by default."""
    match = _SERVICE.fullmatch(text.lower())
    return match is not None and match["domain"] in (None, CLUSTER_DOMAIN)
