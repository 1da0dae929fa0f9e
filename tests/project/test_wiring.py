"""Each resource is built once: in an API, in a worker, and in a process that is both. Prices are replaced whole."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from safelight import resources, serve
from safelight.app import App
from safelight.domain.money.prices import Prices
from safelight.ops.doctor import Doctor
from safelight.pipelines.context import Adapters
from safelight.pipelines.engine.reaper import Reaper
from safelight.pipelines.registry import Configuration
from safelight.storage.assets import AssetStore
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool
from tests.conftest import StartBackend

COUNTED = (AssetStore, GuardedFetcher, Spool, Adapters, Configuration, Reaper, Doctor)
ONCE_A_PROCESS = {"AssetStore": 1, "GuardedFetcher": 1, "Spool": 1, "Adapters": 1, "Bucket": 2}
OF_API = {"Configuration": 1, "Reaper": 1, "Doctor": 1}
OF_WORKER = {"Configuration": 1, "Reaper": 1}
ADMIN_TOKEN = "the-operators-token-0123456789abcdef"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what is built while a test runs."""
    counts: Counter[str] = Counter()

    def counting(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            counts[name] += 1
            return make(*args, **more)

        return counted

    for each in COUNTED:
        monkeypatch.setattr(each, "__init__", counting(each.__name__, each.__init__))
    monkeypatch.setattr(resources, "open_bucket", counting("Bucket", resources.open_bucket))
    return counts


async def test_an_api_builds_each_resource_once(start: StartBackend, built: Counter[str]):
    await start(worker=False)
    assert built == Counter(ONCE_A_PROCESS | OF_API)


async def test_a_worker_builds_each_resource_once(start: StartBackend, built: Counter[str]):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    built.clear()
    async with serve.working(App(backend.app.settings.model_copy())):
        await backend.finished(accepted)
    assert built == Counter(ONCE_A_PROCESS) + Counter(OF_WORKER)


async def test_a_process_with_api_and_worker_builds_one_of_each_and_what_asks_the_database_for_each_pool(
    start: StartBackend, built: Counter[str]
):
    backend = await start()
    await backend.grant(1)
    await backend.finished(await backend.create())
    assert built == Counter(ONCE_A_PROCESS) + Counter(OF_API) + Counter(OF_WORKER)


async def test_prices_that_an_operator_sets_hold_for_orders_and_are_never_changed_in_place(start: StartBackend):
    backend = await start(worker=False, admin_token=ADMIN_TOKEN, still_credits=1)
    stated, body = backend.app.resources.prices, {"override": {"credits": {"imageCost": 3}}}
    await backend.post("/admin/config/runtime", body, headers={"x-admin-secret": ADMIN_TOKEN})
    await backend.grant(5)
    assert (await backend.create())["credits_cost"] == 3
    assert (await backend.get("/credits/balance", params={"passId": backend.pass_id}))["meta"]["imageCost"] == 3
    assert stated == backend.app.resources.prices == Prices(still_credits=1, video_credits=stated.video_credits)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stated.still_credits = 9  # type: ignore[misc]
