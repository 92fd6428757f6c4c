"""Who may do what: tokens, JWTs, roles, sessions, and what a refusal gives away."""

from dataclasses import replace
from datetime import UTC, datetime

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from observe.errors import ConfigError
from observe.model import Labels
from observe.show.auth import AuthSettings, JwtSettings, Token, load_tokens, needed_role
from observe.show.web import build_web
from tests.show.world import empty_world

pytestmark = pytest.mark.anyio

SECRET = "a-long-shared-secret-of-many-bytes"
TOKENS = {role: f"{role}-token-0123456789" for role in ("viewer", "operator", "admin", "ingest")}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    world = empty_world(tmp_path_factory.mktemp("auth"))
    world.add(Labels({"__name__": "up", "job": "a"}), [1.0])
    yield world
    world.close()


@pytest.fixture
def world(stored):
    return stored.renewed()


def settings(**more):
    return AuthSettings(tuple(Token.of(f"the {role}", role, secret) for role, secret in TOKENS.items()), **more)


def client(world, auth=None):
    app = build_web(world.context, auth or settings(), loopback=False)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://observe.example")


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/v1/query?query=up", {"viewer", "operator", "admin"}),
        ("POST", "/api/v1/query?query=up", {"viewer", "operator", "admin"}),
        ("GET", "/", {"viewer", "operator", "admin"}),
        ("GET", "/metrics", {"viewer", "operator", "admin"}),
        ("POST", "/silences/x/lift", {"operator", "admin"}),
        ("POST", "/-/reload", {"admin"}),
        ("POST", "/v1/traces", {"ingest", "admin"}),
        ("POST", "/api/v1/write", {"ingest", "admin"}),
        ("POST", "/api/v2/alerts", {"ingest", "admin"}),
        ("POST", "/api/v2/silences", {"operator", "admin"}),
        ("DELETE", "/api/v2/silence/x", {"operator", "admin"}),
        ("GET", "/-/ready", {"viewer", "operator", "admin", "ingest", ""}),
        ("GET", "/static/console.css", {"viewer", "operator", "admin", "ingest", ""}),
    ],
)
async def test_roles_may_do_what_the_table_says(world, method, path, allowed):
    got = set()
    async with client(world) as http:
        for role, secret in [*TOKENS.items(), ("", "")]:
            answer = await http.request(method, path, headers=bearer(secret) if secret else {})
            if answer.status_code not in {401, 403}:
                got.add(role)

    assert allowed == got


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "log in at /login"),
        (bearer("nonsense-nonsense-nonsense"), "this token is not known"),
        ({"Authorization": "Basic dTpw"}, "only `Authorization: Bearer TOKEN`"),
        ({"Cookie": "observe_session=stolen"}, "log in at /login"),
    ],
)
async def test_a_refusal_is_401_in_the_one_error_shape(world, headers, words):
    async with client(world) as http:
        answer = await http.get("/api/v1/query?query=up", headers=headers)

    assert (401, "unauthorized", "Bearer") == (
        answer.status_code,
        answer.json()["errorType"],
        answer.headers["www-authenticate"],
    )
    assert words in answer.json()["error"]
    assert "nonsense" not in answer.text


async def test_refusals_are_counted(world):
    async with client(world) as http:
        await http.get("/api/v1/query?query=up")
        await http.post("/-/reload", headers=bearer(TOKENS["viewer"]))

    told = world.telemetry.exposition()
    assert b'observe_http_refused_total{reason="unauthorized"} 1.0' in told
    assert b'observe_http_refused_total{reason="forbidden"} 1.0' in told


async def test_a_person_signs_in_with_a_token_and_out_again(world):
    async with client(world) as http:
        sent = await http.get("/alerts?q=x", headers={"Accept": "text/html"})
        wrong = await http.post("/login", data={"token": "wrong-wrong-wrong-wrong", "next": "/alerts"})
        ingest = await http.post("/login", data={"token": TOKENS["ingest"]})
        right = await http.post("/login", data={"token": TOKENS["operator"], "next": "/alerts?q=x"})
        inside = await http.get("/alerts")
        out = await http.post("/logout", headers={"Origin": "https://observe.example"})
        after = await http.get("/alerts")

    assert (303, "/login?next=%2Falerts%3Fq%3Dx") == (sent.status_code, sent.headers["location"])
    assert (401, True) == (wrong.status_code, "this token is not known" in wrong.text)
    assert (401, True) == (ingest.status_code, "may only send data" in ingest.text)
    assert (303, "/alerts?q=x") == (right.status_code, right.headers["location"])
    assert "httponly" in right.headers["set-cookie"].lower()
    assert "samesite=lax" in right.headers["set-cookie"].lower()
    assert (200, 303, 401) == (inside.status_code, out.status_code, after.status_code)


async def test_a_session_ends_after_its_time(world):
    async with client(world) as http:
        await http.post("/login", data={"token": TOKENS["viewer"]})
        before = await http.get("/alerts")
        world.clock.advance("13h")
        after = await http.get("/alerts")

    assert (200, 401) == (before.status_code, after.status_code)


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
async def test_signing_in_never_leads_to_another_site(world, target):
    async with client(world) as http:
        answer = await http.post("/login", data={"token": TOKENS["viewer"], "next": target})

    assert (303, "/") == (answer.status_code, answer.headers["location"])


async def test_secure_cookies_where_people_come_by_https(world):
    async with client(world, settings(secure_cookies=True)) as http:
        answer = await http.post("/login", data={"token": TOKENS["viewer"]})

    assert "secure" in answer.headers["set-cookie"].lower()


# ---------------------------------------------------------------- JWT


def claims(**more):
    return {"sub": "anna", "role": "operator", "exp": datetime(2100, 1, 1, tzinfo=UTC), **more}


@pytest.mark.parametrize(
    ("body", "key", "status", "words"),
    [
        (claims(), SECRET, 200, ""),
        (claims(role=["viewer", "admin"]), SECRET, 200, ""),
        (claims(role="king"), SECRET, 403, "names none of the roles"),
        (claims(exp=datetime(2001, 1, 1, tzinfo=UTC)), SECRET, 401, "expired"),
        ({"role": "viewer"}, SECRET, 401, "exp"),
        (claims(), "another-secret-of-quite-many-bytes", 401, "Signature verification failed"),
        (claims(iss="other"), SECRET, 401, "issuer"),
    ],
)
async def test_jwts_are_verified(world, body, key, status, words):
    auth = AuthSettings(jwt=JwtSettings(SECRET, ("HS256",), issuer="idp"))
    text = jwt.encode({"iss": "idp", **body}, key, algorithm="HS256")
    async with client(world, auth) as http:
        answer = await http.get("/api/v1/query?query=up", headers=bearer(text))

    assert status == answer.status_code
    assert words in answer.text


async def test_a_public_key_verifies_and_cannot_be_used_to_sign(world):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    auth = AuthSettings(jwt=JwtSettings(public, ("RS256",), role_claim="realm_access.roles"))
    good = jwt.encode(claims(realm_access={"roles": ["viewer"]}), private, algorithm="RS256")
    unsigned = jwt.encode(claims(realm_access={"roles": ["admin"]}), None, algorithm="none")
    async with client(world, auth) as http:
        answers = [await http.get("/api/v1/query?query=up", headers=bearer(text)) for text in (good, unsigned)]

    assert [200, 401] == [answer.status_code for answer in answers]


async def test_the_one_who_silences_is_named(world):
    from tests.show.incident_alerts import latency_alert

    alert = latency_alert()
    world.book.past = [alert]
    async with client(world) as http:
        await http.post(
            f"/alerts/{alert.fingerprint}/silence", data={"for": "1h"}, headers=bearer(TOKENS["operator"])
        )

    assert ["the operator"] == [silence.created_by for silence in world.desk.silence_list]


# ---------------------------------------------------------------- the token file


def test_a_token_file_takes_secrets_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAFANA_TOKEN", "from-the-environment")
    file = tmp_path / "tokens"
    file.write_text("# who\nviewer grafana $GRAFANA_TOKEN\nadmin anna 0123456789abcdef # me\n")

    expected = (Token.of("grafana", "viewer", "from-the-environment"), Token.of("anna", "admin", "0123456789abcdef"))
    assert expected == load_tokens(file)
    assert "0123456789abcdef" not in repr(load_tokens(file))


def test_every_problem_of_a_token_file_is_told_without_its_secrets(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("king anna 0123456789abcdef\nviewer short hunter2\nviewer\nviewer unset $NOT_THERE\n")

    with pytest.raises(ConfigError) as caught:
        load_tokens(file)

    told = str(caught.value)
    assert [1, 2, 3, 4] == [problem.line for problem in caught.value.problems]
    assert "'king' is none of the roles" in told
    assert "hunter2" not in told
    with pytest.raises(ConfigError, match="cannot read the token file"):
        load_tokens(tmp_path / "absent")


def test_without_tokens_and_keys_nothing_is_configured():
    assert not AuthSettings().configured
    assert settings().configured


def test_paths_outside_the_table_need_an_operator_to_change():
    assert ("operator", "viewer") == (needed_role("PATCH", "/unheard/of"), needed_role("GET", "/unheard/of"))


async def test_many_sessions_push_out_the_oldest(world, monkeypatch):
    monkeypatch.setattr("observe.show.auth._MOST_SESSIONS", 2)
    async with client(world) as http:
        await http.post("/login", data={"token": TOKENS["viewer"]})
        first = dict(http.cookies)
        for _ in range(2):
            http.cookies.clear()
            await http.post("/login", data={"token": TOKENS["viewer"]})
        http.cookies.clear()
        http.cookies.update(first)
        pushed_out = await http.get("/alerts")

    assert 401 == pushed_out.status_code


async def test_the_metrics_application_is_behind_the_same_gate(world):
    from observe.show.web import build_metrics_web

    app = build_metrics_web(replace(world.context), settings(), loopback=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://observe.example") as http:
        refused = await http.get("/api/v1/query?query=up")
        allowed = await http.get("/api/v1/query?query=up", headers=bearer(TOKENS["viewer"]))

    assert (401, 200) == (refused.status_code, allowed.status_code)
