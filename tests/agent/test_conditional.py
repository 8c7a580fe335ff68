"""What policy allows under a condition: it passes in every mode, and auditing says so."""

from __future__ import annotations

import time

from msgspec.structs import replace

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.policy import Direction
from kubeverdict_agent.datapath.layout import Mode, PacketReason, PodDirection
from kubeverdict_agent.lowering.rows import DecidedRules
from kubeverdict_agent.lowering.tables import Local, lower
from kubeverdict_agent.observe import hubble, report
from kubeverdict_agent.observe.collecting import Collector
from kubeverdict_agent.observe.naming import Naming
from kubeverdict_agent.observe.owners import PodOwners
from tests.agent import packets
from tests.agent.packets import TCP, ethernet, ipv4
from tests.agent.programs import needs_root
from tests.agent.web import DB, WEB, Web

pytestmark = needs_root
GET = "for GET /api only"
CONDITIONAL = PacketReason.CONDITIONAL


def use(web: Web, mode: Mode) -> Collector:
    """Egress to the database depends on a condition."""
    web.fresh()
    cluster = web.compiled().cluster
    (policy,) = cluster.policies
    rules = tuple(
        replace(rule, condition=GET) if rule.direction is Direction.EGRESS else rule
        for rule in policy.rules
    )
    compiled = compile_cluster(replace(cluster, policies=(replace(policy, rules=rules),)))
    tables = lower(compiled, "node-1", [Local(0, "shop", "web", mode)], ["10.0.0.254"])
    naming = Naming()
    naming.published(
        web.datapath.publish(tables),
        compiled,
        DecidedRules(tables.rules, tables.tiers, tables.conditional),
    )
    owners = PodOwners("node-1")
    owners.follow(compiled.pods)
    naming.see_owners(owners)
    return Collector(web.datapath, naming, lambda number: ("shop", "web"))


def sent(web: Web, port: int, own: int = 40000) -> bool:
    return web.leaves(ethernet(0x0800, ipv4(WEB, DB, TCP, packets.tcp(own, port))))


def counted(web: Web) -> int:
    return web.counted(PodDirection.EGRESS, CONDITIONAL, dropped=False)


def test_auditing_reports_what_depends_on_a_condition_apart(web: Web) -> None:
    collector = use(web, Mode.AUDIT)
    web.datapath.events()
    before = counted(web)
    assert sent(web, 5432) and sent(web, 22, 40001)
    assert counted(web) == before + 1
    collector.drain()
    found = report.make("node-1", time.time(), collector.ledger(), 0, 0)
    (part,) = found.namespaces
    assert (part.would_break, part.conditional, part.dropped) == (1, 1, 0)
    lines = {line.port: line for line in part.lines}
    assert lines[5432].conditional and lines[5432].reasons == ("conditional",)
    assert GET in lines[5432].decided_by[0]
    assert not lines[22].conditional and lines[22].reasons == ("denied",)
    text = "\n".join(report.text(found))
    assert "this connection depends on a condition of a rule" in text
    assert "turn namespace shop to enforce and this connection breaks" in text
    assert "egress lets through in every mode 1 packet" in text


def test_an_event_says_the_condition_and_that_the_packet_went_on(web: Web) -> None:
    collector = use(web, Mode.AUDIT)
    web.datapath.events()
    assert sent(web, 5432, 40002)
    collector.read_events()
    (denial,) = collector.recent(10)
    event = hubble.flow(denial, "node-1")
    assert event["flow"]["verdict"] == "FORWARDED"
    told = event["kubeverdict"]
    assert (told["reason"], told["decided_by"], told["condition"]) == (
        "conditional",
        "conditional",
        GET,
    )


def test_enforcing_lets_it_through(web: Web) -> None:
    collector = use(web, Mode.ENFORCE)
    before = counted(web)
    assert sent(web, 5432, 40003) and not sent(web, 22, 40004)
    assert counted(web) == before + 1
    collector.drain()
    assert [key.port for key, _ in collector.ledger()] == [22]
