"""Failed, cancelled and stuck generations over HTTP and on the command line (docs/contract/failures-in-sql.md)."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from safelight.pipelines.engine.reaper import stuck_thresholds
from tests.conftest import Backend, Json, StartBackend
from tests.support.commands import run_safelight

COMMAND = str(Path(sys.executable).with_name("safelight"))
ALL = "/api/admin/failed-generations"
OWN = "/api/generations/failed"
CLEANUP = "/api/admin/cleanup-stuck-generations"
TOKEN = "the-admin-token-of-the-tests-0123456789"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
OF_FAULTS = {
    "seedream_generate:timeout": "ProviderTimeout",
    "seedream_generate:refused": "ContentRefused",
    "gpt_reader:rate_limited": "RateLimitError",
    "gpt_reader:bad_json": "SchemaMismatch",
    "storage": "StorageError",
    "validation": "AssetUnreadable",
}


async def failed_by(start: StartBackend, fault: str) -> tuple[Backend, str]:
    local_fault = fault if ":" in fault else None
    backend = await start(
        admin_token=TOKEN, local_fault=local_fault, provider_start_timeout_seconds=2.0, provider_result_ttl_seconds=0.5
    )
    await backend.grant(1)
    product = await backend.upload()
    if fault == "validation":
        product = backend.app.settings.base_url + "/assets/product/anon/gone.jpg"
    if fault == "storage":
        (backend.app.home / "assets" / "mma").write_text("a file where the folder should be")
    failed = await backend.finished(await backend.create(product=product))
    assert failed["status"] == "error"
    return backend, failed["generation_id"]


@pytest.mark.parametrize("fault", OF_FAULTS)
async def test_a_failure_shows_with_its_type_to_operators_and_to_its_owner_alone(start: StartBackend, fault: str):
    backend, generation_id = await failed_by(start, fault)

    of_all = await backend.get(ALL, headers=ADMIN)
    assert (of_all["total"], of_all["summary"]) == (1, {"failed": 1, "stuck": 0, "cancelled": 0})
    [item] = of_all["generations"]
    assert (item["id"], item["status"], item["passId"]) == (generation_id, "failed", backend.pass_id)
    assert item["errorContext"]["type"] == OF_FAULTS[fault]
    assert 'File "' in item["errorContext"]["stack"]  # the end of the traceback, where it is a long one
    assert item["errorMessage"] == item["parameters"]["error"]
    assert item["user"] == {"id": backend.pass_id, "displayName": None, "username": backend.pass_id}
    assert item["session"]["name"] == "Image session"
    [user] = of_all["byUser"]
    assert (user["userId"], user["userDisplayName"], user["userEmail"], user["count"]) == (
        backend.pass_id, backend.pass_id, "N/A", 1,
    )  # fmt: skip
    assert [one["id"] for one in user["generations"]] == [generation_id]

    own = await backend.get(OWN, headers={"X-Mina-Pass-Id": backend.pass_id})
    [mine] = own["failed"]["generations"]
    assert (own["total"], own["failed"]["count"], mine["id"]) == (1, 1, generation_id)
    assert mine["parameters"]["errorContext"]["type"] == OF_FAULTS[fault]
    assert "Traceback" not in json.dumps(own) and "stack" not in json.dumps(own)
    fetched = await backend.generation(generation_id)
    assert fetched["error"].items() <= mine["parameters"]["errorContext"].items()
    assert backend.pass_id not in json.dumps(fetched["error"])  # whoever knows a generation's id may fetch it

    of_other = await backend.get(OWN, params={"passId": "pass:user:somebody-else"})
    assert (of_other["total"], of_other["failed"]["generations"]) == (0, [])


@pytest.fixture
async def quiet(start: StartBackend) -> Backend:
    """A backend that takes orders while nobody works on them."""
    backend: Backend = await start(admin_token=TOKEN, worker=False)
    await backend.grant(20)
    return backend


async def ordered(backend: Backend, pass_id: str | None = None) -> str:
    more = {"passId": pass_id} if pass_id else {}
    accepted = await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}, **more})
    return str(accepted["generation_id"])


def mark_failed(backend: Backend, generation_id: str, mma_status: str = "error", status: str = "failed") -> None:
    backend.sql(
        "update mega_generations set mg_mma_status = %s, mg_status = %s, mg_error = 'It did not work.'"
        " where mg_id = 'generation:' || %s",
        mma_status,
        status,
        generation_id,
    )
    drop_job(backend, generation_id)


def drop_job(backend: Backend, generation_id: str) -> None:
    backend.sql("delete from procrastinate_jobs where queueing_lock = %s", generation_id)


def made_hours_ago(backend: Backend, generation_id: str, hours: float) -> None:
    backend.sql(
        "update mega_generations set mg_created_at = now() - make_interval(secs => %s) where mg_id = 'generation:' || %s",
        hours * 3600,
        generation_id,
    )


async def test_counts_are_of_everything_and_pages_show_each_once(quiet: Backend):
    other = "pass:user:other"
    await quiet.grant(2, other)
    ids = [await ordered(quiet) for _ in range(5)] + [await ordered(quiet, other) for _ in range(2)]
    for generation_id in ids:
        mark_failed(quiet, generation_id)
    # Rows of one moment must neither be lost nor shown twice where one page ends and the next begins.
    quiet.sql(
        "update mega_generations set mg_created_at = now() - interval '1 minute' where mg_record_type = 'generation'"
    )
    seen: list[str] = []
    cursor: Json = {}
    for size in (3, 3, 1):
        page = await quiet.get(ALL, headers=ADMIN, params={"limit": 3, **cursor})
        assert (page["total"], page["summary"]["failed"]) == (7, 7)
        assert [(user["userId"], user["count"]) for user in page["byUser"]] == [(quiet.pass_id, 5), (other, 2)]
        assert len(page["generations"]) == size
        seen += [item["id"] for item in page["generations"]]
        cursor = {"cursor": page["nextCursor"]}
    assert page["nextCursor"] is None
    assert sorted(seen) == sorted(ids)


async def test_each_status_can_be_asked_for_alone(quiet: Backend):
    failed, cancelled, stuck = [await ordered(quiet) for _ in range(3)]
    mark_failed(quiet, failed)
    mark_failed(quiet, cancelled, "cancelled", "cancelled")
    drop_job(quiet, stuck)
    made_hours_ago(quiet, stuck, 1)
    for status, ids in {
        "failed": {failed},
        "cancelled": {cancelled},
        "stuck": {stuck},
        "all": {failed, cancelled, stuck},
    }.items():
        found = await quiet.get(ALL, headers=ADMIN, params={"status": status})
        assert {item["id"] for item in found["generations"]} == ids
        assert found["total"] == len(ids)
    assert found["summary"] == {"failed": 1, "stuck": 1, "cancelled": 1}
    own = await quiet.get(OWN, params={"passId": quiet.pass_id})
    assert [own[kind]["count"] for kind in ("failed", "stuck", "cancelled")] == [1, 1, 1]
    assert own["stuck"]["generations"][0]["isStuck"] is True


async def test_filters_by_user_session_and_time_hold(quiet: Backend):
    other, user_id = "pass:user:other", "6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90"
    await quiet.grant(1, other)
    mine, old, theirs = await ordered(quiet), await ordered(quiet), await ordered(quiet, other)
    for generation_id in (mine, old, theirs):
        mark_failed(quiet, generation_id)
    made_hours_ago(quiet, old, 30)
    quiet.sql(
        "update mega_customers set mg_user_id = %s, mg_email = 'o@example.com' where mg_pass_id = %s", user_id, other
    )
    session = quiet.value("select mg_session_id from mega_generations where mg_id = %s", f"generation:{mine}")

    async def ids(**params: object) -> set[str]:
        found = await quiet.get(ALL, headers=ADMIN, params=params)
        return {item["id"] for item in found["generations"]}

    assert await ids() == {mine, theirs}
    assert await ids(hoursAgo=48) == {mine, old, theirs}
    assert await ids(userId=quiet.pass_id) == {mine}
    assert await ids(userId=user_id) == await ids(userId=other) == {theirs}
    assert await ids(sessionId=session) == {mine}
    by_user = (await quiet.get(ALL, headers=ADMIN, params={"userId": user_id}))["byUser"]
    assert [(user["userId"], user["userEmail"]) for user in by_user] == [(user_id, "o@example.com")]


async def test_stuck_means_that_nobody_will_go_on_or_that_the_time_is_up(quiet: Backend):
    newborn, waiting, running, alone, orphaned, late = [await ordered(quiet) for _ in range(6)]
    for generation_id in (waiting, running, alone, orphaned, late):
        made_hours_ago(quiet, generation_id, 30)  # longer ago than the window: it shows all the same
    for generation_id in (newborn, alone):
        drop_job(quiet, generation_id)
    for generation_id, seconds_ago in ((running, 1), (orphaned, 20)):
        quiet.sql(
            "with worker as (insert into procrastinate_workers (last_heartbeat)"
            " values (now() - make_interval(secs => %s)) returning id)"
            " update procrastinate_jobs set status = 'doing', worker_id = worker.id from worker where queueing_lock = %s",
            seconds_ago,
            generation_id,
        )
    quiet.sql("update mega_generations set mg_deadline_at = now() where mg_id = %s", f"generation:{late}")
    found = await quiet.get(ALL, headers=ADMIN, params={"status": "stuck"})
    assert {item["id"]: item["stuckReason"] for item in found["generations"]} == {
        alone: "no-job",
        orphaned: "worker-lost",
        late: "past-deadline",
    }
    assert all(item["isStuck"] and item["errorMessage"] and item["ageMinutes"] == 1800 for item in found["generations"])
    assert all(item["errorContext"] is None for item in found["generations"])
    defaults = quiet.sql("select id, liveness from unfinished_generations()")
    thresholds = stuck_thresholds(quiet.app.settings.worker_heartbeat_seconds)
    stated = quiet.sql(
        "select id, liveness from unfinished_generations(%s, %s)",
        thresholds.dead_after_seconds,
        thresholds.grace_seconds,
    )
    assert defaults == stated and len(stated) == 6


async def test_cleaning_up_has_stuck_generations_go_on_and_leaves_the_rest_alone(start: StartBackend):
    backend = await start(admin_token=TOKEN, worker=False)
    await backend.grant(2)
    stuck, waiting = await backend.create(), await backend.create()
    drop_job(backend, stuck["generation_id"])
    made_hours_ago(backend, stuck["generation_id"], 1)
    cleaned = (await backend.client.post(CLEANUP, headers=ADMIN)).json()
    assert (cleaned["cleaned"], cleaned["scanned"], cleaned["skippedReasons"]) == (1, 2, {"waiting": 1})
    assert cleaned["generationIds"] == cleaned["adopted"] == [stuck["generation_id"]]
    assert cleaned["byUser"] == [{"userId": backend.pass_id, "userEmail": "unknown", "count": 1}]
    assert cleaned["heuristic"]["heartbeatStaleMinutes"] == 0.15  # three heartbeats of 3 s
    again = (await backend.client.post(CLEANUP, headers=ADMIN)).json()
    assert (again["cleaned"], again["byUser"], again["skippedReasons"]) == (0, [], {"waiting": 2})
    await start()
    for accepted in (stuck, waiting):
        assert (await backend.finished(accepted))["status"] == "done"
    assert (await backend.get(ALL, headers=ADMIN))["total"] == 0


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        (ALL, {"status": "broken"}, "query.status: Input should be 'all', 'failed', 'stuck' or 'cancelled'"),
        (ALL, {"limit": "many"}, "query.limit: Input should be a valid integer"),
        (ALL, {"limit": "0"}, "query.limit: Input should be greater than or equal to 1"),
        (ALL, {"limit": "201"}, "query.limit: Input should be less than or equal to 200"),
        (ALL, {"hoursAgo": "a day"}, "query.hoursAgo: Input should be a valid integer"),
        (ALL, {"hoursAgo": "8761"}, "query.hoursAgo: Input should be less than or equal to 8760"),
        (ALL, {"userId": "a\0b"}, "query.userId: "),
        (ALL, {"cursor": "nonsense"}, "cursor: it must be the `nextCursor`"),
        (ALL, {"cursor": "MjAyNS0xMi0xOQ"}, "cursor: it must be the `nextCursor`"),
        (OWN, {"passId": "pass:user:1", "limit": "-1"}, "query.limit: "),
        (OWN, {"passId": "pass:user:1", "hoursAgo": "0"}, "query.hoursAgo: "),
    ],
)
async def test_a_wrong_parameter_is_named_with_what_is_allowed(quiet: Backend, path: str, params: Json, said: str):
    answer = await quiet.get(path, status=400, params=params, headers=ADMIN)
    assert answer["message"].startswith(said), answer["message"]
    assert answer["error"] == "VALIDATION_ERROR"


# --- who may ask -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ALL, CLEANUP])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guessed"}, {"x-admin-secret": "guessed"}])
async def test_operators_routes_are_closed_without_the_token_and_that_is_on_record(
    quiet: Backend, path: str, headers: dict[str, str]
):
    answer = await quiet.client.request("POST" if path == CLEANUP else "GET", path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"] == "UNAUTHORIZED"
    [ops] = quiet.ops_rows()
    assert (ops["mg_record_type"], ops["mg_route"], ops["mg_status"]) == ("warn", path, 401)
    assert (ops["mg_detail"]["category"], ops["mg_detail"]["emoji"]) == ("AUTH_ERROR", "🚫")
    assert "guessed" not in json.dumps(ops, default=str)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer  {TOKEN}"},
        {"Authorization": TOKEN},
        {"x-admin-secret": TOKEN},
        {"Authorization": "Bearer of.a.customer", "x-admin-secret": TOKEN},
    ],
)
async def test_the_token_may_be_stated_in_several_ways(quiet: Backend, headers: dict[str, str]):
    assert (await quiet.get(ALL, headers=headers))["total"] == 0


async def test_without_a_setting_a_token_is_made_once_and_kept_in_the_home(start: StartBackend):
    backend = await start(worker=False)
    kept = backend.app.home / "admin-token"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    token = kept.read_text()
    assert len(token) == 64
    again = await start(worker=False)
    for one in (backend, again):
        await one.get(ALL, headers={"x-admin-secret": token})
    assert [path.name for path in backend.app.home.glob("admin-token*")] == ["admin-token"]


async def test_who_states_nobody_sees_nothing(quiet: Backend):
    answer = await quiet.get(OWN, status=401)
    assert answer["error"] == "UNAUTHORIZED"
    assert (await quiet.get(OWN, params={"passId": "anonymous"}, status=401))["ok"] is False


# --- the command line ------------------------------------------------------------------------------------------------


def safelight(backend: Backend, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_safelight(*arguments, environment=environment(backend))


def environment(backend: Backend) -> dict[str, str]:
    settings = {
        "SAFELIGHT_DATABASE_URL": backend.dsn,
        "SAFELIGHT_HOME": str(backend.app.home),
        "SAFELIGHT_STAND_IN": "allow",
        "COLUMNS": "220",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")} | settings


async def test_the_commands_tell_what_the_api_tells(quiet: Backend):
    failed, stuck = await ordered(quiet), await ordered(quiet)
    mark_failed(quiet, failed)
    drop_job(quiet, stuck)
    made_hours_ago(quiet, stuck, 1)
    told = await quiet.get(ALL, headers=ADMIN)
    printed = json.loads(safelight(quiet, "failures", "--json").stdout)
    assert printed.keys() == told.keys()
    assert [item["id"] for item in printed["generations"]] == [item["id"] for item in told["generations"]]
    assert (printed["total"], printed["summary"]) == (told["total"], told["summary"])

    [only] = json.loads(safelight(quiet, "stuck", "--json").stdout)["generations"]
    assert (only["id"], only["stuckReason"]) == (stuck, "no-job")
    narrowed = safelight(
        quiet, "failures", "--status", "failed", "--user", quiet.pass_id, "--hours", "1", "--limit", "1", "--json"
    )
    assert [item["id"] for item in json.loads(narrowed.stdout)["generations"]] == [failed]

    table = safelight(quiet, "failures")
    assert table.returncode == 0
    assert "2 of 2 shown: 1 failed, 1 stuck, 0 cancelled" in table.stderr
    assert failed in table.stdout and "It did not work." in table.stdout and "UnknownError" in table.stdout


async def test_the_commands_are_content_with_nothing_and_clear_about_bad_input(quiet: Backend):
    for command in ("failures", "stuck"):
        done = safelight(quiet, command)
        assert (done.returncode, done.stdout.count("\n")) == (0, 1)  # the names of the columns
        assert "0 of 0 shown: 0 failed, 0 stuck, 0 cancelled" in done.stderr
    wrong = safelight(quiet, "failures", "--status", "broken")
    assert wrong.returncode != 0
    assert "'broken' is not one of" in wrong.stderr


async def test_the_servers_say_where_the_admin_token_is_and_not_what_it_is(quiet: Backend):
    server = subprocess.Popen(
        [COMMAND, "api", "--port", "0"],
        env=environment(quiet),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout
    lines = []
    for line in server.stdout:
        lines.append(line)
        if line.startswith("Admin"):
            break
    server.terminate()
    server.wait(timeout=60)
    kept = quiet.app.home / "admin-token"
    assert str(kept) in lines[-1]
    assert kept.read_text() not in "".join(lines)
