"""The whole app, for commands that serve, work or change what was made."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from safelight import serve, telemetry
from safelight.app import App
from safelight.cli.shared import with_logs
from safelight.config import Settings


def open_app(port: int | None = None, host: str | None = None, *, console_lines: bool = True) -> App:
    settings = Settings()
    settings.port = settings.port if port is None else port
    settings.host = host or settings.host
    return with_logs(App(settings), console_lines=console_lines)


def prepared(port: int | None, host: str | None, *, must_answer: bool = True) -> tuple[App, Any]:
    app = open_app(port, host)
    app.check_secrets()
    app.check_storage()
    listening = listen(app)
    app.start_database(must_answer=must_answer)
    return app, listening


def listen(app: App) -> Any:
    listening = serve.listen(app.settings.host, app.settings.port)
    app.settings.port = listening.getsockname()[1]
    return listening


def run_until_stopped(app: App, main_task: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main_task)
    telemetry.info("✅", telemetry.Tag.API, f"Stopped; all state is in {app.home}")
