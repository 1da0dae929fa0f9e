"""The command `demo`: all flows on a real picture."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer

from safelight import demo as story
from safelight import serve
from safelight.app import App
from safelight.cli import output
from safelight.cli.apps import listen, open_app
from safelight.cli.shared import AsJson, command_list
from safelight.db.money import customers, ledger
from safelight.domain.errors.base import InvalidInput
from safelight.domain.ids import new_id
from safelight.extras import Extra, origin_of
from safelight.media.formats import sniff
from safelight.process.tasks import end_tasks
from safelight.storage.assets import UPLOAD_BYTES_MAX

INTERRUPTED = 130  # as a shell tells Ctrl-C
STOP_SECONDS_MAX = 2.0
HEAD_BYTES = 4096
SAMPLE_PRODUCT = Path(__file__).parents[2] / "samples" / "coffee.jpg"

commands = command_list()


@commands.command("demo")
def demo(
    product: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A product photo.")] = SAMPLE_PRODUCT,
    logo: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A logo.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run all flows on a real picture: a still, 3 tweaks, a video, a tweak of it, a like, a download. The demo has a
    home and a database of its own, under HOME/demo."""
    _check_picture("--product", product)
    if logo:
        _check_picture("--logo", logo)
    origin_of(Extra.LOCAL, "the demo")
    app = App(open_app(console_lines=False).settings.for_demo())
    app.check_secrets()
    listening = _demo_socket(app)
    app.start_database()
    tell = (lambda _: None) if as_json else output.tell
    report = asyncio.run(_until_interrupted(_demo(app, listening, product, logo, tell)))
    if as_json:
        output.print_json(asdict(report))
        return
    output.show_report(app, report)


def _check_picture(option: str, path: Path) -> None:
    """Before anything starts: a file that is no picture is none of the demo's. Raises InvalidInput."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = sniff(head)
    if kind is None or not kind.startswith("image/"):
        raise InvalidInput(
            f"{option}: {path} is no picture ({kind or 'its type is unknown'}); give a JPEG, PNG or WebP"
        )
    if path.stat().st_size > UPLOAD_BYTES_MAX:
        raise InvalidInput(f"{option}: {path} is larger than {UPLOAD_BYTES_MAX // 1024**2} MB")


async def _until_interrupted(telling: Coroutine[Any, Any, story.DemoReport]) -> story.DemoReport:
    stop = serve.stop_on_signals()
    task, stopped = asyncio.create_task(telling), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if stop.is_set():
        await end_tasks(task, seconds=STOP_SECONDS_MAX)
        sys.stdout.flush()
        sys.stderr.write("safelight: the demo was interrupted; what it made so far is kept\n")
        os._exit(INTERRUPTED)  # threads that render would be waited for; the database's watcher ends the database
    return await task


async def _demo(app: App, listening: Any, product: Path, logo: Path | None, tell: story.Tell) -> story.DemoReport:
    pass_id = f"pass:anon:{new_id()}"
    folder = app.home / "files" / f"{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    await app.migrate()
    async with app.database() as db, db.transaction() as conn:
        await customers.ensure(conn, pass_id)
        await ledger.adjust(conn, pass_id, story.STORY_CREDITS, ledger.Origin("demo", "system", ("demo", pass_id)))
    base_url = app.settings.base_url
    async with (
        serve.serving(app, listening),
        serve.working(app),
        httpx2.AsyncClient(base_url=base_url, timeout=story.REQUEST_SECONDS, trust_env=False) as client,
    ):
        return await story.Story(client, pass_id, folder, tell).run(product, logo)


def _demo_socket(app: App) -> Any:
    """The usual port, so that the stored URLs work in `safelight up` too; a free one where it is taken."""
    try:
        return listen(app)
    except InvalidInput:
        app.settings.port = 0
        return listen(app)
