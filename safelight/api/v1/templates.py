"""`/api/v1/templates`: orders that a customer keeps to order again."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, TypeAdapter, ValidationError

from safelight.api.auth.principals import CustomerByHeader
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import examples, fields
from safelight.api.schemas.aliases import Flag, Short
from safelight.api.schemas.problems import PREFIX, ClosedModel, invalid
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.generation_models import THUMBNAIL_SIZE, files_of
from safelight.api.v1.orders.kinds import OrderBody
from safelight.api.v1.orders.sets import body_of_image_job, body_of_model_run
from safelight.api.v1.orders.stills import body_of_still, body_of_video
from safelight.api.v1.routing import PAGE_DEFAULT, Cursor, Limit, cursor_of, position_of, v1_route
from safelight.db.connection.database import Connection
from safelight.db.generations import generations, listing, templates
from safelight.db.generations.templates import TemplateRow
from safelight.db.money import customers
from safelight.domain.errors.base import NotFound
from safelight.domain.orders import ImageJob, ModelRun, Order, StillCreate, VideoAnimate, read_order

Json = dict[str, Any]

TEMPLATES_MAX = 1000  # of one customer

router = APIRouter(route_class=v1_route(), tags=["v1"])
TemplatePath = Annotated[str, Path(max_length=200, description="The template's id.")]


class TemplateBody(ClosedModel):
    generation_id: Short = Field(description="The generation whose order is kept.", examples=[examples.GENERATION])
    name: Short | None = Field(None, description="Else the generation's name.", examples=["Spring"])


class TemplateFavoriteBody(ClosedModel):
    favorite: Flag = Field(True, description="True for a favorite.", examples=[True])


class TemplateResource(ResponseModel):
    """`body` is the body of `POST /generations` that orders it again."""

    id: str = Field(examples=[examples.SESSION])
    name: str = Field(examples=["Spring"])
    kind: str = Field(examples=["still"])
    generation_id: fields.GenerationId
    thumbnail_url: str | None = Field(json_schema_extra={"format": "uri"}, examples=[None])
    favorite: bool
    usage_count: fields.Count
    created_at: fields.Time
    body: fields.Json = Field(examples=[{"kind": "still", "brief": "On pale stone"}])


class TemplatePage(ResponseModel):
    items: list[TemplateResource]
    next_cursor: str | None = Field(examples=[None])


class TemplateDeleted(ResponseModel):
    id: str = Field(examples=[examples.SESSION])
    deleted: bool = Field(examples=[True])


def _resource(services: Services, row: TemplateRow) -> TemplateResource:
    key = row.meta.get("thumbnail_key")
    return TemplateResource(
        id=row.template_id,
        name=row.name,
        created_at=row.created_at,
        thumbnail_url=services.assets.thumbnail_url_of(key, THUMBNAIL_SIZE) if key else None,
        **{name: row.meta[name] for name in ("kind", "generation_id", "favorite", "usage_count", "body")},
    )


# --- the body that orders it again ----------------------------------------------------------------------------------

BODIES: Mapping[type, tuple[str, Callable[[Any], Json]]] = {
    StillCreate: ("still", body_of_still),
    VideoAnimate: ("video", body_of_video),
    ImageJob: ("image_job", body_of_image_job),
    ModelRun: ("model_run", body_of_model_run),
}
_ORDER_BODY: TypeAdapter[Any] = TypeAdapter(OrderBody)


def _body(order: Order) -> Json:
    """Raises InvalidInput: it is a change of another generation, which cannot be ordered for itself."""
    if type(order) not in BODIES:
        raise invalid("generation_id", "A change of another generation cannot be a template.")
    kind, build = BODIES[type(order)]
    return _without_empty({"kind": kind} | build(order))


def _without_empty(stated: Json) -> Json:
    return {name: value for name, value in stated.items() if value not in (None, "", [], {})}


def _overridden(row: TemplateRow, overrides: Json) -> Json:
    """The template's body with other fields in place of its own. Raises RequestValidationError: it is no body then."""
    body = _without_empty(row.meta["body"] | overrides)
    if body["kind"] != row.meta["kind"]:
        raise invalid("overrides.kind", "It cannot be changed.", [row.meta["kind"]])
    if row.meta["kind"] == "image_job":
        body["template_id"] = row.template_id
    try:
        _ORDER_BODY.validate_python(body)
    except ValidationError as error:
        wrong = [one | {"loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(wrong) from error
    return body


# --- routes ---------------------------------------------------------------------------------------------------------


@router.post(
    f"{PREFIX}/templates",
    summary="Keep the order of a generation",
    status_code=201,
    responses=error_responses(404),
)
async def make(
    services: FromApp, response: Response, customer: CustomerByHeader, once: OnceForKey, body: TemplateBody
) -> TemplateResource:
    template_id = once.id_for(customer)

    async def work(conn: Connection) -> TemplateResource:
        await customers.lock(conn, customer.pass_id)
        row = await generations.get(conn, body.generation_id)
        if row is None or row.pass_id != customer.pass_id or row.deleted_at is not None:
            raise NotFound(f"There is no generation {body.generation_id!r}.")
        if "order" not in (row.payload or {}):
            raise invalid("generation_id", "An older backend made it, which kept no order of it.")
        if await templates.count(conn, customer.pass_id) >= TEMPLATES_MAX:
            raise invalid("name", f"You have {TEMPLATES_MAX} templates, which are as many as there may be.")
        order = read_order((row.payload or {})["order"])
        key = await _picture_of(conn, services, body.generation_id)
        meta = {"kind": row.mode, "generation_id": row.generation_id, "thumbnail_key": key, "body": _body(order)}
        name = body.name or row.title or "Template"
        await templates.insert(conn, template_id, customer.pass_id, name, meta | {"favorite": False, "usage_count": 0})
        return await _own(conn, services, template_id, customer.pass_id)

    answer = await once.in_transaction(customer, TemplateResource, work, retries=True)
    response.headers["Location"] = f"{PREFIX}/templates/{answer.id}"
    return answer


async def _picture_of(conn: Connection, services: Services, generation_id: str) -> str | None:
    """The key of its first result."""
    row = await listing.find(conn, generation_id, made_max=1)
    _, file = next(files_of(row), (None, {})) if row else (None, {})
    return file.get("key") or (services.assets.key_of(file["url"]) if file.get("url") else None)


async def _own(conn: Connection, services: Services, template_id: str, pass_id: str) -> TemplateResource:
    row = await templates.get(conn, template_id, pass_id)
    if row is None:
        raise NotFound(f"There is no template {template_id!r}.")
    return _resource(services, row)


@router.get(f"{PREFIX}/templates", summary="Your templates, the newest first")
async def list_templates(
    services: FromApp,
    customer: CustomerByHeader,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    favorite: Annotated[bool | None, Query(description="Only favorites, or only others.")] = None,
) -> TemplatePage:
    after = position_of(cursor)
    async with services.db.connection() as conn:
        rows = await templates.page(conn, customer.pass_id, favorite=favorite, after=after, limit=limit + 1)
    shown = rows[:limit]
    return TemplatePage(
        items=[_resource(services, row) for row in shown],
        next_cursor=cursor_of(shown[-1].position) if len(rows) > limit else None,
    )


@router.get(f"{PREFIX}/templates/{{template_id}}", summary="A template", responses=error_responses(404))
async def read(services: FromApp, customer: CustomerByHeader, template_id: TemplatePath) -> TemplateResource:
    async with services.db.connection() as conn:
        return await _own(conn, services, template_id, customer.pass_id)


@router.post(
    f"{PREFIX}/templates/{{template_id}}/favorite",
    summary="Mark a template as a favorite, or not",
    responses=error_responses(404),
)
async def mark(
    services: FromApp,
    customer: CustomerByHeader,
    template_id: TemplatePath,
    once: OnceForKey,
    body: TemplateFavoriteBody,
) -> TemplateResource:
    async def work(conn: Connection) -> TemplateResource:
        await templates.set_favorite(conn, template_id, customer.pass_id, body.favorite)
        return await _own(conn, services, template_id, customer.pass_id)

    return await once.in_transaction(customer, TemplateResource, work, retries=True)


class TemplateUseBody(ClosedModel):
    """It may be left out."""

    overrides: fields.Json = Field(
        {}, description="Fields in place of those of the template's `body`; null takes one out.", examples=[{}]
    )


@router.post(
    f"{PREFIX}/templates/{{template_id}}/use",
    summary="Take the body of a template, to order with it",
    description="Counts the use, and charges nothing: post the `body` of the answer to `/generations`. It has the"
    " `overrides`, which are checked.",
    responses=error_responses(404),
)
async def use(
    services: FromApp,
    customer: CustomerByHeader,
    template_id: TemplatePath,
    once: OnceForKey,
    body: TemplateUseBody,
) -> TemplateResource:
    async def work(conn: Connection) -> TemplateResource:
        await templates.count_use(conn, template_id, customer.pass_id)
        row = await templates.get(conn, template_id, customer.pass_id)
        if row is None:
            raise NotFound(f"There is no template {template_id!r}.")
        used = replace(row, meta=row.meta | {"body": _overridden(row, body.overrides)})
        return _resource(services, used)

    return await once.in_transaction(customer, TemplateResource, work)


@router.delete(f"{PREFIX}/templates/{{template_id}}", summary="Delete a template", responses=error_responses(404))
async def delete(services: FromApp, customer: CustomerByHeader, template_id: TemplatePath) -> TemplateDeleted:
    async with services.db.connection() as conn:
        if not await templates.delete(conn, template_id, customer.pass_id):
            raise NotFound(f"There is no template {template_id!r}.")
    return TemplateDeleted(id=template_id, deleted=True)
