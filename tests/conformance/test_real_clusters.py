"""Two clusters of other people: the list is what reading their policies says it should be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CLUSTERS = Path(__file__).parents[1] / "fixtures" / "clusters"

ANY_IPV4 = "0.0.0.0/0"
# Each service's ingress rule names its clients, and each client's egress rule the service.
BOUTIQUE = {
    "loadgenerator": {"frontend": 8080},
    "frontend": {
        "adservice": 9555,
        "cartservice": 7070,
        "checkoutservice": 5050,
        "currencyservice": 7000,
        "productcatalogservice": 3550,
        "recommendationservice": 8080,
        "shippingservice": 50051,
    },
    "checkoutservice": {
        "cartservice": 7070,
        "currencyservice": 7000,
        "emailservice": 8080,
        "paymentservice": 50051,
        "productcatalogservice": 3550,
        "shippingservice": 50051,
    },
    "recommendationservice": {"productcatalogservice": 3550},
}
# No policy selects redis-cart, and every other pod is isolated both ways without a rule for it:
# it is alone with the world. (The cart service cannot reach its own database: the policies say
# so. Nor does anyone find DNS, whose pods are not in the dump.)
ALONE = {("default/redis-cart[Deployment]", ANY_IPV4), (ANY_IPV4, "default/redis-cart[Deployment]")}

SECURITY_DEMOS = {
    "frontend/webapp": [
        "backend/checkout",
        "backend/recommendation",
        "backend/reports",
        "backend/shipping",
    ],
    "backend/checkout": ["backend/notification", "backend/recommendation", "payments/gateway"],
    "backend/recommendation": ["backend/catalog"],
    "backend/reports": ["backend/catalog", "backend/recommendation"],
    "payments/gateway": ["payments/mastercard-processor", "payments/visa-processor"],
}


def listed(folder: str) -> dict[tuple[str, str], object]:
    command = [
        sys.executable,
        "-m",
        "kubeverdict",
        "list",
        "-f",
        str(CLUSTERS / folder),
        "-o",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    connections = json.loads(done.stdout)["connections"]
    return {(one["source"], one["destination"]): one["ports"] for one in connections}


def test_online_boutique() -> None:
    expected: dict[tuple[str, str], object] = {
        (f"default/{source}[Deployment]", f"default/{destination}[Deployment]"): {"TCP": str(port)}
        for source, destinations in BOUTIQUE.items()
        for destination, port in destinations.items()
    }
    expected |= dict.fromkeys(ALONE, "all")
    assert listed("online-boutique") == expected


def test_security_demos() -> None:
    """Every namespace denies by default, and every rule is for TCP 8080, but those for DNS on UDP
    5353, which nobody accepts."""
    assert listed("acs-security-demos") == {
        (f"{source}[Deployment]", f"{destination}[Deployment]"): {"TCP": "8080"}
        for source, destinations in SECURITY_DEMOS.items()
        for destination in destinations
    }
