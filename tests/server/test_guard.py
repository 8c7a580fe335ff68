"""Nobody but the page of this server, in the browser of its user, gets an answer."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.server.serving import Served

OVERVIEW = "/api/overview"
ALL = (
    "/api/overview",
    "/api/map/counts",
    "/api/map/cells?sources=0-1&destinations=0-1",
    "/api/policy?key=NetworkPolicy/data/orders-db",
)
ASKED = {
    "/api/map/cell": {"source": 0, "destination": 1},
    "/api/explain": {"source": "shop/cart", "destination": "shop/cart", "port": "80"},
    "/api/lint": {},
    "/api/verify": {"assertions": ""},
    "/api/patch": {},
}


def test_it_listens_on_the_loopback_address_alone(shop: Served) -> None:
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A" and int(port, 16) == shop.port:
                listening.add(address)
    assert listening == {"0100007F"}


@pytest.mark.parametrize("path", ALL)
def test_an_answer_needs_the_cookie(shop: Served, path: str) -> None:
    assert shop.ask(path).status == 200
    assert shop.ask(path, cookie=None).status == 401
    assert shop.ask(path, cookie=shop.cookie[:-1]).status == 401
    assert shop.ask(path, cookie=f"other={shop.token}").status == 401
    assert shop.ask(path, cookie="\x7f;=;;").status == 401


@pytest.mark.parametrize("path", ASKED)
def test_a_question_needs_the_cookie_and_the_origin(shop: Served, path: str) -> None:
    question = ASKED[path]
    assert shop.ask(path, question).status in (200, 400)
    assert shop.ask(path, question, cookie=None).status == 401
    assert shop.ask(path, question, origin=None).status == 403
    assert shop.ask(path, question, origin="http://evil.example").status == 403
    assert shop.ask(path, question, origin="null").status == 403
    assert shop.ask(path, question, content_type="text/plain").status == 400


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
        "[::1]:{port}",
        "0.0.0.0:{port}",
        "",
    ],
)
def test_a_foreign_name_for_this_machine_is_refused(shop: Served, host: str) -> None:
    """DNS rebinding: the browser sends the name that it looked up, and the cookies of that name."""
    named = host.format(port=shop.port)
    for path in ("/", OVERVIEW):
        assert shop.ask(path, host=named, origin=None).status in (400, 421)
    assert shop.ask(OVERVIEW, host=f"localhost:{shop.port}", origin=None).status == 200


def test_a_second_host_is_refused(shop: Served) -> None:
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as plain:
        plain.sendall(
            f"GET / HTTP/1.1\r\nHost: {shop.host}\r\nHost: evil.example\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        assert plain.recv(100).split()[1] in (b"400", b"421")


def test_another_page_gets_nothing(shop: Served) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"https://{shop.host}"):
        reply = shop.ask(OVERVIEW, origin=origin)
        assert reply.status == 403
        assert not any(name.startswith("access-control") for name in reply.headers)
    assert shop.ask(OVERVIEW, origin=None, sec_fetch_site="cross-site").status == 403
    assert shop.ask(OVERVIEW, origin=None, sec_fetch_site="same-site").status == 403
    reply = shop.ask(OVERVIEW, method="OPTIONS", access_control_request_method="POST")
    assert reply.status == 405
    assert not any(name.startswith("access-control") for name in reply.headers)


def test_the_cookie_is_given_for_the_token_alone(shop: Served) -> None:
    reply = shop.ask("/api/session", {"token": shop.token}, cookie=None)
    assert reply.status == 204
    given = reply.headers["set-cookie"]
    assert {part.strip() for part in given.split(";")[1:]} == {
        "HttpOnly",
        "SameSite=Strict",
        "Path=/",
    }
    assert shop.token not in given
    for token in ("", shop.token[:-1], shop.token + "x", "ü"):
        wrong = shop.ask("/api/session", {"token": token}, cookie=None)
        assert wrong.status == 401 and "set-cookie" not in wrong.headers
    for body in (b"", b"{}", b"[]", b'{"token": 1}', b"\xff"):
        assert shop.ask("/api/session", body=body, cookie=None).status == 400
    asked = shop.ask("/api/session", {"token": shop.token}, origin="http://evil.example")
    assert asked.status == 403


def test_a_socket_needs_the_cookie_and_the_origin(shop: Served) -> None:
    with shop.typing() as opened:
        opened.ping().wait(5)
    for headers in (
        {"cookie": ""},
        {"cookie": shop.cookie[:-1]},
        {"origin": "http://evil.example"},
        {"origin": "null"},
    ):
        with pytest.raises(InvalidStatus) as refused:
            shop.typing(**headers)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", OVERVIEW, "/nowhere"])
def test_every_answer_says_what_a_browser_may_do_with_it(shop: Served, path: str) -> None:
    headers = shop.ask(path).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert "script-src" not in policy and "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_a_nonce_is_of_one_answer(shop: Served) -> None:
    replies = [shop.ask("/") for _ in range(2)]
    nonces = [one.body.split(b'name="style-nonce" content="')[1].split(b'"')[0] for one in replies]
    assert len({*nonces}) == 2
    for reply, nonce in zip(replies, nonces, strict=True):
        assert f"'nonce-{nonce.decode()}'" in reply.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/page/dist/../../app.py",
        "/%2e%2e/app.py",
        "/..%2fapp.py",
        "/page.js/../../../app.py",
        "//etc/passwd",
        "/page.js%00.html",
        "/dist/page.js",
        "/.",
    ],
)
def test_no_path_leads_to_another_file(shop: Served, path: str) -> None:
    reply = shop.ask(path)
    assert reply.status in (401, 404)
    assert b"import" not in reply.body and b"root:" not in reply.body


def test_policies_are_found_by_their_key_and_nothing_else(shop: Served) -> None:
    for key in ("", "../../../../etc/passwd", "NetworkPolicy/data", "x" * 5000, "%00"):
        assert shop.ask(f"/api/policy?key={key}").status == 400


def test_large_questions_are_refused(shop: Served) -> None:
    large = {"draft": [{"name": "a", "text": "#" * (600 << 10)}]}
    assert shop.ask("/api/patch", large).status == 413
    some = {"draft": [{"name": "a", "text": "#" * (300 << 10)}]}
    assert b"256 KiB" in shop.ask("/api/patch", some).body
    many = {"draft": [{"name": str(number), "text": ""} for number in range(101)]}
    assert b"at most 100 policies" in shop.ask("/api/patch", many).body
    cells = shop.ask("/api/map/cells?sources=0-999999999&destinations=0-1")
    assert cells.status == 400
    for span in ("", "1", "1-", "-1", "a-b", "1-0", "9" * 30 + "-1", "²-³"):
        path = f"/api/map/cells?sources={quote(span)}&destinations=0-1"
        assert shop.ask(path).status == 400, span


def test_a_large_message_ends_the_socket(shop: Served) -> None:
    with shop.typing() as opened, pytest.raises(ConnectionClosed):
        opened.send(json.dumps({"id": 1, "draft": [{"name": "a", "text": "#" * (600 << 10)}]}))
        opened.recv(timeout=10)
    assert shop.ask(OVERVIEW).status == 200


SURROGATE = r'{"id": 1, "draft": [{"name": "a", "text": "\ud800"}]}'


@pytest.mark.parametrize(
    "message", ["", "{}", "[]", "{" * 5000, '{"id": 1}', '{"id": "1", "draft": []}', SURROGATE]
)
def test_a_message_that_is_no_draft_ends_the_socket(shop: Served, message: str) -> None:
    with shop.typing() as opened, pytest.raises(ConnectionClosed):
        opened.send(message)
        opened.recv(timeout=10)
    assert shop.ask(OVERVIEW).status == 200


HOSTILE = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{chr(97 + n)}: &{chr(97 + n)} [{','.join([f'*{chr(96 + n)}'] * 9)}]\n"
        for n in range(1, 12)
    ),
    "nesting": "[" * 100_000,
    "merge": "a: &a {b: 1}\nc: {<<: [" + "*a," * 5000 + "*a]}\n",
    "tag": "!!python/object/apply:os.system ['touch /tmp/kubeverdict-was-here']\n",
    "pods": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
    "spec: {replicas: 1000000000, selector: {matchLabels: {a: b}}, "
    "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a}]}}}\n",
    "nul": "kind: \x00",
    "list": "kind: List\nitems: []\n",
    "number": "kind: 1\n",
    "text": "hello",
    "empty": "",
    "ports": "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n"
    "spec: {podSelector: {}, ingress: [{ports: [" + "{port: 1}," * 10_000 + "]}]}\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_answered(shop: Served, name: str) -> None:
    with shop.typing() as opened:
        opened.send(json.dumps({"id": 1, "draft": [{"name": "a", "text": HOSTILE[name]}]}))
        answer = json.loads(opened.recv(timeout=30))
        assert answer["stage"] == "read" and answer["id"] == 1
        if name != "ports":
            assert not answer["valid"] and answer["problems"][0]["message"]
    assert not Path("/tmp/kubeverdict-was-here").exists()
