"""The live log: replay, resume, other processes, the end."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import psycopg

from tests.conftest import Backend, StartBackend


async def test_a_finished_stream_replays_lines_then_status_then_done(backend: Backend):
    await backend.grant(1)
    accepted = await backend.create()
    await backend.finished(accepted)
    events = await backend.events(accepted["sse_url"])
    lines = [(event_id, data) for event, event_id, data in events if event == "scan_line"]
    assert [int(event_id) for event_id, _ in lines] == list(range(1, len(lines) + 1))
    assert [data["index"] for _, data in lines] == list(range(len(lines)))
    assert [event for event, _, _ in events[-2:]] == ["status", "done"]
    assert events[-1][2] == {"status": "done"}
    frames = (await backend.client.get(accepted["sse_url"])).text.strip().split("\n\n")
    assert all(("id: " in frame) == ("event: scan_line" in frame) for frame in frames)


async def test_statuses_come_in_order_while_it_runs(backend: Backend):
    await backend.grant(1)
    events = await backend.events((await backend.create())["sse_url"])
    order = ["queued", "scanning", "prompting", "generating", "postscan", "done"]
    statuses = [data["status"] for event, _, data in events if event == "status"]
    assert statuses == sorted(set(statuses), key=order.index)
    assert statuses[-1] == "done"


async def test_a_cursor_gives_every_later_line_once(backend: Backend):
    await backend.grant(1)
    accepted = await backend.create()
    await backend.finished(accepted)
    all_ids = [event_id for event, event_id, _ in await backend.events(accepted["sse_url"]) if event == "scan_line"]
    for after in (0, 1, len(all_ids) - 1, len(all_ids)):
        found = [await backend.events(f"{accepted['sse_url']}?after={after}")]
        if after < len(all_ids):
            found.append(await backend.events(accepted["sse_url"], headers={"Last-Event-ID": str(after)}))
        for events in found:
            assert [event_id for event, event_id, _ in events if event == "scan_line"] == all_ids[after:]


async def test_a_cursor_beyond_the_log_is_reset(backend: Backend):
    await backend.grant(1)
    accepted = await backend.create()
    await backend.finished(accepted)
    events = await backend.events(f"{accepted['sse_url']}?after=9999")
    assert events[0][0] == "reset"
    assert [data["index"] for event, _, data in events if event == "scan_line"][0] == 0


async def test_an_unknown_generation_is_a_json_404(backend: Backend):
    for unknown in ("01a1fc5b-1b1f-7401-a117-04a95e931b1a", "nonsense"):
        answer = await backend.get(f"/mma/stream/{unknown}", status=404)
        assert (answer["ok"], answer["error"]) == (False, "NOT_FOUND")


async def test_the_stream_has_the_headers_proxies_and_browsers_need(backend: Backend):
    await backend.grant(1)
    accepted = await backend.create()
    await backend.finished(accepted)
    answer = await backend.client.get(accepted["sse_url"], headers={"Origin": "https://app.example"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert "no-cache" in answer.headers["cache-control"]
    assert answer.headers["access-control-allow-origin"] == "*"


def api_process(dsn: str, home: Path) -> tuple[subprocess.Popen, str]:
    """An API process of its own; returns it and its address."""
    environment = os.environ | {
        "SAFELIGHT_DATABASE_URL": dsn,
        "SAFELIGHT_HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",
    }
    command = [str(Path(sys.executable).with_name("safelight")), "api", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    address = process.stdout.readline().split()[-1]
    return process, address


async def read_lines(address: str, url: str, headers: dict, seen: list[int], until: int | None) -> bool:
    """Append the ids of lines to `seen`, until there are `until` of them; True where the stream said done."""
    async with (
        httpx2.AsyncClient(base_url=address, timeout=60, trust_env=False) as client,
        client.sse(url, headers=headers) as stream,
    ):
        async for event in stream:
            if event.event == "scan_line":
                seen.append(int(event.id))
                if until and len(seen) >= until:
                    return False
            if event.event == "done":
                return True
    return False


async def test_killing_the_api_in_the_middle_loses_and_doubles_nothing(start: StartBackend, tmp_path: Path):
    backend = await start(local_latency_seconds=2.0)
    await backend.grant(1)
    processes = [await asyncio.to_thread(api_process, backend.dsn, tmp_path) for _ in range(2)]
    try:
        accepted = await backend.create()
        seen: list[int] = []
        first = asyncio.create_task(read_lines(processes[0][1], accepted["sse_url"], {}, seen, None))
        while len(seen) < 3:
            await asyncio.sleep(0.05)
        os.kill(processes[0][0].pid, signal.SIGKILL)
        await asyncio.gather(first, return_exceptions=True)
        assert first.exception() is not None
        headers = {"Last-Event-ID": str(seen[-1])}
        assert await read_lines(processes[1][1], accepted["sse_url"], headers, seen, None)
    finally:
        for process, _ in processes:
            process.kill()
            process.wait()
    with psycopg.connect(backend.dsn) as conn:
        [count] = conn.execute("select count(*) from image_generation_logs").fetchone() or [0]
    assert seen == list(range(1, count + 1))


async def test_on_a_failure_the_status_comes_before_the_last_line(start: StartBackend):
    """Clients type each line, and begin their own notice with the status: it must not cut the last line off."""
    backend = await start(local_fault="seedream_generate:refused")
    await backend.grant(1)
    accepted = await backend.create()
    for _ in ("while it runs", "again"):
        events = await backend.events(accepted["sse_url"])
        assert [name for name, _, _ in events[-3:]] == ["status", "scan_line", "done"]
        assert events[-3][2] == {"status": "error"}
    error = events[-1][2]["error"]
    assert events[-2][2]["text"] == error["message"]
    assert "flagged as sensitive" in error["message"]
    assert "credits were returned" in error["message"]
    ids = [int(event_id) for name, event_id, _ in events if name == "scan_line" and event_id]
    assert ids == list(range(1, len(ids) + 1))
    resumed = await backend.events(accepted["sse_url"], headers={"Last-Event-ID": str(ids[-2])})
    assert [name for name, _, _ in resumed] == ["status", "scan_line", "done"]


async def test_a_cancelled_stream_ends_the_same_way(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    await backend.post(f"/mma/generations/{accepted['generation_id']}/cancel", {})
    events = await backend.events(accepted["sse_url"])
    assert [(name, data.get("status")) for name, _, data in events[-3:]] == [
        ("status", "cancelled"),
        ("scan_line", None),
        ("done", "cancelled"),
    ]
