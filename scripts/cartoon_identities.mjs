// Draws cartoon persons, several pictures each: one JSON object a line with "label" (the person) and "svg".
//
//   npm install facesjs@5
//   node scripts/cartoon_identities.mjs FOLDER_WITH_NODE_MODULES PERSONS PICTURES SEED > faces.jsonl
//
// A person keeps head, eyes, nose, ears, hair, skin; mouth, eyebrows' angle, shirt and jersey vary.
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, persons, pictures, seed] = process.argv.slice(2);
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
for (let label = 0; label < Number(persons); label++) {
  const person = generate();
  for (let picture = 0; picture < Number(pictures); picture++) {
    const other = generate();
    const face = structuredClone(person);
    face.mouth = other.mouth;
    face.jersey = other.jersey;
    face.teamColors = other.teamColors;
    face.eyebrow.angle = other.eyebrow.angle;
    console.log(JSON.stringify({ label, svg: faceToSvgString(face) }));
  }
}
