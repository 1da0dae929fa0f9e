"""Orders one of each kind of /api/v1 with the client that openapi-python-client generates, follows them, and reads their
figures."""

import sys
import time

from safelight_client import Client
from safelight_client.api.v1 import create_api_v1_generations_post as create
from safelight_client.api.v1 import make_missing_api_v1_generations_generation_id_retry_missing_post as make_missing
from safelight_client.api.v1 import media_urls_api_v1_generations_generation_id_media_urls_get as media_urls
from safelight_client.api.v1 import read_api_v1_generations_generation_id_get as read
from safelight_client.api.v1 import rename_api_v1_generations_generation_id_patch as rename
from safelight_client.api.v1 import stats_api_v1_generations_stats_get as stats
from safelight_client.models import (
    GenerationResource,
    GenerationStats,
    ImageJobBody,
    MediaUrls,
    ModelRunBody,
    NoFields,
    ProblemDetails,
    RenameBody,
    SourceBody,
    StillBody,
    VideoBody,
)

Order = StillBody | VideoBody | ImageJobBody | ModelRunBody


class Customer:
    def __init__(self, base_url: str, pass_id: str) -> None:
        self.client = Client(base_url=base_url)
        self.pass_id = pass_id

    def make(self, body: Order) -> GenerationResource:
        accepted = create.sync(client=self.client, body=body, x_mina_pass_id=self.pass_id)
        assert isinstance(accepted, GenerationResource), accepted
        while True:
            generation = read.sync(str(accepted.id), client=self.client, x_mina_pass_id=self.pass_id)
            assert isinstance(generation, GenerationResource), generation
            if generation.status == "completed":
                assert generation.progress.done == generation.progress.expected
                return generation
            assert generation.status in ("queued", "processing"), generation.error
            time.sleep(0.2)


def main(base_url: str, pass_id: str, product: str) -> str:
    customer = Customer(base_url, pass_id)
    still = customer.make(StillBody(kind="still", product_image_url=product, brief="on pale stone"))
    video = customer.make(VideoBody(kind="video", parent_id=str(still.id), duration_seconds=1))
    assert video.results[0].seconds
    sources = [SourceBody(url=product, prompt="a cup of blue glass")]
    job = customer.make(ImageJobBody(kind="image_job", name="Spring", sources=sources, variants=2))
    urls = media_urls.sync(job.id, client=customer.client, x_mina_pass_id=pass_id)
    assert isinstance(urls, MediaUrls)
    assert [(one.variant, one.source, one.number) for one in urls.items] == [(0, 0, 1), (1, 0, 2)]
    renamed = rename.sync(job.id, client=customer.client, body=RenameBody(name="Summer"), x_mina_pass_id=pass_id)
    assert isinstance(renamed, GenerationResource) and renamed.name == "Summer"
    refused = make_missing.sync(job.id, client=customer.client, body=NoFields(), x_mina_pass_id=pass_id)
    assert isinstance(refused, ProblemDetails) and refused.code == "NOTHING_TO_RETRY"
    run = customer.make(ModelRunBody(kind="model_run", model_id="fal-ai/flux-pro/v1.1-ultra", prompt="a cup"))
    assert run.cost.charged > 0
    counted = stats.sync(client=customer.client, x_mina_pass_id=pass_id)
    assert isinstance(counted, GenerationStats) and counted.completed == 4
    return str(still.results[0].url)


print(main(*sys.argv[1:]))
