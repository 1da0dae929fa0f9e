"""`/api/v1/generations`: order, list and read generations of every kind."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from safelight.api.auth.principals import CustomerByHeader, OwnerOrOperator, VisitorByHeader
from safelight.api.http.error_responses import error_responses
from safelight.api.http.rate_limits import RateLimitGroup
from safelight.api.http.services import FromApp, Services
from safelight.api.routes.ordering import IdempotencyKey
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.generation_answers import answer_of, answers_of
from safelight.api.v1.generation_models import GenerationResource, Kind, PublicStatus
from safelight.api.v1.orders import kinds
from safelight.api.v1.routing import (
    PAGE_DEFAULT,
    RESULTS_LISTED_MAX,
    Cursor,
    GenerationPath,
    Limit,
    V1UploadRequest,
    cursor_of,
    origin_of,
    path_of,
    position_of,
    v1_route,
)
from safelight.db.generations import listing
from safelight.db.generations.listing import Filters
from safelight.domain.orders import Order

TEXT_CHARS_MAX = 200

uploads = APIRouter(route_class=v1_route(V1UploadRequest), tags=["v1"])
router = APIRouter(route_class=v1_route(), tags=["v1"])


class PricePreview(ResponseModel):
    """`credits` is `price_each` for each of the `results`."""

    credits: fields.Count
    price_each: fields.Count
    results: fields.Count


class OrderPreview(ResponseModel):
    """The price of an order. `expected_seconds` is the time within which 4 of 5 like it are final once they have begun,
    null while too little is known."""

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
    body: Annotated[kinds.OrderBody, Body(openapi_examples=kinds.EXAMPLES)],
    key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Only say what it would cost.")] = False,
) -> GenerationResource | JSONResponse:
    """The same fields as a multipart form, with the pictures as files: `product_image`, `logo_image`,
    `style_hero_image`, `inspiration_images`; `start_image`, `end_image`; `source_images`; `reference_image`. Lists and
    objects are written out as JSON."""
    services.rates.check_customer(RateLimitGroup.WRITES, customer)
    body = await kinds.with_stored_files(services, body, customer, dry_run=dry_run)
    order = await kinds.order_of(services, body, customer)
    if dry_run:
        return JSONResponse((await _preview(services, order)).model_dump(mode="json"))
    accepted = await services.acceptance.accept(order, customer, idempotency_key=key, request=origin_of(request))
    response.headers["Location"] = path_of(accepted.generation_id)
    return await answer_of(services, accepted.generation_id, customer)


async def _preview(services: Services, order: Order) -> OrderPreview:
    quote = await services.acceptance.quote(order)
    async with services.db.connection() as conn:
        expected = await services.estimates.expected(conn, order)
    return OrderPreview(
        cost=PricePreview(credits=quote.credits, price_each=quote.price_each, results=quote.positions),
        warnings=list(quote.warnings),
        expected_seconds=expected.p80 if expected else None,
    )


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
        items = await answers_of(services, conn, page.items)
    return GenerationPage(items=items, next_cursor=cursor_of(page.next))


@router.get(f"{PREFIX}/generations/{{generation_id}}", summary="A generation", responses=error_responses(404))
async def read(services: FromApp, generation_id: GenerationPath, by: OwnerOrOperator) -> GenerationResource:
    return await answer_of(services, generation_id, by)


router.include_router(uploads)
