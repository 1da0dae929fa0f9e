"""The front page: links to what one looks for first, and the sample photo that the examples name."""

import asyncio
from html import escape
from pathlib import Path
from string import Template
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import HTMLResponse, JSONResponse

from safelight import __version__, telemetry
from safelight.api.auth.principals import no_identity
from safelight.api.schemas import examples
from safelight.api.schemas.responses import FrontPage
from safelight.domain.errors.base import AlreadyStored, SafelightError
from safelight.storage.assets import AssetStore

SAMPLE = Path(__file__).parents[2] / "samples" / "coffee.jpg"
SAMPLE_SECONDS = 5.0
LINKS = {
    "docs": ("/docs", "Every route, with examples to try"),
    "openapi": ("/openapi.json", "The OpenAPI document, from which clients are generated"),
    "health": ("/health", "Whether the service and its database answer"),
    "sample": (f"/{examples.SAMPLE_PATH}", "The photo that the examples use"),
}
PAGE = Template(Path(__file__).with_suffix(".html").read_text())

router = APIRouter(tags=["operations"])


@router.get(
    "/",
    summary="The front page",
    response_class=Response,
    responses={
        200: {
            "description": "Links, as JSON; as a page where `Accept` names HTML.",
            "model": FrontPage,
            "content": {"text/html": {"schema": {"type": "string"}}},
        }
    },
    dependencies=[no_identity("It holds nothing but links.")],
)
async def front_page(accept: Annotated[str, Header(max_length=2000)] = "") -> Response:
    headers = {"Vary": "Accept"}
    if "text/html" in accept.lower():
        links = "".join(f'<li><a href="{path}">{path}</a>: {escape(text)}</li>\n' for path, text in LINKS.values())
        return HTMLResponse(PAGE.substitute(version=escape(__version__), links=links), headers=headers)
    answer = FrontPage(version=__version__, links={name: path for name, (path, _) in LINKS.items()})
    return JSONResponse(answer.model_dump(), headers=headers)


async def store_sample(assets: AssetStore) -> None:
    """Store the sample photo, so that the examples can be tried. Does nothing where it is stored already."""
    content = await asyncio.to_thread(SAMPLE.read_bytes)
    try:
        async with asyncio.timeout(SAMPLE_SECONDS):
            if not await assets.public.has(examples.SAMPLE_KEY):
                await assets.public.create(examples.SAMPLE_KEY, content, "image/jpeg")
    except AlreadyStored:
        return
    except (SafelightError, TimeoutError) as error:  # the storage is away: the API serves what it can
        telemetry.warning(telemetry.Tag.API, f"The sample photo of the examples could not be stored: {error}")
