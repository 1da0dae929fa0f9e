"""`/api/v1/generations/{id}`: rename, mark, cancel, delete a generation, order it again, and make what is missing."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, StringConstraints

from safelight.api.auth.principals import CustomerByHeader, OwnerOrOperator
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import fields
from safelight.api.schemas.aliases import Flag, Short
from safelight.api.schemas.problems import PREFIX, ClosedModel
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.generation_answers import answer, answer_of
from safelight.api.v1.generation_models import GenerationResource
from safelight.api.v1.routing import (
    RESULTS_SHOWN_MAX,
    GenerationPath,
    origin_of,
    path_of,
    v1_route,
    visible_generation,
)
from safelight.db.connection.database import Connection
from safelight.db.generations import listing
from safelight.domain.errors.base import NotFound
from safelight.domain.flows import SET_MODES
from safelight.domain.identities import ActingCustomer
from safelight.pipelines import cancel as cancellation
from safelight.pipelines import deletion
from safelight.pipelines.reopen import redo_all, retry_missing

router = APIRouter(route_class=v1_route(), tags=["v1"])


class NoFields(ClosedModel):
    """A body without fields; it may be left out."""


class CancelOutcomeV1(ResponseModel):
    """`too_late` is null while that is not known yet: then follow the stream."""

    cancelled: bool = Field(examples=[True])
    too_late: bool | None = Field(examples=[False])
    refunded_credits: fields.Count
    generation: GenerationResource


@router.post(
    f"{PREFIX}/generations/{{generation_id}}/cancel",
    summary="Stop a generation",
    description="Reaches the provider, refunds what was not delivered, and is final. Where it is too late, the result"
    " is delivered.",
    responses=error_responses(404),
)
async def cancel(
    services: FromApp, generation_id: GenerationPath, by: OwnerOrOperator, once: OnceForKey, body: NoFields
) -> CancelOutcomeV1:
    async def work() -> CancelOutcomeV1:
        done = await cancellation.cancel(services.db, generation_id, by)
        return CancelOutcomeV1(
            cancelled=done.too_late is False,
            too_late=done.too_late,
            refunded_credits=done.refunded_credits,
            generation=await answer_of(services, generation_id, by),
        )

    return await once.outside(by, CancelOutcomeV1, work, is_final=lambda answer: answer.too_late is not None)


@router.post(
    f"{PREFIX}/generations/{{generation_id}}/retry",
    summary="Order again what is final",
    description="A new generation with `retry_of`, charged at the price of today, of what failed or was cancelled: two"
    " retries at once make one. An image job or a model run may have ended in any way; all of it is made again.",
    status_code=202,
    responses=error_responses(402, 404, described={409: "It is still being made."}),
)
async def retry(
    request: Request,
    response: Response,
    services: FromApp,
    generation_id: GenerationPath,
    by: OwnerOrOperator,
    once: OnceForKey,
    body: NoFields,
) -> GenerationResource:
    row = await visible_generation(services, generation_id, by, made_max=0)
    redoes = row.kind in SET_MODES and row.status not in ("failed", "cancelled")

    async def work() -> GenerationResource:
        if redoes and isinstance(by, ActingCustomer):
            key = f"redo:{generation_id}:{once.id_for(by)}"
            accepted = await redo_all(
                services.acceptance, generation_id, by, idempotency_key=key, request=origin_of(request)
            )
        else:
            accepted = await services.retries.retry(generation_id, by, request=origin_of(request))
        return await answer_of(services, accepted.generation_id, by)

    answer = await once.outside(by, GenerationResource, work)
    response.headers["Location"] = path_of(answer.id)
    return answer


@router.post(
    f"{PREFIX}/generations/{{generation_id}}/retry-missing",
    summary="Make what is missing",
    description="Of an image job or a model run that is `completed_partial`: the same generation goes on, and is"
    " charged for the missing results alone. What was made stays as it is, and the log goes on.",
    status_code=202,
    responses=error_responses(402, 404, described={409: "Nothing of it is missing, or it is still being made."}),
)
async def make_missing(
    request: Request,
    services: FromApp,
    generation_id: GenerationPath,
    by: OwnerOrOperator,
    once: OnceForKey,
    body: NoFields,
) -> GenerationResource:
    await visible_generation(services, generation_id, by, made_max=0)

    async def work() -> GenerationResource:
        key = once.id_for(by)
        await retry_missing(services.acceptance, generation_id, by, idempotency_key=key, request=origin_of(request))
        return await answer_of(services, generation_id, by)

    return await once.outside(by, GenerationResource, work)


class RenameBody(ClosedModel):
    name: Annotated[Short, StringConstraints(min_length=1)] = Field(description="The new name.", examples=["Summer"])


@router.patch(f"{PREFIX}/generations/{{generation_id}}", summary="Rename a generation", responses=error_responses(404))
async def rename(
    services: FromApp, generation_id: GenerationPath, customer: CustomerByHeader, body: RenameBody
) -> GenerationResource:
    async with services.db.transaction() as conn:
        if not await listing.rename(conn, generation_id, customer.pass_id, body.name):
            raise NotFound(f"There is no generation {generation_id!r}.")
        return await _changed(services, conn, generation_id)


async def _changed(services: Services, conn: Connection, generation_id: str) -> GenerationResource:
    row = await listing.find(conn, generation_id, made_max=RESULTS_SHOWN_MAX)
    assert row is not None  # it was just changed
    return await answer(services, conn, row, results_max=RESULTS_SHOWN_MAX)


class FavoriteBody(ClosedModel):
    favorite: Flag = Field(True, description="True for a favorite.", examples=[True])


@router.post(
    f"{PREFIX}/generations/{{generation_id}}/favorite",
    summary="Mark a generation as a favorite, or not",
    responses=error_responses(404),
)
async def mark(
    services: FromApp, generation_id: GenerationPath, customer: CustomerByHeader, once: OnceForKey, body: FavoriteBody
) -> GenerationResource:
    async def work(conn: Connection) -> GenerationResource:
        if not await listing.set_favorite(conn, generation_id, customer.pass_id, body.favorite):
            raise NotFound(f"There is no generation {generation_id!r}.")
        return await _changed(services, conn, generation_id)

    return await once.in_transaction(customer, GenerationResource, work, retries=True)


class GenerationDeleted(ResponseModel):
    """Its files are gone; ledger, steps and lines stay on record."""

    id: fields.GenerationId
    deleted: bool = Field(examples=[True])


@router.delete(
    f"{PREFIX}/generations/{{generation_id}}",
    summary="Delete a generation and its files",
    responses=error_responses(404, described={409: "It is not final, or something unfinished is made from it."}),
)
async def delete(services: FromApp, generation_id: GenerationPath, customer: CustomerByHeader) -> GenerationDeleted:
    await _require_own(services, generation_id, customer)
    await deletion.delete(services.db, services.assets, generation_id, customer.pass_id)
    return GenerationDeleted(id=generation_id, deleted=True)


async def _require_own(services: Services, generation_id: str, customer: ActingCustomer) -> None:
    """A generation that was deleted before may be deleted again: its file may be left."""
    async with services.db.connection() as conn:
        row = await listing.find(conn, generation_id, made_max=0)
    if row is None or row.pass_id != customer.pass_id:
        raise NotFound(f"There is no generation {generation_id!r}.")
