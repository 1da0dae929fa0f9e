"""`/admin/config/runtime`: what operators set while everything runs (docs/contract/legacy.md).

Each change is an `admin_audit` row; every process goes by it within a few seconds, this one at once.
"""

from typing import Annotated, Any

from fastapi import APIRouter

from safelight.api.auth.operators import ADMIN_ONLY_BY_KEY_TOO, ByOperatorWithKey
from safelight.api.http import idempotency
from safelight.api.http.bodies.json import StrictRoute
from safelight.api.http.error_responses import BY_OPERATORS, error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import legacy_examples
from safelight.api.schemas.aliases import Alias, AliasedModel, Short
from safelight.db.configuration import runtime_config
from safelight.db.connection.database import Connection
from safelight.domain.errors.base import InvalidInput
from safelight.domain.runtime_config import LEAVES
from safelight.pipelines.runtime_overrides import FOLLOW_SECONDS

Json = dict[str, Any]

router = APIRouter(route_class=StrictRoute, tags=["legacy"], dependencies=[ADMIN_ONLY_BY_KEY_TOO])
reloading = APIRouter(tags=["legacy"], dependencies=[ADMIN_ONLY_BY_KEY_TOO])  # takes no body


class OverrideBody(AliasedModel):
    override: Annotated[
        Any, Alias("", "All that is to differ from the defaults.", example={"credits": {"imageCost": 2}})
    ] = None


class PathBody(AliasedModel):
    path: Annotated[Short, Alias("", "A leaf or a branch.", example="credits.imageCost")] = ""


@router.get(
    "/admin/config/runtime",
    summary="What is set while everything runs, and what that makes of the defaults",
    responses={200: legacy_examples.RUNTIME, **BY_OPERATORS, 500: {"description": "CONFIG_READ_FAILED"}},
)
async def read(services: FromApp) -> Json:
    async with services.db.connection() as conn:
        row = await runtime_config.read(conn)
        defaults, effective = await services.runtime.defaults(conn), await services.runtime.effective(conn)
    return {
        "ok": True,
        "defaults": defaults,
        "override": row.override or {},
        "effective": effective,
        "meta": {
            "updatedAt": row.updated_at,
            "updatedBy": row.updated_by,
            "ttlMs": int(FOLLOW_SECONDS * 1000),
        },
        "schema": [
            {"path": path, "type": leaf.type_name, "description": leaf.description} for path, leaf in LEAVES.items()
        ],
    }


@router.post(
    "/admin/config/runtime",
    summary="Set all that is to differ from the defaults",
    responses={
        200: legacy_examples.EFFECTIVE,
        **BY_OPERATORS,
        **error_responses(413, 422),
        400: {"description": "INVALID_OVERRIDE"},
        500: {"description": "CONFIG_SAVE_FAILED"},
    },
)
async def replace(services: FromApp, operator: ByOperatorWithKey, once: OnceForKey, body: OverrideBody) -> Json:
    override = body.override
    if not isinstance(override, dict):
        raise InvalidInput("override: it must be an object.", code="INVALID_OVERRIDE")

    async def work(conn: Connection) -> Json:
        await services.runtime.replace(conn, override, by=operator)
        return {"ok": True, "effective": await services.runtime.effective(conn)}

    answer = await once.in_transaction(idempotency.actor(operator), work)
    await services.runtime.reload()
    return answer


@router.post(
    "/admin/config/runtime/unset",
    summary="Let a leaf or a branch be as by default again",
    responses={
        200: legacy_examples.UNSET,
        **BY_OPERATORS,
        **error_responses(413, 422),
        400: {"description": "MISSING_PATH"},
        500: {"description": "CONFIG_UNSET_FAILED"},
    },
)
async def unset(services: FromApp, operator: ByOperatorWithKey, once: OnceForKey, body: PathBody) -> Json:
    if not body.path:
        raise InvalidInput("path: which setting is to be as by default again.", code="MISSING_PATH")

    async def work(conn: Connection) -> Json:
        override = await services.runtime.unset(conn, body.path, by=operator)
        return {"ok": True, "override": override, "effective": await services.runtime.effective(conn)}

    answer = await once.in_transaction(idempotency.actor(operator), work)
    await services.runtime.reload()
    return answer


async def _effective(services: Services) -> Json:
    async with services.db.connection() as conn:
        return await services.runtime.effective(conn)


@reloading.post(
    "/admin/config/runtime/reload",
    summary="Have this process read again what is set",
    responses={200: legacy_examples.EFFECTIVE, **BY_OPERATORS},
)
async def reload(services: FromApp) -> Json:
    await services.runtime.reload()
    return {"ok": True, "effective": await _effective(services)}
