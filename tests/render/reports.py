"""Reports made by hand, to be rendered."""

from __future__ import annotations

from kubeverdict.analyses import bulk
from kubeverdict.analyses.conditions import UnmetCondition
from kubeverdict.analyses.connections import Connections
from kubeverdict.analyses.decisions import ConnectionVerdict, Decision, RuleView
from kubeverdict.analyses.differences import Difference, Differences
from kubeverdict.analyses.drift import DriftRun, drift
from kubeverdict.analyses.effects import Effect
from kubeverdict.analyses.explain import Answer, Explanation
from kubeverdict.analyses.findings import Check, Finding, Severity
from kubeverdict.analyses.links import Fan, Target
from kubeverdict.analyses.lint import LintReport
from kubeverdict.analyses.misses import PolicyMiss, PolicyView, RuleMiss
from kubeverdict.analyses.peers import address_peer, pod_peer
from kubeverdict.analyses.port_text import Ports
from kubeverdict.analyses.spelling import Guess
from kubeverdict.analyses.whatif import PairTotals, WhatIf

WEB = pod_peer("shop/web[Deployment]", "shop")
DB = pod_peer("data/db[StatefulSet]", "data")
WORLD = address_peer(4, [(0, 2**32 - 1)])
ALL = Ports(everything=True)
NONE = Ports()
SQL = Ports((("TCP", "5432"),))
MANY = Ports((("TCP", "80,443-500"), ("UDP", "53")))

CONNECTIONS = Connections(
    "reference",
    (
        Fan(WEB, (Target(DB, SQL, ""), Target(WORLD, MANY, ""))),
        Fan(WORLD, (Target(WEB, ALL, ""),)),
    ),
    {},
)
FAMILIES = Connections("reference", (Fan(WEB, (Target(DB, SQL, "IPv4"),)),), {})
DIFFERENCES = Differences(
    "reference",
    (
        Difference(WEB, DB, NONE, SQL),
        Difference(WEB, WORLD, ALL, NONE),
        Difference(WORLD, WEB, SQL, MANY),
    ),
    appeared=("shop/web[Deployment]",),
    gone=(),
)

ALLOW_WEB = PolicyView("NetworkPolicy", "data/allow-web", "data.yaml", 40)
DENY = PolicyView("NetworkPolicy", "data/deny", "data.yaml", 3)
BY_RULE = Decision(True, "rule", RuleView(ALLOW_WEB, "spec.ingress[0]", "data.yaml", 44, "allow"))
OPEN = Decision(True, "not-isolated")
ISOLATED = Decision(
    False,
    "no-rule-matches",
    isolated_by=(
        PolicyMiss(
            ALLOW_WEB,
            RuleMiss(
                "spec.ingress[0]",
                "data.yaml",
                44,
                (
                    UnmetCondition(
                        "pod label",
                        "peer wants app=wep, shop/web-0 has app=web",
                        "app=wep",
                        "app=web",
                        Guess("web", 1),
                        0.5,
                    ),
                    UnmetCondition("port", "port 80 is not in TCP 5432", "TCP 5432", "TCP 80"),
                ),
                adapted=False,
            ),
        ),
        PolicyMiss(DENY),
    ),
)
DENIED = Explanation(
    profile="reference",
    source="shop/web[Deployment]",
    destination="data/db-0",
    port="80",
    allowed=False,
    answers=(
        Answer(
            sources=("shop/web-0", "shop/web-1"),
            destinations=("data/db-0",),
            protocol="TCP",
            port=80,
            allowed=False,
            egress=OPEN,
            ingress=ISOLATED,
            whole_source=True,
            whole_destination=True,
        ),
    ),
    notes=(),
)
ALLOWED = Explanation(
    profile="reference",
    source="shop/web[Deployment]",
    destination="svc/data/db",
    port="all ports",
    allowed=True,
    answers=(
        Answer(
            sources=("shop/web-0",),
            destinations=("data/db-0",),
            protocol="TCP",
            port=5432,
            allowed=True,
            egress=OPEN,
            ingress=BY_RULE,
            whole_source=False,
            whole_destination=False,
            family=6,
            through="sql 5432/TCP",
        ),
    ),
    notes=(),
)

WHATIF = WhatIf(
    profile="reference",
    opened=(
        Effect(
            WEB,
            DB,
            SQL,
            4,
            before=ConnectionVerdict(
                False, OPEN, Decision(False, "no-rule-matches", None, (PolicyMiss(DENY),))
            ),
            after=ConnectionVerdict(True, OPEN, BY_RULE),
        ),
    ),
    closed=(),
    pairs=(PairTotals((4, 6), before=10, after=14, opened=4, closed=0),),
)
NOTHING = WhatIf("reference", (), (), (PairTotals((4,), 1, 1, 0, 0),))

BY_RULE = Decision(
    True,
    "rule",
    RuleView(
        PolicyView("NetworkPolicy", "shop/web", "web.yaml", 1),
        "spec.egress[0]",
        "web.yaml",
        12,
        "allow",
    ),
)
CLOSED = bulk.ChangedConnection(
    opens=False,
    source="shop/web-0",
    destination="data/db-0",
    port="5432/TCP",
    source_workload="shop/web[Deployment]",
    destination_workload="data/db[StatefulSet]",
    before=ConnectionVerdict(True, BY_RULE, Decision(True, "not-isolated")),
    after=ConnectionVerdict(
        False, Decision(False, "no-rule-matches"), Decision(True, "not-isolated")
    ),
)
SCENARIO = bulk.ScenarioReport(
    "delete networkpolicy/shop/web",
    bulk.Figures(0, 1234, 0, 1234),
    workloads=2,
    namespaces=2,
    outside_closed=True,
    examples=(CLOSED,),
    milliseconds=0.1,
)
REDUNDANT = bulk.ScenarioReport(
    "delete networkpolicy/shop/old", redundant=bulk.Redundancy(covered_by=("shop/web",))
)
FAILED = bulk.ScenarioReport("wrong", error="s.yaml:3: cannot delete it")
RANKING = bulk.Ranking(
    (SCENARIO, REDUNDANT, FAILED),
    bulk.summary((SCENARIO, REDUNDANT, FAILED)),
    top=5,
    pairs=(bulk.Pair("one", "two", 3, 4),),
)
STEP = bulk.ScenarioReport(
    "apply networkpolicy/shop/web", bulk.Figures(0, 2, 0, 2), breaks=True, broken=2
)
ROLLOUT = bulk.Ranking(
    (STEP,), bulk.summary((STEP,)), top=5, rollout=True, safe_order=bulk.Order(("second", "first"))
)
DRIFT = drift("delete networkpolicy/shop/web", {"a": SCENARIO, "b": SCENARIO, "c": FAILED})
DRIFT_RUN = DriftRun(("a", "b", "c"), (DRIFT,), top=5)
LINT = LintReport(
    "reference",
    (Check("dns-blocked", "DNS"), Check("peer-split", "a split", Severity.WARNING)),
    (
        Finding(
            "peer-split",
            Severity.WARNING,
            "opens all",
            "",
            0,
            ("Namespace shop",),
            "",
            "Fix.",
            about="Namespace shop",
        ),
        Finding(
            "dns-blocked",
            Severity.ERROR,
            "2 pods cannot",
            "a.yaml",
            7,
            ("NetworkPolicy shop/deny", "Deployment shop/web"),
            "Names matter.",
            "Allow it.",
            about="NetworkPolicy shop/deny",
            fingerprint="0123456789abcdef",
        ),
        Finding(
            "dns-blocked", Severity.ERROR, "1 pod cannot", "a.yaml", 9, (), "Names matter.", "F."
        ),
    ),
    suppressed=1,
)
