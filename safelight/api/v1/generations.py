"""`/api/v1/generations`: order, list, read, cancel, retry, mark and delete generations of every kind."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from safelight.api.auth.principals import CustomerByHeader, OwnerOrOperator, VisitorByHeader
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup
from safelight.api.http.request_ids import request_id
from safelight.api.http.services import FromApp, Services
from safelight.api.routes.ordering import IdempotencyKey
from safelight.api.schemas import fields
from safelight.api.schemas.aliases import Flag
from safelight.api.schemas.problems import PREFIX, ClosedModel
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1 import orders
from safelight.api.v1.generation_models import GenerationResource, Kind, PublicStatus, resource_of
from safelight.api.v1.routing import (
    PAGE_DEFAULT,
    RESULTS_LISTED_MAX,
    Cursor,
    GenerationPath,
    Limit,
    V1UploadRequest,
    cursor_of,
    generation_of_path,
    path_of,
    position_of,
    v1_route,
    visible_generation,
)
from safelight.db.generations import listing
from safelight.db.generations.listing import Filters, GenerationListing
from safelight.domain.errors.base import NotFound
from safelight.domain.identities import ActingCustomer
from safelight.domain.orders import Order
from safelight.pipelines import cancel as cancellation
from safelight.pipelines import deletion

TEXT_CHARS_MAX = 200

uploads = APIRouter(route_class=v1_route(V1UploadRequest), tags=["v1"])
router = APIRouter(route_class=v1_route(), tags=["v1"])
Found = Annotated[GenerationListing, Depends(generation_of_path)]


class PricePreview(ResponseModel):
    credits: fields.Count


class OrderPreview(ResponseModel):
    """The price of an order. `expected_seconds` is the median of the newest results of this kind, null where there
    are none yet."""

    cost: PricePreview
    warnings: list[str] = Field(examples=[[]])
    expected_seconds: float | None = Field(examples=[31.5])


class GenerationPage(ResponseModel):
    """The newest first. `next_cursor` is null on the last page; a page with filters may be short and not the last."""

    items: list[GenerationResource]
    next_cursor: str | None = Field(examples=[None])


@uploads.post(
    f"{PREFIX}/generations",
    summary="Order a generation",
    status_code=202,
    response_model=GenerationResource,
    response_description="Accepted and charged; `Location` is the generation.",
    responses={
        200: {"model": OrderPreview, "description": "With `dry_run`: nothing was written."},
        **error_responses(402, described={404: "There is no such parent generation."}),
    },
)
async def create(
    request: Request,
    response: Response,
    services: FromApp,
    customer: VisitorByHeader,
    body: Annotated[orders.OrderBody, Body(openapi_examples=orders.EXAMPLES)],
    key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Only say what it would cost.")] = False,
) -> GenerationResource | JSONResponse:
    """The same fields as a multipart form, with the pictures as files: `product_image`, `logo_image`,
    `style_hero_image`, `inspiration_images`; `start_image`, `end_image`."""
    services.rates.check_customer(RateLimitGroup.WRITES, customer)
    body = await orders.with_stored_files(services, body, customer, dry_run=dry_run)
    order = await orders.order_of(services, body, customer)
    if dry_run:
        return JSONResponse((await _preview(services, order)).model_dump(mode="json"))
    accepted = await services.acceptance.accept(order, customer, idempotency_key=key, request=_origin(request))
    response.headers["Location"] = path_of(accepted.generation_id)
    return await _resource(services, accepted.generation_id, customer)


async def _preview(services: Services, order: Order) -> OrderPreview:
    if services.acceptance.settings:
        await services.acceptance.settings.check_order(order)
    async with services.db.connection() as conn:
        known = await listing.durations(conn, order.flow.mode)
    return OrderPreview(
        cost=PricePreview(credits=services.acceptance.prices().of(order)),
        warnings=list(order.warnings),
        expected_seconds=None if known.median_ms is None else round(known.median_ms / 1000, 1),
    )


def _origin(request: Request) -> dict[str, Any]:
    return {"request_id": request_id(), "route": request.scope["route"].path, "method": request.method}


async def _resource(services: Services, generation_id: str, by: Any) -> GenerationResource:
    return resource_of(services, await visible_generation(services, generation_id, by))


@router.get(f"{PREFIX}/generations", summary="Your generations, the newest first")
async def list_generations(
    services: FromApp,
    customer: CustomerByHeader,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    kind: Annotated[Kind | None, Query(description="One kind alone.")] = None,
    status: Annotated[PublicStatus | None, Query(description="One status alone.")] = None,
    project_id: Annotated[str | None, Query(max_length=200, description="Those of one project.")] = None,
    favorite: Annotated[bool | None, Query(description="Only favorites, or only others.")] = None,
    q: Annotated[
        str | None, Query(min_length=1, max_length=TEXT_CHARS_MAX, description="A text in name, brief or prompt.")
    ] = None,
) -> GenerationPage:
    filters = Filters(kind, status, project_id, favorite, q)
    after = position_of(cursor)
    async with services.db.connection() as conn:
        page = await listing.page(
            conn, customer.pass_id, filters, after=after, limit=limit, made_max=RESULTS_LISTED_MAX
        )
    return GenerationPage(items=[resource_of(services, row) for row in page.items], next_cursor=cursor_of(page.next))


@router.get(f"{PREFIX}/generations/{{generation_id}}", summary="A generation", responses=error_responses(404))
async def read(services: FromApp, found: Found) -> GenerationResource:
    return resource_of(services, found)


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
            generation=await _resource(services, generation_id, by),
        )

    return await once.outside(by, CancelOutcomeV1, work, is_final=lambda answer: answer.too_late is not None)


@router.post(
    f"{PREFIX}/generations/{{generation_id}}/retry",
    summary="Order again what failed or was cancelled",
    description="A new generation with `retry_of`, charged at the price of today. Two retries at once make one.",
    status_code=202,
    responses=error_responses(402, 404),
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
    await visible_generation(services, generation_id, by)

    async def work() -> GenerationResource:
        accepted = await services.retries.retry(generation_id, by, request=_origin(request))
        return await _resource(services, accepted.generation_id, by)

    answer = await once.outside(by, GenerationResource, work)
    response.headers["Location"] = path_of(answer.id)
    return answer


class FavoriteBody(ClosedModel):
    favorite: Flag = Field(True, description="Whether it is a favorite.", examples=[True])


@router.post(
    f"{PREFIX}/generations/{{generation_id}}/favorite",
    summary="Mark a generation as a favorite, or not",
    responses=error_responses(404),
)
async def mark(
    services: FromApp, generation_id: GenerationPath, customer: CustomerByHeader, once: OnceForKey, body: FavoriteBody
) -> GenerationResource:
    async def work(conn: Any) -> GenerationResource:
        if not await listing.set_favorite(conn, generation_id, customer.pass_id, body.favorite):
            raise NotFound(f"There is no generation {generation_id!r}.")
        row = await listing.find(conn, generation_id, made_max=RESULTS_LISTED_MAX)
        assert row is not None  # it was just marked
        return resource_of(services, row)

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


router.include_router(uploads)
