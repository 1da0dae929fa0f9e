"""`/admin/config/runtime`: what operators set while everything runs (docs/contract/legacy.md).

Each change is an `admin_audit` row; every process goes by it within a few seconds, this one at once.
"""

from typing import Any

from fastapi import APIRouter

from safelight.api.auth.operators import ADMIN_ONLY_BY_KEY_TOO, ByOperatorWithKey
from safelight.api.http.bodies.json import StrictRoute
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas.aliases import AliasedModel, Short, aliased
from safelight.api.schemas.legacy_responses import Effective, Leaf, Runtime, RuntimeMeta, RuntimeTree, Unset
from safelight.db.configuration import runtime_config
from safelight.db.connection.database import Connection
from safelight.domain.errors.base import InvalidInput
from safelight.domain.runtime_config import LEAVES
from safelight.pipelines.runtime_overrides import FOLLOW_SECONDS

router = APIRouter(route_class=StrictRoute, tags=["legacy"], dependencies=[ADMIN_ONLY_BY_KEY_TOO])
reloading = APIRouter(dependencies=[ADMIN_ONLY_BY_KEY_TOO])  # takes no body


class OverrideBody(AliasedModel):
    override: Any = aliased("", "All that is to differ from the defaults.", example={"credits": {"imageCost": 2}})


class PathBody(AliasedModel):
    path: Short = aliased("", "A leaf or a branch.", default="", example="credits.imageCost")


@router.get("/admin/config/runtime", summary="What is set while everything runs, and what that makes of the defaults")
async def read(services: FromApp) -> Runtime:
    async with services.db.connection() as conn:
        row = await runtime_config.read(conn)
        defaults, effective = await services.runtime.defaults(conn), await services.runtime.effective(conn)
    return Runtime(
        defaults=RuntimeTree.model_validate(defaults),
        override=row.override or {},
        effective=RuntimeTree.model_validate(effective),
        meta=RuntimeMeta(
            updatedAt=row.updated_at,
            updatedBy=row.updated_by,
            ttlMs=int(FOLLOW_SECONDS * 1000),
        ),
        leaves=[Leaf(path=path, type=leaf.type_name, description=leaf.description) for path, leaf in LEAVES.items()],
    )


@router.post(
    "/admin/config/runtime",
    summary="Set all that is to differ from the defaults",
    responses=error_responses(described={400: "INVALID_OVERRIDE"}),
)
async def replace(services: FromApp, operator: ByOperatorWithKey, once: OnceForKey, body: OverrideBody) -> Effective:
    override = body.override
    if not isinstance(override, dict):
        raise InvalidInput("override: it must be an object.", code="INVALID_OVERRIDE")

    async def work(conn: Connection) -> Effective:
        await services.runtime.replace(conn, override, by=operator)
        return Effective(effective=await _effective(services, conn))

    answer = await once.in_transaction(operator, Effective, work)
    await services.runtime.reload()
    return answer


@router.post(
    "/admin/config/runtime/unset",
    summary="Let a leaf or a branch be as by default again",
    responses=error_responses(described={400: "MISSING_PATH"}),
)
async def unset(services: FromApp, operator: ByOperatorWithKey, once: OnceForKey, body: PathBody) -> Unset:
    if not body.path:
        raise InvalidInput("path: which setting is to be as by default again.", code="MISSING_PATH")

    async def work(conn: Connection) -> Unset:
        override = await services.runtime.unset(conn, body.path, by=operator)
        return Unset(override=override, effective=await _effective(services, conn))

    answer = await once.in_transaction(operator, Unset, work)
    await services.runtime.reload()
    return answer


async def _effective(services: Services, conn: Connection) -> RuntimeTree:
    return RuntimeTree.model_validate(await services.runtime.effective(conn))


@reloading.post("/admin/config/runtime/reload", summary="Have this process read again what is set")
async def reload(services: FromApp) -> Effective:
    await services.runtime.reload()
    async with services.db.connection() as conn:
        return Effective(effective=await _effective(services, conn))


router.include_router(reloading)
