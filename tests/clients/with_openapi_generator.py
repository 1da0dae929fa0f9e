"""Makes a still with the client that openapi-generator generates for Python."""

import sys
import time

from openapi_client import ApiClient, AssetsBody, Configuration, CreateBody, GenerationsApi, InputsBody


def main(base_url: str, pass_id: str, product: str) -> str:
    with ApiClient(Configuration(host=base_url)) as client:
        api = GenerationsApi(client)
        body = CreateBody(
            pass_id=pass_id,
            assets=AssetsBody(product_image_url=product),
            inputs=InputsBody(brief="on pale stone", aspect_ratio="1:1"),
        )
        accepted = api.still_create_mma_still_create(body)
        assert accepted.ok
        while True:
            found = api.fetch_mma_generations_generation_id_get(str(accepted.generation_id), x_mina_pass_id=pass_id)
            if found.status == "done":
                return str(found.outputs.seedream_image_url)
            assert found.status != "error", found.error
            time.sleep(0.2)


print(main(*sys.argv[1:]))
