"""`./run agent-demo`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agent.running import PATIENCE, ROOT, environment, why_not
from tests.docs.consoles import fits, is_on_a_node
from tests.docs.pages import blocks

PAGE = ROOT / "docs" / "agent.md"

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def test_the_demo_shows_what_it_says_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.agent_demo"],
        cwd=ROOT,
        env={**environment(), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output, _ = process.communicate(timeout=4 * PATIENCE)
    assert process.returncode == 0, output
    (shown,) = [block for block in blocks(PAGE) if is_on_a_node(block)]
    assert fits(shown.lines[1:], output), output
    audit, enforced = output.split("### The namespace is enforced")
    assert "turn namespace shop to enforce and this connection breaks" in audit
    assert "shop/frontend -> shop/payments TCP 8080" in audit
    assert "NetworkPolicy shop/frontend (engine/kubeverdict/examples/shop/" in audit
    assert "does not answer" not in audit
    assert enforced.count("frontend -> payments:8080 does not answer") == 2
    assert '"verdict":"DROPPED"' in enforced and '"workloads":[{"name":"frontend"' in enforced
    assert "programs removed from 3 links, maps removed" in enforced
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    left = [name for name in os.listdir("/var/run/netns") if name.startswith(f"kv{process.pid}-")]
    assert left == []
