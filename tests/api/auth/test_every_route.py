"""Every route in both modes of sign-in, called by nobody, by a user A, by another user B with all that is A's filled in, by
an operator with the admin token, and by signed-in operators, on their first visit and later; B and the operators also with
all that is an anonymous visitor's.

The routes, their parameters and the fields of their bodies come from the OpenAPI document. A new route is called like
the others; where no request for it can be made up, or where it is open by design, `SAMPLES` and `OPEN` must say so."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from safelight.domain.ids import new_id
from tests.api.routes.test_files import data_url
from tests.conftest import COFFEE, Backend, Json, _database, running
from tests.security.test_planted_secrets import all_tables
from tests.support.image_jobs import ended
from tests.support.openapi import BODY_ROUTES, ROUTES, Route, body_schema, resolved
from tests.support.scope import LONG
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

ADMIN_TOKEN = "the-operators-token-0123456789abcdef"
ADMIN = {"x-admin-secret": ADMIN_TOKEN}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OPERATOR_EMAIL = "operator@example.com"
SIMULATED = {"simulated_url": "http://127.0.0.1:9"}  # its webhooks are a route, too
SETTINGS = {
    "admin_token": ADMIN_TOKEN,
    "admin_emails": OPERATOR_EMAIL,
    "sync_result_timeout_seconds": 0.05,
    **SIGNED_BY_SECRET,
    **SIMULATED,
}
TRIES_MAX = 30
EMAIL = "ann.planted-email@example.com"
PACKS = 987_653
CREDITS = 918_273_645
VISITORS_CREDITS = 736_453
PLANTED = ("planted-brief", "planted-title", "planted-comment", "planted-event", EMAIL, str(PACKS))

# What is open by design: what somebody without any right gets, and why that is so.
OPEN: dict[str, tuple[int, str]] = {
    "GET /": (200, "holds nothing but links"),
    "GET /health": (200, "says only whether the database and the workers answer"),
    "GET /api/health": (200, "as /health"),
    "GET /metrics": (200, "holds only counts"),
    "GET /public/stats/total-users": (200, "is one count, for the page before signing in"),
    "GET /me": (200, "says that nobody is signed in"),
    "POST /auth/shopify-sync": (200, "says that nobody is signed in"),
    "POST /api/log-error": (200, "takes crashes from pages on which nobody has signed in, and tells nothing"),
    "GET /assets/{key}": (200, "a public file"),
    "GET /public/download": (200, "a public file"),
    "GET /thumbnails/{size}/{key}": (307, "a small picture of a public file"),
    "PUT /assets/{key}": (403, "only a URL that was signed for it lets one pass"),
    "GET /private-assets/{key}": (403, "only a URL that was signed for it lets one pass"),
    "POST /webhooks/{adapter}/{attempt}": (200, "a hint that holds no data: its job looks for itself, only earlier"),
    "POST /api/credits/shopify-order": (401, "only what the shop has signed counts"),
    "GET /api/v1/models": (200, "prices and settings are the same for everybody"),
}
STREAM = "GET /mma/stream/{generation_id}"
OF_V1 = "/api/v1/generations/{generation_id}"
STREAMS = (STREAM, f"GET {OF_V1}/stream")
SHOWN_BY_ID = "GET /mma/generations/{generation_id}"
# What operators may do to a customer, and how it changes the customer's credits; all else leaves a customer as they are.
ACTS_ON_CUSTOMERS = {"POST /credits/add": 20, "POST /admin/credits/adjust": 10}
# What shows operators what is a customer's.
SHOWS_OPERATORS = (
    *STREAMS, SHOWN_BY_ID, "POST /mma/generations/{generation_id}/cancel", "GET /api/admin/failed-generations",
    "GET /admin/customers", f"GET {OF_V1}", f"GET {OF_V1}/steps", f"GET {OF_V1}/media-urls", f"POST {OF_V1}/cancel",
    f"GET {OF_V1}/logs", f"GET {OF_V1}/receipt", f"POST {OF_V1}/stream-token",
)  # fmt: skip
# What answers also nobody with SAFELIGHT_AUTH=required; whoever states a pass id there is refused.
ANSWERS_NOBODY = {
    "POST /sessions/start": "a session of nobody, of which nothing is stored",
    "GET /credits/balance": "nobody has 0 credits",
    "GET /history": "nobody has an empty history",
    "GET /history/trimmed": "as /history",
}
# What the document's examples do not say, and a request that works needs.
SAMPLES: dict[str, Any] = {
    "data_url": data_url(COFFEE.read_bytes()),
    "prompt": "a cup",
    "motion_description": "push in",
    "motion_user_brief": "push in",
    "motion_feedback": "slower",
    "type_for_me": False,
    "file": data_url(COFFEE.read_bytes()),
}


FORM_ROUTES = [route for route in BODY_ROUTES if not route.path.startswith("/api/v1/")]  # which takes JSON alone


@dataclass
class World:
    """A backend with everything that user A has, and user B who has credits of their own."""

    backend: Backend
    is_strict: bool
    user_id: str = field(default_factory=new_id)
    other_id: str = field(default_factory=new_id)
    operator_id: str = field(default_factory=new_id)
    visitor: str = ""
    values: dict[str, list[str]] = field(default_factory=dict)
    visitors_values: dict[str, list[str]] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def pass_id(self) -> str:
        return f"pass:user:{self.user_id}"

    @property
    def a(self) -> dict[str, str]:
        return bearer(token(self.user_id, EMAIL))

    @property
    def b(self) -> dict[str, str]:
        return bearer(token(self.other_id, "bob@example.com"))

    @property
    def operator(self) -> dict[str, str]:
        return bearer(token(self.operator_id, OPERATOR_EMAIL))

    @property
    def new_operator(self) -> dict[str, str]:
        """A signed-in operator who was never here before."""
        return bearer(token(new_id(), OPERATOR_EMAIL))

    @property
    def one_of_each(self) -> dict[str, list[str]]:
        return {kind: values[:1] for kind, values in self.values.items()}

    def customers(self) -> dict[str, tuple[Any, ...]]:
        """To whom the rows of A, B and the visitor belong, and their credits."""
        found = self.backend.sql(
            "select mg_pass_id, mg_user_id, mg_email, mg_admin_allowlist, mg_credits from mega_customers"
            " where mg_pass_id = any (%s)",
            [self.pass_id, f"pass:user:{self.other_id}", self.visitor],
        )
        assert len(found) == 3
        return {row["mg_pass_id"]: tuple(row.values()) for row in found}

    async def ask(self, call: "Call", headers: dict[str, str]) -> httpx2.Response:
        return await self.patiently(
            call.route.method, call.path, params=call.query, json=call.body, headers=call.headers | headers
        )

    async def patiently(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """An API that is too busy says when to come again; which it is not forever."""
        for _ in range(TRIES_MAX):
            answer = await self.backend.client.request(method, path, **more)
            if answer.status_code != 503 or "NO_SUPABASE" not in answer.text:
                break
            await asyncio.sleep(int(answer.headers["Retry-After"]))
        return answer

    def rows(self) -> dict[str, str]:
        """A's rows in the database and in the storage, as hashes."""
        of_a = "select coalesce(string_agg(t::text, e'\\n' order by t::text), '') as rows from {} t where {}"
        tables = {
            "mega_customers": "mg_pass_id = %s",
            "mega_generations": "mg_pass_id = %s",
            "image_generation_logs": "job_id::text in"
            " (select mg_generation_id from mega_generations where mg_record_type = 'generation' and mg_pass_id = %s)",
        }
        found = {name: self.backend.value(of_a.format(name, mine), self.pass_id) for name, mine in tables.items()}
        assert all(found.values())
        return {name: hashlib.sha256(rows.encode()).hexdigest() for name, rows in found.items()}

    def files(self) -> dict[str, str]:
        return {
            str(file): hashlib.sha256(file.read_bytes()).hexdigest()
            for folder in ("assets", "private-assets")
            for file in sorted((self.backend.app.home / folder).rglob("*"))
            if file.is_file()
        }


@dataclass(frozen=True)
class Call:
    route: Route
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Json | None


@asynccontextmanager
async def inhabited(dsn: str, home: Path, auth: str) -> AsyncIterator[World]:
    async with running(dsn, home, auth=auth, **SETTINGS) as backend:
        world = World(backend, is_strict=auth == "required")
        await live(world)
        yield world


async def live(world: World) -> None:
    """A makes one of everything, then the workers stop."""
    backend, as_a = world.backend, world.a
    for user in (world.a, world.b, world.operator):
        await backend.get("/me", headers=user)
    visit = await visited(world)

    async def post(path: str, **body: Any) -> Json:
        answer = await backend.client.post(path, json=body, headers=as_a)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    await backend.grant(CREDITS, world.pass_id)
    await backend.grant(10_000, f"pass:user:{world.other_id}")
    public = await post("/api/r2/upload-signed", dataUrl=SAMPLES["data_url"], filename="planted-file.jpg")
    hidden = await post("/api/r2/upload-signed", dataUrl=SAMPLES["data_url"], filename="planted-file.jpg", private=True)
    session = await post("/sessions/start", title="planted-title")
    order = {"inputs": {"brief": "planted-brief"}, "title": "planted-title", "session_id": session["sessionId"]}
    small = {"settings": {"seedream": {"size": "1K"}}, "assets": {"product_image_url": public["url"]}}
    still = await post("/mma/still/create", **order, **small, idempotency_key="planted-key")
    await backend.events(still["sse_url"], headers=as_a)
    video = await post(
        "/mma/video/animate",
        parent_generation_id=still["generation_id"],
        inputs={"brief": "planted-brief", "duration": 1},
    )
    await backend.events(video["sse_url"], headers=as_a)
    partial = await partial_set(world, public["url"])
    made = {
        one["generation_id"]: await backend.get(f"/mma/generations/{one['generation_id']}", headers=as_a)
        for one in (still, video)
    }
    assert {one["status"] for one in made.values()} == {"done"}
    await backend.stop_working()
    cancelled = await post("/mma/still/create", **order)
    await post(f"/mma/generations/{cancelled['generation_id']}/cancel")
    queued = await post("/mma/still/create", **order)
    generation_ids = [one["generation_id"] for one in (still, video, queued, cancelled)] + [partial]
    await post("/mma/events", eventType="like", eventId="planted-event-id", payload={"note": "planted-event"})
    await post("/feedback/like", generationId=generation_ids[0], comment="planted-comment")
    await post("/billing/settings", enabled=True, monthlyLimitPacks=PACKS)
    urls = [public["url"], hidden["key"], f"{backend.app.settings.base_url}/private-assets/{hidden['key']}"]
    own = await backend.client.post(
        "/api/r2/upload-signed", headers=world.b, json={"dataUrl": SAMPLES["data_url"], "private": True}
    )
    signed = httpx2.URL(own.json()["url"]).params  # signed for a file of B's
    kept = [await kept_by_v1(world, number, generation_ids[0]) for number in range(2)]
    world.values = {
        **{kind: [one[kind] for one in kept] for kind in ("project_id", "template_id", "file_id")},
        "file_ids": [one["file_id"] for one in kept],
        "parent_id": generation_ids[:1],
        "pass_id": [world.pass_id],
        "customer_id": [world.pass_id, world.user_id],
        "user_id": [world.user_id, world.pass_id],
        "email": [EMAIL],
        "generation_id": generation_ids,
        "session_id": [session["sessionId"]],
        "record_id": [f"generation:{generation_ids[0]}", generation_ids[1], f"session:{session['sessionId']}"],
        "event_id": ["planted-event-id"],
        "idempotency_key": ["planted-key"],
        "key": [public["key"], hidden["key"]],
        "url": urls,
        "attempt": [queued["generation_id"]],
        "adapter": ["simulated"],
        "size": ["256"],
        "expires": [signed["expires"]],
        "signature": [signed["signature"]],
    }
    world.visitors_values = world.one_of_each | visit
    world.outputs = tuple(
        url for one in made.values() for name, url in one["outputs"].items() if url and name.endswith("_url")
    )
    balance = str(backend.balance(world.pass_id))
    world.secrets = (*PLANTED, balance, hidden["key"], *world.outputs)


async def partial_set(world: World, picture: str) -> str:
    """An image job of A, one of whose sources is missing."""
    missing = f"{world.backend.app.settings.base_url}/assets/none.png"
    sources = [{"url": url, "prompt": "planted-brief"} for url in (picture, missing)]
    order = {"kind": "image_job", "name": "planted-title", "sources": sources}
    answer = await world.backend.client.post("/api/v1/generations", json=order, headers=world.a)
    assert answer.status_code == 202, answer.text
    row = await ended(world.backend, answer.json()["id"])
    assert row["mg_mma_status"] == "partial"
    return str(row["mg_generation_id"])


async def kept_by_v1(world: World, number: int, generation_id: str) -> dict[str, str]:
    """A project, a template and a file of A."""
    kept = {}
    for kind, path, body in (
        ("project_id", "projects", {"name": "planted-title"}),
        ("template_id", "templates", {"generation_id": generation_id}),
        ("file_id", "storage/upload", {"file": SAMPLES["data_url"], "folder": f"planted{number}"}),
    ):
        answer = await world.backend.client.post(f"/api/v1/{path}", json=body, headers=world.a)
        assert answer.status_code == 201, answer.text
        kept[kind] = str(answer.json()["id"])
    return kept


async def visited(world: World) -> dict[str, list[str]]:
    """An anonymous visitor, for whom a server of ours speaks, orders a still. Returns what is theirs."""
    backend = world.backend
    world.visitor = (await backend.get("/me"))["passId"]
    await backend.grant(VISITORS_CREDITS, world.visitor)
    order = {"passId": world.visitor, "inputs": {"brief": "visitors-brief"}, "idempotency_key": "visitors-key"}
    answer = await backend.client.post("/mma/still/create", headers=ADMIN, json=order)
    still = answer.json()
    await backend.events(still["sse_url"])
    row = await backend.get(f"/mma/generations/{still['generation_id']}", headers=ADMIN)
    assert row["status"] == "done"
    session = backend.value(
        "select mg_session_id from mega_generations where mg_id = %s", f"generation:{still['generation_id']}"
    )
    return {
        "pass_id": [world.visitor],
        "customer_id": [world.visitor],
        "user_id": [world.visitor],
        "generation_id": [still["generation_id"]],
        "attempt": [still["generation_id"]],
        "session_id": [str(session)],
        "idempotency_key": ["visitors-key"],
    }


@pytest.fixture(scope="module", params=["optional", "required"])
async def world(
    postgres: str, template: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    with contextmanager(_database)(postgres, template) as dsn:
        async with inhabited(dsn, tmp_path_factory.mktemp("home"), request.param) as made:
            yield made


IN_THE_STRICTER_MODE = pytest.mark.parametrize("world", ["required"], indirect=True)
IN_THE_LAXER_MODE = pytest.mark.parametrize("world", ["optional"], indirect=True)
# Who has a token is known in either mode.
WITH_TOKENS = pytest.mark.parametrize("world", ["optional", pytest.param("required", marks=LONG)], indirect=True)


# --- the calls of a route -------------------------------------------------------------------------------------------


def snake(name: str) -> str:
    plain = name.lower().removeprefix("x-mina-").replace("-", "_")
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name) if plain == name.lower() else plain


def kind_of(name: str) -> str | None:
    """Under which name of `World.values` A's things for this parameter or field are; None: it names nobody's thing."""
    name = snake(name)
    if name in ("api_key", "style_preset_key", "request_id"):
        return None
    for ending in ("generation_id", "session_id", "pass_id", "customer_id", "user_id", "event_id", "idempotency_key"):
        if name.endswith(ending):
            return ending
    if name.endswith(("_url", "_urls")) and name != "data_url":
        return "url"
    if name.endswith(("_id", "_ids", "_key", "_keys")):
        return name  # a KeyError, until somebody says what A has of it
    return name if name in ("url", "key", "email", "attempt", "adapter", "size", "expires", "signature") else None


def fields(schema: Json, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Json]]:
    for name, part in schema.get("properties", {}).items():
        inner = resolved(part)
        if "properties" in inner:
            yield from fields(inner, (*place, name))
        else:
            yield (*place, name), inner


def put(body: Json, place: tuple[str, ...], value: Any) -> Json:
    head, *rest = place
    return body | {head: put(body.get(head, {}), tuple(rest), value) if rest else value}


def plain_body(route: Route) -> Json | None:
    """The example of the document, without the fields that name somebody's things."""
    if route not in BODY_ROUTES:
        return None
    body: Json = {}
    for place, schema in fields(body_schema(route)):
        example = SAMPLES.get(place[-1], next(iter(schema.get("examples", [])), None))
        if example is not None and kind_of(place[-1]) is None:
            body = put(body, place, example)
    return body


def calls(route: Route, values: dict[str, list[str]]) -> Iterator[Call]:
    """With nothing of A's but what the path names, and with one thing of A's at a time."""
    query = {one["name"]: values[one["name"]][0] for one in route.parameters("query") if one["required"]}
    body = plain_body(route)
    for path in paths(route, values):
        plain = Call(route, path, query, {}, body)
        yield plain
        yield from with_one_thing(plain, values)


def paths(route: Route, values: dict[str, list[str]]) -> Iterator[str]:
    names = [one["name"] for one in route.parameters("path")]
    first = {name: values[str(kind_of(name))][0] for name in names}
    yield route.with_values(first)
    for name in names:
        for value in values[str(kind_of(name))][1:]:
            if not (str(route) in STREAMS and value == values["attempt"][0]):  # it goes on and on
                yield route.with_values(first | {name: value})


def with_one_thing(call: Call, values: dict[str, list[str]]) -> Iterator[Call]:
    for one in call.route.parameters("query"):
        for value in values[str(kind_of(one["name"]))] if kind_of(one["name"]) else []:
            yield replace(call, query=call.query | {one["name"]: value})
    for one in call.route.parameters("header"):
        for value in values[str(kind_of(one["name"]))] if kind_of(one["name"]) else []:
            yield replace(call, headers={one["name"]: value})
    for place, schema in fields(body_schema(call.route)) if call.body is not None else []:
        for value in values[str(kind_of(place[-1]))] if kind_of(place[-1]) else []:
            many = schema.get("type") == "array"
            yield replace(call, body=put(call.body, place, [value] if many else value))


def is_for_operators(route: Route) -> bool:
    return any(one["name"] == "x-admin-secret" for one in route.parameters("header"))


def by_name(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=str)


# --- what must hold -------------------------------------------------------------------------------------------------


def leaks(world: World, call: Call, answer: httpx2.Response, shown_to_all: tuple[str, ...] = ()) -> list[str]:
    """Values of A's in the answer, beside the ids and addresses that everybody here knows."""
    text = f"{answer.headers.multi_items()} {answer.text}"
    for value in sorted((one for known in world.values.values() for one in known), key=len, reverse=True):
        if f"{value}?" not in text:  # a URL made to pass would hold it so
            text = text.replace(value, "")
    shown = [secret for secret in world.secrets if secret in text and secret not in shown_to_all]
    is_picture = answer.headers.get("content-type", "").startswith("image/") or answer.is_redirect
    hidden = world.values["key"][1]
    return [*shown, *(["the private file"] if is_picture and hidden in call.path else [])]


Held = tuple[dict[str, str], dict[str, str]]


def held(world: World) -> Held:
    """The rows and files of A."""
    return world.rows(), world.files()


async def try_all(world: World, route: Route, headers: dict[str, str], before: Held) -> list[int]:
    """The statuses of all calls, by somebody who is not A. Nothing of A's may come out, nor change."""
    statuses = []
    for call in calls(route, world.values):
        answer = await world.ask(call, headers)
        statuses.append(answer.status_code)
        where = f"{call}: {answer.status_code} {answer.text[:500]}"
        assert answer.status_code < 500 or "STILL_MAKING" in answer.text, where
        is_by_id = str(route) == SHOWN_BY_ID and not headers and not world.is_strict
        assert leaks(world, call, answer, world.outputs if is_by_id else ()) == [], where
    assert world.rows() == before[0], f"{route} changed A's rows"
    assert before[1].items() <= world.files().items(), f"{route} changed A's files"
    return statuses


def test_operators_routes_say_so_and_what_is_open_exists():
    for route in ROUTES:
        assert is_for_operators(route) or "/admin/" not in route.path, route
    assert not {str(route) for route in ROUTES if is_for_operators(route)} & OPEN.keys()
    assert OPEN.keys() <= {str(route) for route in ROUTES}


@WITH_TOKENS
async def test_another_user_sees_and_changes_nothing(world: World):
    before = held(world)
    for route in ROUTES:
        statuses = await try_all(world, route, world.b, before)
        if is_for_operators(route):
            assert set(statuses) == {403}, route
    assert nothing_of_a_is_in_rows_of_others(world)


async def test_somebody_without_a_token_sees_and_changes_nothing(world: World):
    """A's row has a user, so that A's ids are worth nothing without A's token, in either mode."""
    before = held(world)
    for route in ROUTES:
        statuses = await try_all(world, route, {}, before)
        if str(route) in OPEN:
            assert statuses[0] == OPEN[str(route)][0], route
        elif str(route) in STREAMS or is_for_operators(route):
            assert set(statuses) == {401}, route
        elif world.is_strict and str(route) in ANSWERS_NOBODY:
            assert 401 in statuses, route
        elif world.is_strict:
            assert min(statuses) >= 400, (route, statuses)
    assert nothing_of_a_is_in_rows_of_others(world)


@IN_THE_STRICTER_MODE
async def test_where_a_token_is_required_nobody_writes_anything_without_one(world: World):
    """But the ops plane's rows: what went wrong, and crashes that browsers report."""
    before = everything_kept(world)
    for route in ROUTES:
        for call in calls(route, world.values):
            await world.ask(call, {})
        after = everything_kept(world)
        assert {name for name in before | after if before.get(name) != after.get(name)} == set(), route


def everything_kept(world: World) -> dict[str, str]:
    """Every row of every table but those of the ops plane, and every file but small pictures, made when looked at."""
    kept_rows = (
        "select coalesce(string_agg(t::text, e'\\n' order by mg_id), '') from mega_admin t"
        " where mg_record_type not in ('error', 'warn')"
    )
    files = {file: digest for file, digest in world.files().items() if "/thumbnails/" not in file}
    return files | all_tables(world.backend) | {"public.mega_admin": world.backend.value(kept_rows)}


def nothing_of_a_is_in_rows_of_others(world: World) -> bool:
    others = "select string_agg(t::text, e'\\n') from mega_generations t where mg_pass_id is distinct from %s"
    rows = world.backend.value(others, world.pass_id) or ""
    return not [one for one in PLANTED if one in rows]


async def test_an_operator_may_use_every_route_of_operators(world: World):
    for route in filter(is_for_operators, ROUTES):
        statuses = [(await world.ask(call, ADMIN)).status_code for call in calls(route, world.values)]
        assert min(statuses) == 200, route
    customers = await world.backend.get("/admin/customers", headers=ADMIN)
    assert EMAIL in str(customers)
    for generation_id in world.values["generation_id"][:-1]:  # the last is a set, which MMA shows without its prompts
        assert "planted-brief" in str(await world.backend.get(f"/mma/generations/{generation_id}", headers=ADMIN))


@WITH_TOKENS
async def test_another_user_and_the_admin_token_leave_a_visitors_row_to_the_visitor(world: World):
    for route in ROUTES:
        for headers in (world.b, ADMIN):
            before = world.customers()
            for call in calls(route, world.visitors_values):
                await world.ask(call, headers)
            assert owners(world.customers()) == owners(before), route


@pytest.mark.parametrize(
    ("world", "is_first_visit"),
    [
        pytest.param("optional", True, id="optional-on the first visit"),
        pytest.param("required", False, id="required-later"),
        pytest.param("optional", False, id="optional-later", marks=LONG),
        pytest.param("required", True, id="required-on the first visit", marks=LONG),
    ],
    indirect=["world"],
)
async def test_a_signed_in_operator_takes_over_nobodys_row(world: World, is_first_visit: bool):
    """Nor does anybody's row get an e-mail, a user or credits by it, but for the credits that the operator gives."""
    for route in ROUTES:
        for values in (world.one_of_each, world.visitors_values):
            before, statuses = world.customers(), []
            for call in calls(route, values):
                answer = await world.ask(call, world.new_operator if is_first_visit else world.operator)
                statuses.append(answer.status_code)
                where = f"{call}: {answer.status_code} {answer.text[:500]}"
                assert answer.status_code < 500 or "STILL_MAKING" in answer.text, where
                assert is_for_operators(route) or str(route) in SHOWS_OPERATORS or not tells(world, call, answer), where
            must_be_as_before(world, route, before)
            if is_for_operators(route) or str(route) in SHOWS_OPERATORS:
                assert 200 in statuses, (route, statuses)
    own = "select coalesce(max(mg_credits), 0) from mega_customers where mg_email = %s"
    assert world.backend.value(own, OPERATOR_EMAIL) == 0


def tells(world: World, call: Call, answer: httpx2.Response) -> list[str]:
    of_visitor = [one for one in ("visitors-brief", str(VISITORS_CREDITS - 1)) if one in answer.text]
    return leaks(world, call, answer) + of_visitor


def must_be_as_before(world: World, route: Route, before: dict[str, tuple[Any, ...]]) -> None:
    after = world.customers()
    assert owners(after) == owners(before), route
    moved = {pass_id: after[pass_id][-1] - before[pass_id][-1] for pass_id in before}
    given = ACTS_ON_CUSTOMERS.get(str(route))
    assert all(credits % given == 0 if given else credits == 0 for credits in moved.values()), (route, moved)
    assert any(moved.values()) is bool(given), (route, moved)


def owners(customers: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {pass_id: row[:-1] for pass_id, row in customers.items()}


async def test_what_is_tried_on_each_route_works_for_its_owner(world: World):
    """Else the others were refused for another reason than who they are."""
    for route in ROUTES:
        if str(route) not in OPEN and not is_for_operators(route):
            assert await works(world, route), f"{route}: say in SAMPLES or OPEN what is right"


async def works(world: World, route: Route) -> bool:
    for call in calls(route, world.values):
        answer = await world.ask(call, world.a)
        if answer.status_code < 400 or "STILL_MAKING" in answer.text:
            return True
    return False


# --- forms ----------------------------------------------------------------------------------------------------------


@IN_THE_LAXER_MODE
async def test_a_form_is_answered_as_the_same_json_is(world: World):
    works = 0
    for route in FORM_ROUTES:
        headers = ADMIN if is_for_operators(route) else world.a
        for call in calls(route, world.one_of_each):
            flat = replace(call, body=flat_body(call.body or {}))
            said, answer = await world.ask(flat, headers), await ask_by_form(world, flat, headers)
            where = f"{flat}: {answer.status_code} {answer.text[:500]} and not {said.status_code} {said.text[:500]}"
            assert outcome(answer) == outcome(said), where
            works += answer.status_code == 200
    assert works > len(FORM_ROUTES)


@IN_THE_LAXER_MODE
@pytest.mark.parametrize(
    "text",
    [
        "",
        "-7",
        "[object Object]",
        "9" * 400,
        *(pytest.param(text, marks=LONG) for text in ("0", "true", "x" * 9000, "ä漢🎬")),
    ],
)
async def test_whatever_a_form_holds_no_route_fails(world: World, text: str):
    for route in FORM_ROUTES:
        names = [place[0] for place, _ in fields(body_schema(route))]
        for body in (dict.fromkeys(names, text), {name: [text, text] for name in names}):
            plain = next(calls(route, world.values))
            answer = await ask_by_form(world, replace(plain, body=body), ADMIN)
            is_refused = answer.status_code < 500 and answer.status_code != 415
            assert is_refused or "STILL_MAKING" in answer.text, f"{route}: {answer.status_code} {answer.text[:500]}"


def flat_body(body: Json) -> Json:
    """The part of a body that a form can hold."""
    return {name: value for name, value in body.items() if not isinstance(value, dict)}


async def ask_by_form(world: World, call: Call, headers: dict[str, str]) -> httpx2.Response:
    form = {f"{name}[]" if isinstance(value, list) else name: value for name, value in (call.body or {}).items()}
    return await world.patiently(
        call.route.method, call.path, params=call.query, data=form, headers=call.headers | FORM | headers
    )


def outcome(answer: httpx2.Response) -> tuple[int, Any]:
    """The status, the names of what is told, and the error."""
    told = answer.json()
    return answer.status_code, (told.keys(), told.get("error"))
