// Orders one of each kind of /api/v1 with the types that openapi-typescript generates, follows them, marks and counts them.
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi-typescript/schema.js";

type Schemas = components["schemas"];
type Generation = Schemas["GenerationResource"];
type Order = Schemas["StillBody"] | Schemas["VideoBody"] | Schemas["ImageJobBody"] | Schemas["ModelRunBody"];

const [baseUrl, passId, product] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl });
const header = { "X-Mina-Pass-Id": passId };

async function made(body: Order): Promise<Generation> {
  const { data: accepted, error } = await client.POST("/api/v1/generations", { params: { header }, body });
  if (!accepted || !("id" in accepted)) throw new Error(JSON.stringify(error));
  const params = { path: { generation_id: accepted.id }, header };
  for (;;) {
    const { data, error: problem } = await client.GET("/api/v1/generations/{generation_id}", { params });
    if (!data) throw new Error(JSON.stringify(problem));
    if (data.status === "completed" && data.progress.done === data.progress.expected) return data;
    if (data.status === "failed" || data.status === "completed_partial") throw new Error(JSON.stringify(data.error));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const still = await made({ kind: "still", product_image_url: product, brief: "on pale stone", aspect_ratio: "1:1" });
const video = await made({ kind: "video", parent_id: still.id, motion: "a slow push-in", duration_seconds: 1 });
const sources = [{ url: product, prompt: "a cup of blue glass" }];
const job = await made({ kind: "image_job", name: "Spring", sources, variants: 2, post_processing: { preset: "light" } });
const run = await made({ kind: "model_run", model_id: "fal-ai/flux-pro/v1.1-ultra", prompt: "a cup", parameters: { seed: 1 } });

const params = { path: { generation_id: job.id }, header };
const { data: urls } = await client.GET("/api/v1/generations/{generation_id}/media-urls", { params });
if (urls?.items.map((one) => [one.variant, one.source, one.number].join()).join(" ") !== "0,0,1 1,0,2") throw new Error("positions");
const { data: renamed } = await client.PATCH("/api/v1/generations/{generation_id}", { params, body: { name: "Summer" } });
const { error: refused } = await client.POST("/api/v1/generations/{generation_id}/retry-missing", { params, body: {} });
if (renamed?.name !== "Summer" || refused?.code !== "NOTHING_TO_RETRY") throw new Error("the job is not as it should be");
const { data: kept } = await client.POST("/api/v1/templates", { params: { header }, body: { generation_id: job.id } });
const { data: log } = await client.GET("/api/v1/generations/{generation_id}/logs", { params });
if (kept?.kind !== "image_job" || !log || typeof log === "string" || !log.items.length) throw new Error("the template or the log is missing");

const marking = { params: { path: { generation_id: run.id }, header }, body: { favorite: true } };
const { data: marked } = await client.POST("/api/v1/generations/{generation_id}/favorite", marking);
const { data: page } = await client.GET("/api/v1/generations", { params: { query: { kind: "model_run", favorite: true }, header } });
if (!marked?.favorite || page?.items.length !== 1) throw new Error("the favorite is not listed");
const { data: counted } = await client.GET("/api/v1/generations/stats", { params: { header } });
if (counted?.completed !== 4 || !video.results[0]?.seconds) throw new Error("the generations are not counted");
console.log(still.results[0]?.url);
