"""`GET /metrics`: how many violations each invariant has, and how many results are at risk, in Prometheus' text format.

A few gauges without any state between scrapes need no client library; the format (version 0.0.4) is written by hand.
There are only counts in it, so nobody is asked who they are.
"""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from safelight.api.principals import no_identity
from safelight.api.refusals import may_be
from safelight.api.services import FromApp
from safelight.ops.doctor import Findings

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_VIOLATIONS = "safelight_invariant_violations"
_SECONDS = "safelight_doctor_pass_seconds"
_AT_RISK = "safelight_results_at_risk"
_EXAMPLE = f'# TYPE {_VIOLATIONS} gauge\n{_VIOLATIONS}{{invariant="1"}} 0\n'

router = APIRouter(tags=["operations"])


@router.get(
    "/metrics",
    summary="Do the invariants hold?",
    response_class=PlainTextResponse,
    dependencies=[no_identity("It holds counts alone.")],
    responses={200: {"content": {"text/plain": {"example": _EXAMPLE}}}, **may_be(503)},
)
async def metrics(services: FromApp) -> PlainTextResponse:
    """As `safelight doctor` counts them, at most a minute old on a small database; of a large one, see
    `safelight_doctor_pass_seconds`: a pass takes at most a twentieth of the time."""
    return PlainTextResponse(_exposition(await services.findings.get()), media_type=MEDIA_TYPE)


def _exposition(findings: Findings) -> str:
    lines = [
        f"# HELP {_VIOLATIONS} Rows that break an invariant, as safelight doctor counts them.",
        f"# TYPE {_VIOLATIONS} gauge",
        *(f'{_VIOLATIONS}{{invariant="{number}"}} {count}' for number, count in findings.counts().items()),
        f"# HELP {_AT_RISK} Results that only their provider has, because our storage is away.",
        f"# TYPE {_AT_RISK} gauge",
        f"{_AT_RISK} {findings.results_at_risk}",
        f"# HELP {_SECONDS} How long the pass over the database took.",
        f"# TYPE {_SECONDS} gauge",
        f"{_SECONDS} {findings.seconds:.3f}",
    ]
    return "\n".join(lines) + "\n"
