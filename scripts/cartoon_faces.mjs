// Draws cartoon faces: one JSON object a line with "label" (four skin colours x two sexes) and "svg".
//
//   npm install facesjs@5
//   node scripts/cartoon_faces.mjs FOLDER_WITH_NODE_MODULES COUNT SEED > faces.jsonl
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, count, seed] = process.argv.slice(2);
let state = Number(seed) >>> 0;
// mulberry32, so that the same seed draws the same faces
Math.random = () => {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const require = createRequire(`${resolve(folder)}/package.json`);
const { generate, faceToSvgString } = await import(pathToFileURL(require.resolve("facesjs")));
const colours = ["asian", "black", "brown", "white"];
const sexes = ["female", "male"];
for (let index = 0; index < Number(count); index++) {
  const label = index % 8;
  const face = generate(undefined, { race: colours[label >> 1], gender: sexes[label & 1] });
  console.log(JSON.stringify({ label, svg: faceToSvgString(face) }));
}
