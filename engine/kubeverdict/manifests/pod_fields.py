"""What pods say of themselves in more than one way: who owns them, since when, their addresses."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from kubeverdict.manifests import schema
from kubeverdict.manifests.checked import check_address
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.resources import group_of, kind_name
from kubeverdict.model.addresses import parse_address

Owner = tuple[str, str]  # kind, name
_NULL = b"null"


def owner_of(metadata: schema.Metadata) -> Owner | None:
    for owner in metadata.owner_references or ():
        if owner.controller and owner.kind and owner.name:
            return _kind_of(owner.api_version, owner.kind), owner.name
    return None


@lru_cache(1_024)
def _kind_of(api_version: str | None, kind: str) -> str:
    """Owners are of a few kinds, and of each pod."""
    return kind if api_version is None else kind_name(group_of(api_version), kind)


def started_at(metadata: schema.Metadata, status: schema.PodStatus) -> int:
    """When a pod was created, or 0. No verdict depends on it, so bad values are not reported."""
    for raw in (status.start_time, metadata.creation_timestamp):
        text = bytes(raw).strip(b'"')
        if text != _NULL:
            try:
                return int(datetime.fromisoformat(text.decode()).timestamp())
            except (ValueError, OverflowError):
                continue
    return 0


def addresses_of(place: DocumentPlace, status: schema.PodStatus) -> tuple[str, ...]:
    if not status.pod_ips:
        text = status.pod_ip
        if not text:
            return ()
        check_address(place, text, ("status", "podIP"))
        return (_canonical(text),)
    texts = tuple([entry.ip or "" for entry in status.pod_ips])
    for text in texts:
        if parse_address(text) is None:
            check_address(place, text, ("status", "podIPs", texts.index(text), "ip"))
    if len(texts) > 1 and len({":" in text for text in texts}) < len(texts):
        message = "may specify no more than one IP for each IP family"
        place.error(("status", "podIPs"), f"Invalid value: {message}")
    return texts if len(texts) == 1 and ":" not in texts[0] else tuple(map(_canonical, texts))


def _canonical(text: str) -> str:
    """The one spelling by which an address is found; of IPv4 there is no other."""
    address = parse_address(text) if ":" in text else None
    return text if address is None else str(address)
