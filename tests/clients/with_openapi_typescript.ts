// Makes a still with the types that openapi-typescript generates.
import createClient from "openapi-fetch";
import type { paths } from "./openapi-typescript/schema.js";

const [baseUrl, passId, product] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl });
const { data: accepted, error } = await client.POST("/mma/still/create", {
  body: { pass_id: passId, assets: { product_image_url: product }, inputs: { brief: "on pale stone", aspect_ratio: "1:1" } },
});
if (!accepted) throw new Error(JSON.stringify(error));
for (;;) {
  const { data } = await client.GET("/mma/generations/{generation_id}", {
    params: { path: { generation_id: accepted.generation_id }, header: { "X-Mina-Pass-Id": passId } },
  });
  if (data?.status === "done") {
    console.log(data.outputs.seedream_image_url);
    break;
  }
  if (!data || data.status === "error") throw new Error(JSON.stringify(data));
  await new Promise((resolve) => setTimeout(resolve, 200));
}
