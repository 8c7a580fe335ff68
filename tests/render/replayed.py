"""Reports on flows made by hand, to be rendered."""

from __future__ import annotations

from kubeverdict.analyses.decisions import Decision, RuleView
from kubeverdict.analyses.flow_groups import FlowGroup
from kubeverdict.analyses.judged_traffic import Count
from kubeverdict.analyses.misses import PolicyView
from kubeverdict.analyses.recommend.drafts import Recommendation, UnseenWorkload
from kubeverdict.analyses.recommend.proof import Excess, Proof, Recommended
from kubeverdict.analyses.recommend.shapes import (
    DraftBlockPeer,
    DraftPodPeer,
    DraftPolicy,
    DraftRule,
)
from kubeverdict.analyses.replay import IdleRule, Log, Replay, Unjudged
from kubeverdict.errors import Problem
from kubeverdict.model.addresses import Block
from kubeverdict.model.ports import Protocol
from tests.render.reports import BY_RULE, ISOLATED, OPEN

LOG = Log(
    lines=1200,
    records=1000,
    skipped=(Unjudged("replies", 199),),
    malformed=1,
    malformed_first=(Problem("flows.jsonl", 17, "", "JSON is malformed"),),
    lost=(Unjudged("pods that are not in the cluster", 12, ("a/b", "a/c")),),
    by_workload=3,
)
BROKEN = FlowGroup(
    "shop/web[Deployment]",
    "data/db[StatefulSet]",
    "5432/TCP",
    9000,
    4,
    "shop/web-0",
    "data/db-0",
    BY_RULE,
    ISOLATED,
    before=False,
)
ADMITTED = FlowGroup(
    "shop/web[Deployment]",
    "203.0.113.9",
    "443/TCP",
    2,
    2,
    "shop/web-0",
    "203.0.113.9",
    OPEN,
    Decision(True, "not-a-pod"),
)
VIEW = RuleView(
    PolicyView("NetworkPolicy", "data/idle", "data.yaml", 1),
    "spec.egress[0]",
    "data.yaml",
    9,
    "allow",
)
REPLAY = Replay(
    profile="reference",
    proposed=True,
    allowed=Count(100, 10),
    breaking=Count(9000, 4),
    broken_by_change=Count(0, 0),
    refused=Count(1, 1),
    admitted=Count(2, 2),
    breaks=(BROKEN,),
    admits=(ADMITTED,),
    groups_left_out=7,
    idle=(IdleRule(VIEW, "egress", False), IdleRule(VIEW, "egress", True)),
    rules=5,
    pairs_seen=3,
    pairs_allowed=8,
    log=LOG,
)
DRAFT = DraftPolicy(
    "shop",
    "recommended-web",
    (("app", "yes"),),
    (
        DraftRule(
            (DraftPodPeer("data", (("app", "db"),)),), ((Protocol.TCP, "on"),), ("1 record: db",)
        ),
    ),
    (DraftRule((DraftBlockPeer(Block(6, 0, 0)),), None, ()),),
    ("shop/web[Deployment]",),
)
RECOMMENDED = Recommended(
    Recommendation(
        policies=(DRAFT,),
        silent=(
            UnseenWorkload("shop/idle[Deployment]"),
            UnseenWorkload("shop/off[Job]", "", ("recommended-allow-dns",)),
        ),
        one_way=(
            UnseenWorkload("shop/web[Deployment]", "ingress"),
            UnseenWorkload("shop/db[StatefulSet]", "egress", ("recommended-default-deny",)),
        ),
        together=(("shop/a[Job]", "shop/b[Job]"),),
        left_alone=("kube-system",),
        notes=("no DNS pods were found: no rule for DNS was written",),
        denied=2,
    ),
    Proof(
        replayed=Count(10, 5),
        blocked=Count(9000, 4),
        repaired=Count(1, 1),
        still_denied=Count(9000, 4),
        blocked_groups=(BROKEN,),
        still_denied_groups=(BROKEN,),
        permitted=20,
        seen=5,
        excess=(Excess(VIEW, 20, 5, 2**64),),
        excess_left_out=3,
        selects_nothing=("shop/web: app=x in shop",),
    ),
    LOG,
    ("out/shop.yaml",),
)
