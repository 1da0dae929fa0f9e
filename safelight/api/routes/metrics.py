"""`GET /metrics`: workers and queues, results at risk, and how many violations each invariant has, in Prometheus' text
format.

A scrape asks the database nothing, so it answers at once however large that is, or while it is away: what is told is
read beside the scrapes, and each part says how old it is. The format (version 0.0.4) is written by hand. There are only
counts in it, so nobody is asked who they are.
"""

from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from safelight.api.auth.principals import no_identity
from safelight.api.http.services import FromApp
from safelight.ops.doctor import LatestFindings, Report
from safelight.reports.queue import KnownStatus

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_EXAMPLE = "# TYPE safelight_workers_alive gauge\nsafelight_workers_alive 2\n"

Labels = dict[str, str]

router = APIRouter(tags=["operations"])


@router.get(
    "/metrics",
    summary="Workers, queues, and whether the invariants hold",
    response_class=PlainTextResponse,
    dependencies=[no_identity("It holds counts alone.")],
    responses={200: {"content": {"text/plain": {"example": _EXAMPLE}}}},
)
async def metrics(services: FromApp) -> PlainTextResponse:
    """Workers and queues are read every five seconds (`safelight_queue_status_age_seconds`). The invariants are those
    of `safelight doctor`: a scrape begins a pass beside it if the last one is more than a minute old, or twenty times
    as old as it took (`safelight_doctor_age_seconds`); before the first has ended they are not in it."""
    findings = services.findings.ask()
    lines = [*_queue_lines(services.queues.known), *_doctor_lines(findings, services.findings)]
    return PlainTextResponse("".join(f"{line}\n" for line in lines), media_type=MEDIA_TYPE)


def _gauge(name: str, help: str, *samples: tuple[Labels, float]) -> Iterator[str]:
    yield f"# HELP safelight_{name} {help}"
    yield f"# TYPE safelight_{name} gauge"
    for labels, value in samples:
        stated = ",".join(f'{label}="{of}"' for label, of in labels.items())
        yield f"safelight_{name}{{{stated}}} {value}" if labels else f"safelight_{name} {value}"


def _queue_lines(known: KnownStatus | None) -> Iterator[str]:
    if known is None:
        return
    status = known.status
    by_queue = [({"queue": name}, count) for name, count in status.due.items()]
    yield from _gauge("workers_alive", "Worker processes that answer.", ({}, status.workers_alive))
    yield from _gauge("workers_lost", "Worker processes that stopped answering today.", ({}, status.workers_lost))
    yield from _gauge("queue_due", "Generations that wait for a free place of a worker.", *by_queue)
    oldest = round(status.oldest_due_seconds or 0.0, 3)
    yield from _gauge("queue_oldest_due_seconds", "How long the oldest of them has waited.", ({}, oldest))
    yield from _gauge("queue_scheduled", "Generations that are due later, e.g. at a provider.", ({}, status.scheduled))
    yield from _gauge("queue_in_progress", "Generations that a worker has.", ({}, status.in_progress))
    yield from _gauge("queue_abandoned", "Generations whose worker stopped answering.", ({}, status.abandoned))
    yield from _gauge(
        "queue_without_worker", "1 if generations wait and no worker is alive.", ({}, int(status.is_stalled))
    )
    at_risk = "Results that only their provider has, because our storage is away."
    yield from _gauge("results_at_risk", at_risk, ({}, status.results_at_risk))
    yield from _gauge("queue_status_age_seconds", "How old the figures above are.", ({}, round(known.age_seconds, 3)))


def _doctor_lines(findings: Report | None, latest: LatestFindings) -> Iterator[str]:
    if findings is None:
        return
    counts = [({"invariant": str(number)}, count) for number, count in findings.counts().items()]
    help = "Rows that break an invariant, as safelight doctor counts them."
    yield from _gauge("invariant_violations", help, *counts)
    seconds = "How long the pass over the database took."
    yield from _gauge("doctor_pass_seconds", seconds, ({}, round(findings.seconds, 3)))
    yield from _gauge("doctor_age_seconds", "How old these figures are.", ({}, round(latest.age_seconds, 3)))
