"""What Cilium's policies open, or close, beyond what they seem to say: told when they are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.manifests.reading import load_text, told

TO_PORT: dict[str, Any] = {"toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}


@pytest.mark.parametrize(
    ("section", "rule", "expected"),
    [
        (
            "egress",
            {"toServices": [], **TO_PORT},
            "toServices: an empty list is as if it were not there: the rule is for every end",
        ),
        ("egress", {"toFQDNs": []}, ""),
        ("egress", {"toEndpoints": [], **TO_PORT}, ""),
        (
            "egressDeny",
            {"toServices": [{"k8sService": {"serviceName": "web"}}], **TO_PORT},
            "toServices: a rule that denies does not look for Services: it is for every end",
        ),
        (
            "egress",
            {"toEntities": ["all"], "icmps": [{"fields": [{"type": "EchoReply"}]}]},
            "icmps[0].fields[0].type: type 0 stands for every type of ICMP over IPv4",
        ),
    ],
)
def test_what_opens_more_than_it_says_is_warned_of(
    section: str, rule: dict[str, Any], expected: str
) -> None:
    loaded = load_text(_document({section: [rule]}))
    assert told(loaded.warnings) == ([f"spec.{section}[0].{expected}"] if expected else [])


def _document(spec: dict[str, Any]) -> str:
    return json.dumps(
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": {"namespace": "shop", "name": "p"},
            "spec": {"endpointSelector": {}, **spec},
        }
    )
