// Draws cartoon faces: one JSON object a line with "label" (four skin colours x two sexes) and "svg".
//
//   npm install facesjs@5
//   node scripts/cartoon_faces.mjs FOLDER_WITH_NODE_MODULES COUNT SEED > faces.jsonl
import { seededFacesjs } from "./seeded_facesjs.mjs";

const [folder, count, seed] = process.argv.slice(2);
const { generate, faceToSvgString } = await seededFacesjs(folder, seed);
const colours = ["asian", "black", "brown", "white"];
const sexes = ["female", "male"];
for (let index = 0; index < Number(count); index++) {
  const label = index % 8;
  const face = generate(undefined, { race: colours[label >> 1], gender: sexes[label & 1] });
  console.log(JSON.stringify({ label, svg: faceToSvgString(face) }));
}
