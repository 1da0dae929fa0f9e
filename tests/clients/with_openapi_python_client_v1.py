"""Orders a still of /api/v1 with the client that openapi-python-client generates, follows it, and reads its figures."""

import sys
import time

from safelight_client import Client
from safelight_client.api.v1 import create_api_v1_generations_post as create
from safelight_client.api.v1 import read_api_v1_generations_generation_id_get as read
from safelight_client.api.v1 import stats_api_v1_generations_stats_get as stats
from safelight_client.models import GenerationResource, GenerationStats, StillBody


def main(base_url: str, pass_id: str, product: str) -> str:
    client = Client(base_url=base_url)
    body = StillBody(kind="still", product_image_url=product, brief="on pale stone")
    accepted = create.sync(client=client, body=body, x_mina_pass_id=pass_id)
    assert isinstance(accepted, GenerationResource), accepted
    while True:
        generation = read.sync(str(accepted.id), client=client, x_mina_pass_id=pass_id)
        assert isinstance(generation, GenerationResource), generation
        if generation.status == "completed":
            break
        assert generation.status != "failed", generation.error
        time.sleep(0.2)
    counted = stats.sync(client=client, x_mina_pass_id=pass_id)
    assert isinstance(counted, GenerationStats) and counted.completed == 1
    return str(generation.results[0].url)


print(main(*sys.argv[1:]))
