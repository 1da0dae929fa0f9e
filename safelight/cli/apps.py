"""The whole app, for commands that serve, work or change what was made."""

import socket

from safelight import serve
from safelight.app import App
from safelight.cli.shared import with_logs
from safelight.config import Settings


def open_app(port: int | None = None, host: str | None = None, *, console_lines: bool = True) -> App:
    settings = Settings()
    settings.port = settings.port if port is None else port
    settings.host = host or settings.host
    return with_logs(App(settings), console_lines=console_lines)


def listen(app: App) -> socket.socket:
    """Listen where the settings say; the port becomes the one that was free if it is 0."""
    listening = serve.listen(app.settings.host, app.settings.port)
    app.settings.port = listening.getsockname()[1]
    return listening
