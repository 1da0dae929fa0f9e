"""Makes a still with the client that openapi-python-client generates."""

import sys
import time

from safelight_client import Client
from safelight_client.api.generations import fetch_mma_generations_generation_id_get as fetch
from safelight_client.api.generations import still_create_mma_still_create as create
from safelight_client.models import Accepted, AssetsBody, CreateBody, Generation, InputsBody


def main(base_url: str, pass_id: str, product: str) -> str:
    client = Client(base_url=base_url)
    assets = AssetsBody(product_image_url=product)
    body = CreateBody(pass_id=pass_id, assets=assets, inputs=InputsBody(brief="on pale stone", aspect_ratio="1:1"))
    accepted = create.sync(client=client, body=body)
    assert isinstance(accepted, Accepted) and accepted.ok
    while True:
        generation = fetch.sync(str(accepted.generation_id), client=client, x_mina_pass_id=pass_id)
        assert isinstance(generation, Generation)
        if generation.status == "done":
            return str(generation.outputs.seedream_image_url)
        assert generation.status != "error", generation.error
        time.sleep(0.2)


print(main(*sys.argv[1:]))
