// Makes a still with the client that openapi-generator generates for TypeScript.
import { Configuration, GenerationsApi } from "./typescript-fetch/index.js";

const [basePath, passId, product] = process.argv.slice(2) as [string, string, string];
const api = new GenerationsApi(new Configuration({ basePath }));
const createBody = {
  passId,
  assets: { productImageUrl: product },
  inputs: { brief: "on pale stone", aspectRatio: "1:1" },
};
const accepted = await api.stillCreateMmaStillCreate({ createBody });
for (;;) {
  const found = await api.fetchMmaGenerationsGenerationIdGet({
    generationId: accepted.generationId,
    xMinaPassId: passId,
  });
  if (found.status === "done") {
    console.log(found.outputs.seedreamImageUrl);
    break;
  }
  if (found.status === "error") throw new Error(JSON.stringify(found.error));
  await new Promise((resolve) => setTimeout(resolve, 200));
}
