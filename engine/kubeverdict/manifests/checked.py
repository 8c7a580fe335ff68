"""Single values of objects, checked: what is wrong is reported at its field."""

from __future__ import annotations

from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.validation import invalid, port_number_errors, required, unsupported
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.ports import PORT_PROTOCOLS, Protocol
from kubeverdict.model.sources import FieldPath

_PROTOCOLS = {protocol.name: protocol for protocol in PORT_PROTOCOLS}
_PROTOCOL_WORDS = ("SCTP", "TCP", "UDP")


def check_address(place: DocumentPlace, text: str, path: FieldPath) -> None:
    if parse_address(text) is None:
        message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        place.error(path, invalid(text, message))


def protocol_of(place: DocumentPlace, text: str | None, path: FieldPath) -> Protocol:
    """The protocol of a port, TCP where none is given."""
    protocol = _PROTOCOLS.get(text) if text else Protocol.TCP
    if protocol is None:
        place.error(path, unsupported(text, _PROTOCOL_WORDS))
        return Protocol.TCP
    return protocol


def port_number(place: DocumentPlace, number: int | None, path: FieldPath) -> int:
    if number is None:
        place.error(path, required())
        return 0
    for message in port_number_errors(number):
        place.error(path, invalid(number, message))
    return number
