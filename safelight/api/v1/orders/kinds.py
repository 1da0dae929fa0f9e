"""Orders of `/api/v1`: one body for each kind of generation, and the order that is made of it.

Another kind adds its body to `OrderBody`, its files to the body, and its builder to `BUILDERS`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from pydantic import Field

from safelight.api.http.services import Services
from safelight.api.routes.files import decode_data_url
from safelight.api.schemas.examples import PARENT, SAMPLE_URL
from safelight.api.schemas.problems import invalid
from safelight.api.v1.orders.fields import OrderContext
from safelight.api.v1.orders.sets import ImageJobBody, ModelRunBody, image_job_of, model_run_order_of
from safelight.api.v1.orders.stills import StillBody, VideoBody, still_of, video_of
from safelight.db.generations import projects
from safelight.domain.identities import ActingCustomer
from safelight.domain.orders import Order

Json = dict[str, Any]

DRY_RUN_KEY = "dry-run/picture.png"
OrderBody = Annotated[StillBody | VideoBody | ImageJobBody | ModelRunBody, Field(discriminator="kind")]
BUILDERS: Mapping[str, Callable[[OrderContext, Any], Awaitable[Order]]] = {
    "still": still_of,
    "video": video_of,
    "image_job": image_job_of,
    "model_run": model_run_order_of,
}


async def order_of(services: Services, body: Any, customer: ActingCustomer) -> Order:
    """Raises InvalidInput and NotFound, as `OrderBuilder.order` does; also where the project is not theirs."""
    async with services.db.connection() as conn:
        if body.project_id and not await projects.is_theirs(conn, body.project_id, customer.pass_id):
            raise invalid("project_id", f"You have no project {body.project_id!r}.", code="PROJECT_NOT_FOUND")
        return await BUILDERS[body.kind](OrderContext(conn, services, customer), body)


# --- files that came with an order ----------------------------------------------------------------------------------


async def with_stored_files(services: Services, body: Any, customer: ActingCustomer, *, dry_run: bool) -> Any:
    """The body with addresses in place of its files, which are stored as private files of the customer; with `dry_run`
    they are only checked."""
    for field in body.FILES:
        stated = getattr(body, field)
        files = stated if isinstance(stated, list) else [stated] if stated else []
        if files:
            urls = [await _address(services, field, one, customer, dry_run=dry_run) for one in files]
            body = body.with_addresses(field, urls)
    return body


async def _address(services: Services, field: str, data_url: str, customer: ActingCustomer, *, dry_run: bool) -> str:
    content = await services.bodies.work(lambda given: decode_data_url(given, field), data_url)
    if dry_run:
        await services.assets.checked(content)
        return services.assets.private_address(DRY_RUN_KEY)
    stored = await services.assets.put_private(content, kind=field, customer=customer.pass_id, name="")
    return services.assets.private_address(stored.key)


EXAMPLES: Json = {
    "a still": {
        "value": {"kind": "still", "product_image_url": SAMPLE_URL, "brief": "On pale stone", "aspect_ratio": "4:5"}
    },
    "a video": {"value": {"kind": "video", "start_image_url": SAMPLE_URL, "motion": "A slow push-in"}},
    "an image job": {
        "value": {
            "kind": "image_job",
            "name": "Spring",
            "sources": [{"url": SAMPLE_URL, "prompt": "A cup of blue glass"}],
            "variants": 4,
        }
    },
    "a model run": {
        "value": {"kind": "model_run", "model_id": "fal-ai/flux-pro/v1.1-ultra", "prompt": "A cup on pale stone"}
    },
    "a change": {"value": {"kind": "still", "parent_id": PARENT, "feedback": "A darker background"}},
}
