"""Failed, cancelled and stuck generations, for operators and for their owners (docs/contract/failures-in-sql.md)."""

import base64
from collections import defaultdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from safelight.api.auth.operators import ADMIN_ONLY, ByOperator
from safelight.api.auth.principals import ActingByQuery
from safelight.api.http import idempotency
from safelight.api.http.error_responses import BY_OPERATORS, error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup as Rate
from safelight.api.http.rate_limits import per_address
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas.failures import (
    AdminFailureReport,
    CleanedUp,
    Counts,
    CustomerFailureReport,
    ErrorContextOfOperators,
    Failed,
    FailedByUser,
    FailedInShort,
    FailedOfKind,
    FailedOfSomebody,
    Heuristic,
    OwnerOfCleaned,
    Parameters,
    Project,
    SessionOfFailed,
    UserOfFailed,
)
from safelight.db.operations import audit, failures
from safelight.db.operations.audit import Operator
from safelight.db.operations.failures import Cursor, FailuresOfUser, Kind, Question
from safelight.domain.errors.base import AuthError, InvalidInput
from safelight.pipelines.engine.reaper import Reaped
from safelight.reports import failures as reports
from safelight.reports.failures import FailureReport, ReportedFailure

Json = dict[str, Any]

CURSOR_CHARS_MAX = 400
ID_CHARS_MAX = 200
ID_PATTERN = r"^[^\x00]+$"  # what a database can hold
CURSOR_RULE = "cursor: it must be the `nextCursor` of the page before."

router = APIRouter(tags=["failures"])

Hours = Annotated[
    int,
    Query(
        alias="hoursAgo",
        ge=1,
        le=failures.HOURS_MAX,
        description="How far back failed and cancelled ones were made. What is stuck shows however old it is.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=failures.LIMIT_MAX, description="How many on one page.")]
SessionId = Annotated[
    str | None,
    Query(alias="sessionId", max_length=ID_CHARS_MAX, pattern=ID_PATTERN, description="Only of this session."),
]
UserId = Annotated[
    str | None,
    Query(
        alias="userId",
        max_length=ID_CHARS_MAX,
        pattern=ID_PATTERN,
        description="Only this user's: a user or a pass id.",
    ),
]


def _cursor(
    cursor: Annotated[
        str | None, Query(max_length=CURSOR_CHARS_MAX, description="`nextCursor` of the page before.")
    ] = None,
) -> Cursor | None:
    if cursor is None:
        return None
    try:
        plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created_at, _, generation_id = plain.partition(" ")
        found = Cursor(datetime.fromisoformat(created_at), generation_id)
    except ValueError as error:
        raise InvalidInput(CURSOR_RULE) from error
    if not generation_id or not generation_id.isprintable():
        raise InvalidInput(CURSOR_RULE)
    return found


Before = Annotated[Cursor | None, Depends(_cursor)]


@router.get(
    "/api/admin/failed-generations",
    summary="Failed, cancelled and stuck generations of everybody",
    dependencies=[ADMIN_ONLY],
    response_description="Newest first. The counts are of all that was asked for, `generations` is one page of it.",
    responses=BY_OPERATORS,
)
async def failed_of_all(
    services: FromApp,
    before: Before,
    status: Annotated[Kind, Query(description="Which: all of them, or one kind.")] = Kind.ALL,
    user_id: UserId = None,
    session_id: SessionId = None,
    hours: Hours = failures.HOURS_DEFAULT,
    limit: Limit = failures.LIMIT_DEFAULT,
) -> AdminFailureReport:
    question = Question(status, hours, limit, user_id=user_id, session_id=session_id, before=before)
    async with services.db.connection() as conn:
        found = await reports.for_operators(conn, question, services.reaper.thresholds)
    return report(found)


@router.get(
    "/api/generations/failed",
    summary="A customer's own failed, cancelled and stuck generations",
    dependencies=[per_address(Rate.PUBLIC)],
    response_description="Newest first; what is stuck shows however old it is.",
    responses=error_responses(400, 401, 429, 503),
)
async def failed_of_one(
    services: FromApp,
    before: Before,
    customer: ActingByQuery,
    session_id: SessionId = None,
    hours: Hours = failures.HOURS_DEFAULT,
    limit: Limit = failures.LIMIT_DEFAULT,
) -> CustomerFailureReport:
    if customer is None:
        raise AuthError("Say whose generations: state a pass id, as `passId` or `X-Mina-Pass-Id`.")
    question = Question(Kind.ALL, hours, limit, pass_id=customer.pass_id, session_id=session_id, before=before)
    async with services.db.connection() as conn:
        found = await reports.for_customer(conn, question, services.reaper.thresholds)
    return _own_report(found)


@router.post(
    "/api/admin/cleanup-stuck-generations",
    summary="Have what is stuck taken up again, now",
    response_description="The generations that were queued again, and why the others were left alone.",
    responses={**BY_OPERATORS, **error_responses(422)},
)
async def cleanup(services: FromApp, operator: ByOperator, once: OnceForKey) -> CleanedUp:
    """Runs the pass that every worker runs every few seconds: generations whose worker is gone or that have no job get
    a new job and go on from their last finished step; what no worker began in time fails, refunded. What somebody is at
    work on is left alone."""
    return await once.outside(idempotency.actor(operator), CleanedUp, lambda: _cleaned_up(services, operator))


async def _cleaned_up(services: Services, operator: Operator) -> CleanedUp:
    patience = services.reaper.thresholds
    async with services.db.connection() as conn:
        before = await failures.unfinished(conn, patience)
    reaped = await services.reaper.reap()
    resumed = [*reaped.taken_back, *reaped.adopted, *reaped.expired_in_queue]
    async with services.db.connection() as conn:
        owners = await failures.owners(conn, resumed)
        stuck = {row.liveness: row.count for row in before}
        after = {"generation_ids": resumed}
        await audit.record(
            conn, operator, "generations.cleanup", target=None, before={"unfinished": stuck}, after=after
        )
    skipped: dict[str, int] = defaultdict(int)
    for row in before:
        if row.liveness not in ("worker-lost", "no-job"):
            skipped[row.liveness] += row.count
    return CleanedUp(
        message=_message(reaped),
        cleaned=len(resumed),
        scanned=sum(row.count for row in before),
        skippedReasons=skipped,
        generationIds=resumed,
        takenBack=reaped.taken_back,
        adopted=reaped.adopted,
        neverStarted=reaped.expired_in_queue,
        byUser=[
            OwnerOfCleaned(userId=owner.user_id, userEmail=owner.email or "unknown", count=owner.count)
            for owner in owners
        ],
        heuristic=Heuristic(
            minAgeMinutes=round(patience.grace_seconds / 60, 2),
            heartbeatStaleMinutes=round(patience.dead_after_seconds / 60, 2),
            webhookGraceMinutes=0,
        ),
    )


def _message(reaped: Reaped) -> str:
    queued, ended = len(reaped.taken_back) + len(reaped.adopted), len(reaped.expired_in_queue)
    said = [f"{queued} stuck generation(s) were queued again{reaped.warning}."]
    if ended:
        said.append(f"{ended} that no worker began in time ended, refunded.")
    return " ".join(said)


def report(found: FailureReport) -> AdminFailureReport:
    """Return the report that operators read, over HTTP and from `safelight failures --json`. Each generation is told in
    full once."""
    items = [_admin_item(failure) for failure in found.failures]
    shown = defaultdict(list)
    for item in items:
        shown[item.passId].append(
            FailedInShort(id=item.id, status=item.status, errorMessage=item.errorMessage, createdAt=item.createdAt)
        )
    return AdminFailureReport(
        total=found.total,
        summary=Counts(failed=found.failed, stuck=found.stuck, cancelled=found.cancelled),
        byUser=[_user(row, shown[row.pass_id]) for row in found.by_user],
        generations=items,
        nextCursor=_encoded(found.next),
    )


def _own_report(found: FailureReport) -> CustomerFailureReport:
    items = {
        kind: [Failed(**_item(failure)) for failure in found.failures if failure.generation.kind == kind]
        for kind in (Kind.FAILED, Kind.STUCK, Kind.CANCELLED)
    }
    return CustomerFailureReport(
        failed=FailedOfKind(count=found.failed, generations=items[Kind.FAILED]),
        stuck=FailedOfKind(count=found.stuck, generations=items[Kind.STUCK]),
        cancelled=FailedOfKind(count=found.cancelled, generations=items[Kind.CANCELLED]),
        total=found.total,
        nextCursor=_encoded(found.next),
    )


def _item(failure: ReportedFailure) -> Json:
    """Return the fields that a generation has in both reports."""
    row = failure.generation
    project = Project(id=row.project_id, name=row.project_name or "") if row.project_id else None
    return {
        "id": row.id,
        "sessionId": row.session_id,
        "modelId": row.model_id,
        "prompt": row.prompt,
        "status": row.status,
        "parameters": Parameters(**row.parameters),
        "createdAt": row.created_at,
        "session": SessionOfFailed(id=row.session_id, name=row.session_name, project=project),
        "errorMessage": failure.error_message,
        "isStuck": failure.is_stuck,
        "stuckReason": row.liveness,
        "ageMinutes": row.age_minutes,
    }


def _admin_item(failure: ReportedFailure) -> FailedOfSomebody:
    row, context = failure.generation, failure.error_context
    return FailedOfSomebody(
        **_item(failure),
        userId=row.user_id,
        passId=row.pass_id,
        user=UserOfFailed(id=row.user_id, displayName=row.display_name, username=row.username),
        errorContext=ErrorContextOfOperators(**context | {"stack": failure.stack}) if context else None,
    )


def _user(row: FailuresOfUser, shown: list[FailedInShort]) -> FailedByUser:
    return FailedByUser(
        userId=row.user_id,
        userDisplayName=reports.name_of(row),
        userEmail=reports.email_of(row),
        count=row.count,
        failed=row.failed,
        stuck=row.stuck,
        cancelled=row.cancelled,
        generations=shown,
    )


def _encoded(cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    plain = f"{cursor.created_at.isoformat()} {cursor.generation_id}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
