"""The demo: the whole story on a real picture."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from safelight import demo as story
from safelight import serve, terminal
from safelight.app import App
from safelight.cli.shared import AsJson, listen, open_app
from safelight.db import customers, ledger
from safelight.domain.errors import InvalidInput
from safelight.domain.ids import new_id

SAMPLE_PRODUCT = Path(__file__).parents[1] / "samples" / "coffee.jpg"

commands = typer.Typer()


@commands.command()
def demo(
    product: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A product photo.")] = SAMPLE_PRODUCT,
    logo: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A logo.")] = None,
    as_json: AsJson = False,
) -> None:
    """The whole story on a real picture: a still, 3 tweaks, a video, a tweak of it, a like, a download."""
    app = App(open_app(console_lines=False).settings.without_keys())  # a demo is offline, and costs nothing
    app.check_secrets()
    listening = _demo_socket(app)
    app.start_database()
    tell = terminal.tell_nothing if as_json else terminal.tell
    report = asyncio.run(_demo(app, listening, product, logo, tell))
    if as_json:
        terminal.print_json(report.as_json())
        return
    terminal.show_report(app, report)


async def _demo(app: App, listening: Any, product: Path, logo: Path | None, tell: story.Tell) -> story.Report:
    pass_id = f"pass:anon:{new_id()}"
    folder = app.home / "demo" / f"{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    await app.migrate()
    async with app.database() as db, db.transaction() as conn:
        await customers.ensure(conn, pass_id)
        await ledger.grant(
            conn,
            pass_id=pass_id,
            credits=story.STORY_CREDITS,
            reason="demo",
            source="system",
            ref=("demo", pass_id),
        )
    base_url = app.settings.base_url
    async with (
        serve.serving(app, listening),
        serve.working(app),
        httpx.AsyncClient(base_url=base_url, timeout=story.REQUEST_SECONDS, trust_env=False) as client,
    ):
        return await story.Story(client, pass_id, folder, tell).run(product, logo)


def _demo_socket(app: App) -> Any:
    """The usual port, so that the stored URLs work in `safelight up` too; a free one where it is taken."""
    try:
        return listen(app)
    except InvalidInput:
        app.settings.port = 0
        return listen(app)
