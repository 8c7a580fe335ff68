"""A verification, for the renderers."""

from __future__ import annotations

from kubeverdict.analyses.decisions import Decision
from kubeverdict.analyses.port_text import Ports
from kubeverdict.analyses.verify.report import NewPod, Result, Verification, Violation
from tests.render.reports import BY_RULE, OPEN

BETWEEN_PODS = Violation(
    source="dev/toy[Pod]",
    destination="shop/web[Deployment]{web-0}",
    ports=Ports((("TCP", "80,443"),)),
    egress=OPEN,
    ingress=BY_RULE,
    sample=("dev/toy", "shop/web-0", "TCP 80"),
    pairs=1,
    family="IPv6",
)
BY_A_NEW_POD = Violation(
    source="dev/source-1[Pod]",
    destination="203.0.113.0/24",
    ports=Ports(everything=True),
    egress=OPEN,
    ingress=Decision(True, "not-a-pod"),
    sample=("dev/source-1", "203.0.113.0", "TCP 1"),
    new_source=NewPod("dev", {"app": "toy"}, "10.0.0.1"),
)
TO_A_NAMED_PORT = Violation(
    source="203.0.113.0/24",
    destination="dev/destination-1[Pod]",
    ports=Ports((("TCP", "8080"),)),
    egress=Decision(True, "not-a-pod"),
    ingress=BY_RULE,
    sample=("203.0.113.0", "dev/destination-1", "TCP 8080"),
    new_destination=NewPod("dev", {}, port="TCP 8080", port_names=("metrics", "web")),
)
VERIFICATION = Verification(
    "reference",
    True,
    (
        Result(
            "closed",
            "deny",
            "a.yaml",
            2,
            "Nothing gets out.",
            violations=(BETWEEN_PODS, BY_A_NEW_POD, TO_A_NAMED_PORT),
            pairs=1,
        ),
        Result("open", "allow", "a.yaml", 6),
        Result("mistyped", "only from", "a.yaml", 9, error="from: no pod matches", error_line=10),
    ),
)
