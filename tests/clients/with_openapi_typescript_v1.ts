// Orders a still of /api/v1 with the types that openapi-typescript generates, follows it, marks it and counts it.
import createClient from "openapi-fetch";
import type { paths } from "./openapi-typescript/schema.js";

const [baseUrl, passId, product] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl });
const header = { "X-Mina-Pass-Id": passId };
const body = { kind: "still" as const, product_image_url: product, brief: "on pale stone", aspect_ratio: "1:1" as const };
const { data: accepted, error } = await client.POST("/api/v1/generations", { params: { header }, body });
if (!accepted || !("id" in accepted)) throw new Error(JSON.stringify(error));
const params = { path: { generation_id: accepted.id }, header };
for (;;) {
  const { data, error: problem } = await client.GET("/api/v1/generations/{generation_id}", { params });
  if (!data) throw new Error(JSON.stringify(problem));
  if (data.status === "completed") {
    const { data: marked } = await client.POST("/api/v1/generations/{generation_id}/favorite", { params, body: { favorite: true } });
    const { data: page } = await client.GET("/api/v1/generations", { params: { query: { favorite: true }, header } });
    if (!marked?.favorite || page?.items.length !== 1) throw new Error("the favorite is not listed");
    console.log(data.results[0]?.url);
    break;
  }
  if (data.status === "failed") throw new Error(JSON.stringify(data.error));
  await new Promise((resolve) => setTimeout(resolve, 200));
}
