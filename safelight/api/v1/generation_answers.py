"""Generations of a customer as answers, with the progress of those that are not final."""

from collections.abc import Sequence

from safelight.api.http.services import Services
from safelight.api.v1.generation_models import FINAL, GenerationResource, resource_of
from safelight.api.v1.routing import RESULTS_LISTED_MAX, RESULTS_SHOWN_MAX, visible_generation
from safelight.db.connection.database import Connection
from safelight.db.generations.listing import GenerationListing
from safelight.db.operations.audit import Operator
from safelight.domain.identities import ActingCustomer


async def answer_of(services: Services, generation_id: str, by: ActingCustomer | Operator) -> GenerationResource:
    """Raises NotFound: there is no such generation, or it is somebody else's."""
    row = await visible_generation(services, generation_id, by, made_max=RESULTS_SHOWN_MAX)
    async with services.db.connection() as conn:
        return await answer(services, conn, row, results_max=RESULTS_SHOWN_MAX)


async def answers_of(
    services: Services, conn: Connection, rows: Sequence[GenerationListing]
) -> list[GenerationResource]:
    """As lists show them."""
    return [await answer(services, conn, row, results_max=RESULTS_LISTED_MAX) for row in rows]


async def answer(
    services: Services, conn: Connection, row: GenerationListing, *, results_max: int
) -> GenerationResource:
    live = None if row.status in FINAL else await services.estimates.progress(conn, row.generation_id)
    return resource_of(services.assets, row, live, results_max=results_max)
