"""Which format a file is in, and so who reads it."""

from __future__ import annotations

from collections.abc import Iterator

from kubeverdict.manifests import documents, templates, yaml_text
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.json_text import JsonError
from kubeverdict.manifests.origins import FileOrigin
from kubeverdict.manifests.sources import Buffer

# YAML from this size is first tried by the fast reader; below, PyYAML is quick enough.
BULK = 128 << 10


def read(buffer: Buffer, findings: Findings) -> Iterator[Document]:
    """The documents of a file. Text that cannot be read is reported."""
    name, data = buffer.name, buffer.data

    def fail(at: int, message: str) -> None:
        line = data[:at].count(b"\n") + buffer.line
        DocumentPlace(findings, FileOrigin(name, line)).error((), message)

    if data[:64].lstrip()[:1] == b"{":
        try:
            yield from documents.from_json(name, data, buffer.line)
            return
        except JsonError as error:
            # It may be YAML in flow style, unless its name or its size says otherwise.
            if name.lower().endswith(".json") or len(data) > BULK:
                fail(error.at, error.message)
                return
    try:
        text = data[:].decode()
    except UnicodeDecodeError as error:
        fail(error.start, f"not UTF-8 text: {error.reason} at byte {error.start}")
        return
    if len(text) < BULK and (line := templates.first_action(text)):
        message = templates.what_to_do(name)
        DocumentPlace(findings, FileOrigin(name, line + buffer.line - 1)).error((), message)
        return
    if len(text) >= BULK and buffer.line == 1:
        # Here, because importing rapidyaml takes longer than reading a small input.
        from kubeverdict.manifests import yaml_bulk

        yield from yaml_bulk.read(name, text, findings)
        return
    for part in yaml_text.documents(text):
        part = part._replace(line=part.line + buffer.line - 1)
        yield from documents.from_yaml(name, text, part, findings)
