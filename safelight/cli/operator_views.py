"""What operators read of failures, of the ledger, and of workers and queues."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from safelight.db.generations.queue_status import QueueStatus
from safelight.terminal import console, line, print_json, show_count, show_list

Json = dict[str, Any]

NO_WORKER_REMEDY = "no worker is alive: start safelight worker"
STUCK_CAUSES = {
    "past-deadline": "it is past its deadline",
    "worker-lost": "its worker stopped answering",
    "no-job": "it has no job in the queue",
}


def show_failures(found: Json, causes: Mapping[str, Json], *, is_worker_alive: bool) -> None:
    """On a terminal a few lines for each; elsewhere tab-separated values."""
    failures = [_failure(item, causes.get(item["id"], {}), is_worker_alive) for item in found["generations"]]
    if console.is_terminal:
        for user in found["byUser"]:
            facts = f"  {user['count']:5d}  {user['userDisplayName']}  "
            console.print(line(facts, (str(user["userEmail"]), "dim")), soft_wrap=True)
        for failure in failures:
            _tell_failure(failure)
    else:
        show_list(tuple(FAILURE_COLUMNS), (tuple(failure.values()) for failure in failures))
    counts = ", ".join(f"{count} {kind}" for kind, count in found["summary"].items())
    show_count(f"{len(failures)} of {found['total']} shown: {counts}")


FAILURE_COLUMNS = (
    "generation", "status", "age minutes", "code", "step", "model", "cause", "pass id", "created at",
)  # fmt: skip


def _failure(item: Json, cause: Json, is_worker_alive: bool) -> Json:
    context = item["errorContext"] or {}
    if item["isStuck"]:
        next_step = "another one takes it over within seconds" if is_worker_alive else NO_WORKER_REMEDY
        code, why = item["stuckReason"], f"{STUCK_CAUSES[item['stuckReason']]}; {next_step}"
    else:
        code = context.get("code") or cause.get("code") or context.get("type")
        why = cause.get("message") or item["errorMessage"]
        if item["status"] == "cancelled" and cause.get("cancelled_by"):
            why = f"cancelled by {cause['cancelled_by']}"
    values = (
        item["id"],
        "stuck" if item["isStuck"] else item["status"],
        item["ageMinutes"],
        code,
        context.get("step") or cause.get("step") or cause.get("last_step"),
        cause.get("model") or item["modelId"],
        why,
        item["passId"],
        item["createdAt"].isoformat(timespec="seconds"),
    )
    return dict(zip(FAILURE_COLUMNS, values, strict=True))


def _tell_failure(failure: Json) -> None:
    console.print()
    age = (f"  {failure['age minutes']} min ago", "dim")
    console.print(line((failure["generation"], "bold"), f"  {failure['status']}", age), soft_wrap=True)
    at_step = f" at {failure['step']}" if failure["step"] else ""
    console.print(line(f"  {failure['code']}{at_step}", (f"  {failure['model']}", "dim")), soft_wrap=True)
    for name in ("cause", "pass id"):
        console.print(line((f"  {name:<8}", "dim"), str(failure[name])), soft_wrap=True)


def show_ledger(found: Json) -> None:
    columns = ("at", "delta", "balance", "reason", "source", "generation", "reference")
    show_list(columns, map(_entry, found["entries"]), ids=("at", "generation", "reference"))
    show_count(f"{len(found['entries'])} of {found['total']} shown; balance {found['balance']}")


def _entry(row: Json) -> Sequence[Any]:
    reference = f"{row['ref_type']}:{row['ref_id']}"
    at = row["at"].isoformat(timespec="milliseconds")
    return (at, f"{row['delta']:+d}", row["balance"], row["reason"], row["source"], row["generation_id"], reference)


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
    for name, value in facts.items():
        console.print(line((f"{name:<12}", "dim"), value), soft_wrap=True)
    if status.alarm:
        console.print(line(("!", "red"), f" {status.alarm}"), soft_wrap=True)
