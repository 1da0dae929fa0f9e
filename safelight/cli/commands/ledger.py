"""Commands for the credits ledger."""

from typing import Annotated

import typer

from safelight.cli import operator_views, output
from safelight.cli.apps import open_app
from safelight.cli.shared import AsJson, command_list, on_database, read_database
from safelight.db.connection.database import Database
from safelight.db.money.ledger import BalanceChange, Origin
from safelight.db.operations import audit
from safelight.domain import pass_ids
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.domain.identities import TargetCustomer
from safelight.domain.money.credit_amounts import AMOUNT_MAX, credit_amount
from safelight.ops.credits import Adjustment, adjust_credits
from safelight.redaction import DEFAULT_REDACTOR
from safelight.reports import customer
from safelight.reports.customer import CustomerLedger

ENTRIES_MAX = 10_000
REASON_CHARS_MAX = 200
DEFAULT_REASON = "manual-topup"

commands = command_list()


def _amount(stated: str) -> int:
    try:
        return credit_amount(stated, "amount", takes_text=True, minimum=1)
    except InvalidInput as error:
        raise typer.BadParameter(str(error)) from error


@commands.command("grant")
def grant(
    pass_id: Annotated[str, typer.Argument(help="Pass id of the customer, who is created if new.")],
    amount: Annotated[int, typer.Argument(parser=_amount, metavar="N", help=f"Number of credits, 1 to {AMOUNT_MAX}.")],
    reason: Annotated[
        str, typer.Option(help=f"Reason, for the ledger and the audit: 1 to {REASON_CHARS_MAX} characters.")
    ] = DEFAULT_REASON,
) -> None:
    """Grant credits to a customer, as a ledger row."""
    stated, why = _pass_id(pass_id), _reason(reason)
    app, operator = open_app(), audit.at_command_line("safelight credits grant")
    origin = Origin(why, "admin", ("manual", operator.request_id))
    adjustment = Adjustment(amount, origin, "credits.grant")
    days = app.settings.credits_expire_days

    async def run(db: Database) -> BalanceChange:
        async with db.transaction() as conn:
            return await adjust_credits(conn, operator, TargetCustomer(stated), adjustment, expire_days=days)

    moved = on_database(app, run)
    output.console.print(f"{stated}: +{amount}, balance {moved.after}", soft_wrap=True)


@commands.command("ledger")
def show_ledger(
    pass_id: Annotated[str, typer.Argument(help="The customer's pass id.")],
    limit: Annotated[int, typer.Option(min=1, max=ENTRIES_MAX, help="Number of entries.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the newest ledger entries of a customer, each with the balance after it."""
    stated = _pass_id(pass_id)
    found: CustomerLedger | None = read_database(lambda conn: customer.ledger_of(conn, stated, limit=limit))
    if found is None:
        raise NotFound(f"there is no customer {stated!r}")
    if as_json:
        output.print_json(found.as_json())
        return
    operator_views.show_ledger(found)


def _pass_id(stated: str) -> str:
    pass_id = pass_ids.normalize(stated) or ""
    if not 0 < len(pass_id) <= pass_ids.PASS_ID_CHARS_MAX:
        raise InvalidInput(f"PASS_ID: 1 to {pass_ids.PASS_ID_CHARS_MAX} characters, and not 'anonymous'")
    return pass_id


def _reason(stated: str) -> str:
    reason = DEFAULT_REDACTOR.text(stated.strip())
    if not 0 < len(reason) <= REASON_CHARS_MAX or not reason.isprintable():
        raise InvalidInput(f"--reason: 1 to {REASON_CHARS_MAX} printable characters")
    return reason
