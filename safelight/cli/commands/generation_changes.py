"""Commands that cancel a generation or retry it."""

from dataclasses import asdict
from typing import Annotated

import typer

from safelight import telemetry
from safelight.app import App
from safelight.cli import output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list, on_database
from safelight.db.connection.database import Database
from safelight.db.operations import audit
from safelight.ops.retry import GenerationRetry
from safelight.pipelines import cancel as cancellation
from safelight.pipelines.accept import AcceptedOrder

commands = command_list()


@commands.command("cancel")
def cancel(generation_id: str, as_json: AsJson = False) -> None:
    """Cancel a generation: stop the provider and refund what was not delivered. Final."""
    operator = audit.at_command_line("safelight generations cancel")
    cancelling = on_database(open_app(), lambda db: cancellation.cancel(db, generation_id, operator))
    output.show_cancelling(cancelling, as_json=as_json)


@commands.command("retry")
def retry(
    generation_id: str,
    free: Annotated[bool, typer.Option("--free", help="Do not charge the customer for it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Retry a failed or cancelled generation: a new one for the same order, charged unless --free."""
    app = open_app()
    accepted = on_database(app, lambda db: _retry(app, db, generation_id, is_free=free))
    if as_json:
        output.print_json({**asdict(accepted), "retry_of": generation_id})
        return
    charged = "free of charge" if free else f"{accepted.credits_cost} credits charged"
    output.console.print(f"{accepted.generation_id}  queued; {charged}, balance {accepted.balance}", soft_wrap=True)
    output.console.print(f"follow it: safelight generations logs {accepted.generation_id}", soft_wrap=True)


async def _retry(app: App, db: Database, generation_id: str, *, is_free: bool) -> AcceptedOrder:
    on = app.on(db)
    queue = on.queue()
    await on.runtime.reload()
    await queue.open()
    try:
        retrying = GenerationRetry(db, on.acceptance(queue), app.resources.assets, app.resources.sealer)
        operator = audit.at_command_line("safelight generations retry")
        with telemetry.about(telemetry.LogIds(request_id=operator.request_id)):
            return await retrying.retry(generation_id, operator, is_free=is_free)
    finally:
        await queue.close()
