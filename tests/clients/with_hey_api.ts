// Makes a still with the client that @hey-api/openapi-ts generates.
import { client } from "./hey-api/client.gen.js";
import { fetchMmaGenerationsGenerationIdGet, stillCreateMmaStillCreate } from "./hey-api/index.js";

const [baseUrl, passId, product] = process.argv.slice(2) as [string, string, string];
client.setConfig({ baseUrl });
const { data: accepted } = await stillCreateMmaStillCreate({
  body: { pass_id: passId, assets: { product_image_url: product }, inputs: { brief: "on pale stone", aspect_ratio: "1:1" } },
  throwOnError: true,
});
for (;;) {
  const { data } = await fetchMmaGenerationsGenerationIdGet({
    path: { generation_id: accepted.generation_id },
    headers: { "X-Mina-Pass-Id": passId },
    throwOnError: true,
  });
  if (data.status === "done") {
    console.log(data.outputs.seedream_image_url);
    break;
  }
  if (data.status === "error") throw new Error(JSON.stringify(data.error));
  await new Promise((resolve) => setTimeout(resolve, 200));
}
