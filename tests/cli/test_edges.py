"""What a user meets besides answers: notes, mistakes, terminals and pipes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from kubeverdict.model.profile import PROFILES
from tests.cli.running import DENY, INTERRUPTIBLE, SHOP, WEB_AND_DB, command, run

ASK = ("--from", "shop/web", "--to", "data/db", "--port", "80")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(WEB_AND_DB + "---" + DENY)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Usage"),
        (("lst",), "No such command"),
        (("list",), "Missing option"),
        (("list", "-f", SHOP, "-o", "yaml"), "Invalid value"),
        (("list", "-f", SHOP, "--cni", "flanel"), "Invalid value"),
        (("list", "-f", SHOP, "--direction", "ingress"), "--direction needs"),
        (("list", "-f", SHOP, "--focus", "shop/frontent"), 'did you mean "frontend"'),
        (("list", "-f", "/does/not/exist"), "/does/not/exist"),
        (("explain", "-f", SHOP, "--from", "shop/cart", "--to", "shop/cart"), "--port is missing"),
        (("diff", SHOP), "Missing argument"),
        (("diff", SHOP, "/does/not/exist"), "/does/not/exist"),
        (("whatif", "-f", SHOP), "nothing to change"),
        (("whatif", "-f", SHOP, "--delete", "networkpolicy/data/nothing"), "does not exist"),
        (("whatif", "-f", SHOP, "--delete", "nonsense"), "nonsense"),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[object, ...], message: str) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert message in done.err or (message in done.out and not arguments)


def test_every_error_of_every_document_is_listed(tmp_path: Path) -> None:
    bad = DENY.replace("[Ingress]", "[Inward, Ingress]")
    (tmp_path / "a.yaml").write_text(WEB_AND_DB + "---" + bad)
    (tmp_path / "b.yaml").write_text(bad.replace("name: deny", "name: other"))
    done = run("list", "-f", tmp_path)
    assert (done.status, done.out) == (2, "")
    *problems, last = done.err.splitlines()
    assert [line.split(":")[0].rsplit("/")[-1] for line in problems] == ["a.yaml", "b.yaml"]
    assert all("spec.policyTypes[0]" in line for line in problems)
    assert last == "error: 2 errors in the input; --skip-invalid goes on without these documents"


def test_skipped_documents_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(WEB_AND_DB + "---" + DENY.replace("[Ingress]", "[Inward]"))
    done = run("explain", "-f", path, *ASK, "--skip-invalid")
    assert done.status == 0  # without the policy nothing denies
    assert "skipped: " in done.err and "spec.policyTypes[0]" in done.err


def test_warnings_and_ignored_kinds_are_on_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    misspelt = DENY.replace("podSelector", "podSelectr")
    settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n"
    path.write_text("---\n".join([WEB_AND_DB, misspelt, settings]))
    done = run("list", "-f", path)
    assert done.status == 0
    assert "warning: " in done.err and "podSelector" in done.err
    assert "1 ConfigMap" in done.err
    assert "note" not in done.out and "warning" not in done.out


def test_flannel_says_plainly_that_nothing_is_enforced(cluster: Path) -> None:
    done = run("explain", "-f", cluster, *ASK, "--cni", "flannel")
    assert done.status == 0
    assert "Flannel alone enforces no network policy" in done.err


def test_the_profile_is_named_where_it_is_not_the_reference(cluster: Path) -> None:
    assert "judged as" not in run("list", "-f", cluster).err
    done = run("list", "-f", cluster, "--cni", "antrea")
    assert "note: judged as Antrea does (--cni antrea)" in done.err
    for knob in PROFILES["antrea"].unverified:
        assert knob in done.err


def test_implied_namespaces_and_excluded_pods_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        WEB_AND_DB.replace("Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}]", "Succeeded")
        + "---"
        + DENY
    )
    done = run("list", "-f", path)
    assert "1 pod left out, finished (Succeeded): shop/web" in done.err
    assert "no Namespace object in the input, so only the name is known of: data, shop" in done.err


def test_static_keeps_pods_without_an_address(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        WEB_AND_DB.replace("Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}]", "Pending")
    )
    assert run("explain", "-f", path, *ASK).status == 2
    assert run("explain", "-f", path, *ASK, "--static").status == 0


def test_no_option_changes_what_a_status_means(cluster: Path) -> None:
    assert run("explain", "-f", cluster, *ASK).status == 1
    assert run("explain", "-f", cluster, *ASK, "-o", "json").status == 1


def test_notes_of_two_inputs_are_said_once(cluster: Path) -> None:
    done = run("diff", cluster, cluster, "--cni", "calico")
    assert done.err.count("judged as Calico") == 1


def test_ascii_where_the_encoding_has_no_more(cluster: Path) -> None:
    done = run("explain", "-f", cluster, *ASK, PYTHONIOENCODING="ascii")
    assert done.out.isascii() and "`- " in done.out and " -> " in done.out


def on_terminal(*arguments: object, **environment: str) -> str:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*command(), *map(str, arguments)],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", **environment},
        check=False,
    )
    assert done.returncode == 1
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    return shown


def test_colour_on_a_terminal_unless_asked_otherwise(cluster: Path) -> None:
    question = ("explain", "-f", cluster, *ASK)
    assert "\x1b[31mdenied\x1b[0m" in on_terminal(*question, NO_COLOR="")
    assert "\x1b" not in on_terminal(*question, NO_COLOR="1")
    assert "\x1b" not in on_terminal(*question, NO_COLOR="", TERM="dumb")


def test_an_interrupt_is_no_traceback() -> None:
    process = subprocess.Popen(
        [*INTERRUPTIBLE, *command(), "list", "-f", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stderr is not None
    # It reads standard input by now, and would for ever.
    process.stdin.write(b"{")
    process.stdin.flush()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == 128 + signal.SIGINT
    assert b"Traceback" not in process.stderr.read()
    process.stdin.close()
    process.stderr.close()


def test_as_a_plugin_of_kubectl_it_says_so(tmp_path: Path) -> None:
    script = Path(command()[0]).with_name("kubectl-kubeverdict")
    if not script.exists():
        pytest.skip("kubeverdict is not installed beside this Python")
    done = subprocess.run([script, "list", "--help"], capture_output=True, check=True, text=True)
    assert "Usage: kubectl kubeverdict list" in done.stdout
