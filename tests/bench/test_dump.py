"""Dumps hold the cluster, in every format alike."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench import dump
from bench.dump import _yaml_item
from bench.shapes import SHAPES
from bench.workloads import cluster
from kubeverdict.model.cluster import Cluster, Service


def text(made: Cluster, form: dump.Format = "json", *, compact: bool = False) -> bytes:
    out = io.BytesIO()
    dump.write(made, out, form, compact=compact)
    return out.getvalue()


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_format_says_the_same(shape: str) -> None:
    made = cluster(shape, 60)
    pretty = text(made)
    parsed = msgspec.json.decode(pretty)
    assert msgspec.json.decode(text(made, compact=True)) == parsed
    assert yaml.load(text(made, "yaml"), yaml.CSafeLoader) == parsed
    assert parsed["kind"] == "List"
    kinds = [item["kind"] for item in parsed["items"]]
    assert kinds.count("Namespace") == len(made.namespaces)
    assert kinds.count("Node") == len(made.nodes)
    assert kinds.count("Pod") == len(made.pods)
    assert kinds.count("NetworkPolicy") == len(made.policies)


def test_pretty_json_is_laid_out_like_kubectl() -> None:
    pretty = text(cluster("mixed", 60))
    parsed = msgspec.json.decode(pretty)
    encoded = msgspec.json.encode(parsed, order="sorted")
    assert pretty == msgspec.json.format(encoded, indent=4) + b"\n"


def test_a_pod_weighs_what_a_real_one_does() -> None:
    made = cluster("mixed", 500)
    pods = len(text(made, compact=True)) / len(made.pods)
    assert 4500 < pods < 5100


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match="services"):
        text(Cluster(services=(Service("shop", "db", {}),)))


# Names, addresses and settings are ASCII; what tempts YAML is among them.
words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
tempting = st.sampled_from(["yes", "No", "1e3", "0x1f", "a: b", "- a", "#", "~", "1:30", "a b"])
scalars = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | words | tempting


def mappings(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(words | tempting, inner, max_size=4)


# Kubernetes has no lists directly in lists, and the writer does not write them.
values = st.recursive(
    scalars,
    lambda inner: mappings(inner) | st.lists(mappings(inner) | scalars, max_size=4),
    max_leaves=20,
)


@given(mappings(values))
def test_yaml_reads_back(document: dict[str, Any]) -> None:
    written = "".join(_yaml_item(document, ""))
    assert yaml.safe_load(written) == [document]
