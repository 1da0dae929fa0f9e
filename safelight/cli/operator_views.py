"""The output of the commands about failures, the ledger, and workers and queues."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from safelight.cli.output import console, line, print_json, show_count, show_facts, show_list
from safelight.db.generations.queue_status import QueueStatus
from safelight.db.money.ledger import LedgerEntry
from safelight.reports.customer import CustomerLedger
from safelight.reports.failures import FailureReport, ReportedFailure, email_of, name_of
from safelight.reports.receipt import Receipt, ReceiptLine, ReceiptStep

Json = dict[str, Any]

NO_WORKER_REMEDY = "no worker is alive: start safelight worker"
FAILURE_COLUMNS = (
    "generation", "status", "age minutes", "code", "step", "model", "cause", "pass id", "created at",
)  # fmt: skip


def show_failures(report: FailureReport, *, is_worker_alive: bool) -> None:
    """On a terminal a few lines for each; elsewhere tab-separated values."""
    failures = [_failure(failure, is_worker_alive) for failure in report.failures]
    if console.is_terminal:
        for user in report.found.by_user:
            facts = f"  {user.count:5d}  {name_of(user)}  "
            console.print(line(facts, (email_of(user), "dim")), soft_wrap=True)
        for failure in failures:
            _tell_failure(failure)
    else:
        show_list(tuple(FAILURE_COLUMNS), (tuple(failure.values()) for failure in failures))
    counts = f"{report.found.failed} failed, {report.found.stuck} stuck, {report.found.cancelled} cancelled"
    show_count(f"{len(failures)} of {report.found.total} shown: {counts}")


def _failure(failure: ReportedFailure, is_worker_alive: bool) -> Json:
    row, reason = failure.generation, failure.reason
    if failure.is_stuck:
        reason = f"{reason}; {'another one takes it over within seconds' if is_worker_alive else NO_WORKER_REMEDY}"
    values = (
        row.id,
        failure.status,
        row.age_minutes,
        failure.code,
        failure.step,
        failure.model,
        reason,
        row.pass_id,
        row.created_at.isoformat(timespec="seconds"),
    )
    return dict(zip(FAILURE_COLUMNS, values, strict=True))


def _tell_failure(failure: Json) -> None:
    console.print()
    age = (f"  {failure['age minutes']} min ago", "dim")
    console.print(line((failure["generation"], "bold"), f"  {failure['status']}", age), soft_wrap=True)
    at_step = f" at {failure['step']}" if failure["step"] else ""
    console.print(line(f"  {failure['code']}{at_step}", (f"  {failure['model']}", "dim")), soft_wrap=True)
    show_facts({f"  {name}": str(failure[name]) for name in ("cause", "pass id")}, width=9)


def show_ledger(ledger: CustomerLedger) -> None:
    columns = ("at", "delta", "balance", "reason", "source", "generation", "reference")
    show_list(columns, map(_entry, ledger.entries), ids=("at", "generation", "reference"))
    show_count(f"{len(ledger.entries)} of {ledger.total} shown; balance {ledger.balance}")


def _entry(entry: LedgerEntry) -> Sequence[Any]:
    reference = f"{entry.ref_type}:{entry.ref_id}"
    at = entry.at.isoformat(timespec="milliseconds")
    return (at, f"{entry.delta:+d}", entry.balance, entry.reason, entry.source, entry.generation_id, reference)


def show_receipt(receipt: Receipt) -> None:
    columns = ("at", "kind", "credits", "positions", "reason", "reference")
    show_list(columns, map(_receipt_line, receipt.lines), ids=("at", "reference"))
    steps = ("step", "type", "status", "attempts", "seconds", "provider", "model", "usd", "error")
    show_list(steps, map(_receipt_step, receipt.steps))
    facts = {
        "delivered": f"{receipt.positions_delivered} of {receipt.positions_ordered}, {receipt.status}",
        "credits": f"{receipt.charged} charged, {receipt.refunded} refunded, {receipt.paid} paid",
        "provider": f"{receipt.provider_usd} USD",
    }
    if receipt.possible_usd:
        facts["provider"] += f", and perhaps {receipt.possible_usd} USD of starts whose answer was lost"
    show_facts(facts, width=11)


def _receipt_line(entry: ReceiptLine) -> Sequence[Any]:
    at = entry.at.isoformat(timespec="milliseconds")
    return (at, entry.kind, f"{entry.credits:+d}", entry.positions, entry.reason, entry.reference)


def _receipt_step(step: ReceiptStep) -> Sequence[Any]:
    stated = (step.seconds, step.provider, step.model, step.provider_usd, step.error_code)
    return (step.number, step.type, step.status, step.attempts, *("" if one is None else one for one in stated))


def show_status(status: QueueStatus, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(status), "alarm": status.alarm})
        return
    oldest = "" if status.oldest_due_seconds is None else f"; the oldest waits for {status.oldest_due_seconds:.0f} s"
    lost = f", {status.workers_lost} stopped answering in the last day" if status.workers_lost else ""
    facts = {
        "workers": f"{status.workers_alive} alive{lost}",
        "due": ", ".join(f"{name}: {count}" for name, count in status.due.items()) + oldest,
        "in progress": str(status.in_progress),
        "scheduled": f"{status.scheduled} (they wait for a provider, or to be tried again)",
    }
    if status.abandoned:
        facts["abandoned"] = f"{status.abandoned} (their worker stopped answering)"
    if status.results_at_risk:
        facts["at risk"] = f"{status.results_at_risk} results that only their provider has: the storage is unavailable"
    show_facts(facts, width=11)
    if status.alarm:
        console.print(line(("!", "red"), f" {status.alarm}"), soft_wrap=True)
