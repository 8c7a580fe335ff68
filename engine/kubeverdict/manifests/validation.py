"""The API server's checks of names, labels, ports and CIDRs, with its messages.

Each check returns messages, none when the value is good; callers add the field. ``shape_*``
read a value of the expected JSON type out of a document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.model.addresses import BITS, Block, parse_block
from kubeverdict.model.ports import MAX_PORT
from kubeverdict.model.sources import FieldPath

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME_PART = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_is_label = re.compile(_LABEL).fullmatch
_is_subdomain = re.compile(_SUBDOMAIN).fullmatch
_is_name_part = re.compile(_NAME_PART).fullmatch
# Of a prefix, so much is used for a name.
_GENERATED_FROM = 58
_ANNOTATIONS_SIZE = 256 << 10
_PORT_NUMBER = f"must be between 1 and {MAX_PORT}, inclusive"


def subject(kind: str, metadata: dict[str, Any], namespace: str | None) -> str:
    """What a message calls an object, as far as its ``metadata`` is what it should be;
    ``namespace`` is where it is if it does not say, None for a kind that is in none."""
    name = metadata.get("name")
    if not name and isinstance(prefix := metadata.get("generateName"), str):
        name = generated_name(prefix)
    text = name if name and isinstance(name, str) else "?"
    if namespace is not None:
        where = metadata.get("namespace")
        known = isinstance(where, str | None)
        text = f"{where or namespace}/{text}" if known else f"?/{text}"
    return f"{kind} {text}"


def quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def invalid(value: Any, message: str) -> str:
    return f"Invalid value: {quoted(value)}: {message}"


def required(message: str = "") -> str:
    return f"Required value: {message}" if message else "Required value"


def forbidden(message: str) -> str:
    return f"Forbidden: {message}"


def unsupported(value: Any, supported: tuple[str, ...]) -> str:
    return f"Unsupported value: {quoted(value)}: supported values: " + ", ".join(
        map(quoted, supported)
    )


def _size(text: str) -> int:
    # JSON can spell half of a pair that stands for one character.
    return len(text.encode(errors="surrogatepass"))


def _too_long(text: str, limit: int, unit: str = "characters") -> list[str]:
    # Bytes are what counts, whatever the server calls them.
    return [f"must be no more than {limit} {unit}"] if _size(text) > limit else []


def _pattern(message: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def subdomain_errors(name: str) -> list[str]:
    errors = _too_long(name, 253)
    if not _is_subdomain(name):
        text = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.', and must start and end with an alphanumeric character"
        )
        errors.append(_pattern(text, _SUBDOMAIN, "example.com"))
    return errors


def generated_name(prefix: str) -> str:
    """What an object is called whose ``generateName`` is ``prefix``: its name is not known yet,
    and no name that is has a star."""
    return f"{prefix}*"


def is_generated(name: str) -> bool:
    return name.endswith("*")


def generate_name_errors(prefix: str, *, used: bool) -> list[str]:
    """Errors of a ``generateName``, and where it is ``used`` of the name that it leads to."""
    # The server looks at it without its last dash, and replaces one more character than that.
    masked = f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix
    errors = subdomain_errors(masked)
    if used and not errors:
        errors = subdomain_errors(f"{prefix[:_GENERATED_FROM]}x")
    return errors


def annotation_errors(annotations: Mapping[str, str]) -> list[str]:
    """Errors of annotations; keys are as for labels, but may have upper case in their prefix."""
    errors = [
        invalid(key, message) for key in annotations for message in label_key_errors(key.lower())
    ]
    size = sum(_size(key) + _size(text) for key, text in annotations.items())
    if size > _ANNOTATIONS_SIZE:
        errors.append(f"Too long: may not be more than {_ANNOTATIONS_SIZE} bytes")
    return errors


def dns_label_errors(name: str) -> list[str]:
    errors = _too_long(name, 63)
    if not _is_label(name):
        text = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
            "'-', and must start and end with an alphanumeric character"
        )
        errors.append(_pattern(text, _LABEL, "my-name", "123-abc"))
    return errors


_QUALIFIED = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)


def label_key_errors(key: str) -> list[str]:
    """Errors of a qualified name: ``name`` or ``prefix/name``."""
    parts = key.split("/")
    if len(parts) > 2:
        text = f"a valid label key {_QUALIFIED}"
        pattern = _pattern(text, _NAME_PART, "MyName", "my.name", "123-abc")
        prefix = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"{pattern} {prefix}"]
    errors = []
    if len(parts) == 2:
        if parts[0]:
            errors += [f"prefix part {message}" for message in subdomain_errors(parts[0])]
        else:
            errors.append("prefix part must be non-empty")
    name = parts[-1]
    if not name:
        errors.append("name part must be non-empty")
    errors += [f"name part {message}" for message in _too_long(name, 63, "bytes")]
    if not _is_name_part(name):
        pattern = _pattern(_QUALIFIED, _NAME_PART, "MyName", "my.name", "123-abc")
        errors.append(f"name part {pattern}")
    return errors


def label_value_errors(value: str) -> list[str]:
    errors = _too_long(value, 63, "bytes")
    if value and not _is_name_part(value):
        text = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', "
            "'_' or '.', and must start and end with an alphanumeric character"
        )
        errors.append(_pattern(text, f"({_NAME_PART})?", "MyValue", "my_value", "12345"))
    return errors


def port_number_errors(number: int) -> list[str]:
    return [] if 1 <= number <= MAX_PORT else [_PORT_NUMBER]


def port_name_errors(name: str) -> list[str]:
    errors = _too_long(name, 15)
    if not re.fullmatch(r"[-a-z0-9]+", name):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", name):
        errors.append("must contain at least one letter (a-z)")
    if "--" in name:
        errors.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_STRICT_ZEROS = "must not have leading 0s in IP or prefix length"
_STRICT_MAPPED = "must not have an IPv4-mapped IPv6 address"
_STRICT_HOST = "must not have bits set beyond the prefix length"
_MAPPED_FIRST = 0xFFFF << 32


class Cidr(NamedTuple):
    """A CIDR as the API server's lenient parser reads it.

    ``prefix`` is as written, which for an IPv4-mapped address is not that of ``block``;
    ``complaint`` is what strict validation, the default from Kubernetes 1.36, says first against
    the spelling.
    """

    block: Block
    prefix: int
    complaint: str | None


def read_cidr(text: str) -> Cidr | None:
    """The CIDR that ``text`` spells; None where even the lenient parser refuses it."""
    address, slash, prefix = text.partition("/")
    plain = ":".join(map(_without_spare_zeros, address.split(":")))
    plain_prefix = re.sub(r"\A0+(?=[0-9])", "", prefix)
    block = parse_block(f"{plain}{slash}{plain_prefix}")
    if block is None:
        return None
    exact = parse_block(f"{plain}/{BITS[block.family]}")
    assert exact is not None
    written, complaint = block.prefix, None
    if exact.first != block.first:
        complaint = _STRICT_HOST
    if block.family == 6 and exact.first >> 32 == 0xFFFF:
        complaint = _STRICT_MAPPED
        if block.prefix >= 96:
            block = Block(4, block.first - _MAPPED_FIRST, block.prefix - 96)
    if (plain, plain_prefix) != (address, prefix):
        complaint = _STRICT_ZEROS
    return Cidr(block, written, complaint)


def _without_spare_zeros(group: str) -> str:
    """What stands between the colons of an address, or all of one without colons, without leading
    zeros that only the lenient parser takes."""
    if "." in group:
        return ".".join(octet and (octet.lstrip("0") or "0") for octet in group.split("."))
    return (group.lstrip("0") or "0") if len(group) > 4 else group


def type_name(value: Any) -> str:
    """What a JSON value is, for "expected a list, got a string"."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def wrong_type(value: Any, expected: str) -> str:
    message = f"expected {expected}, got {type_name(value)}"
    if isinstance(value, list | dict) or value is None:
        return f"Invalid value: {message}"
    if isinstance(value, int | float) and expected == "a string":
        message += " (quote it)"
    return invalid(value, message)


def shape_object(place: DocumentPlace, value: Any, path: FieldPath) -> dict[str, Any]:
    """``value`` as an object; null is an empty one, as for the API server."""
    if isinstance(value, dict):
        return value
    if value is not None:
        place.error(path, wrong_type(value, "an object"))
    return {}


def shape_list(place: DocumentPlace, value: Any, path: FieldPath) -> list[Any]:
    if isinstance(value, list):
        return value
    if value is not None:
        place.error(path, wrong_type(value, "a list"))
    return []


def shape_string(place: DocumentPlace, value: Any, path: FieldPath) -> str | None:
    """``value`` as a string, null as the empty one; None, and an error, for anything else."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    place.error(path, wrong_type(value, "a string"))
    return None
