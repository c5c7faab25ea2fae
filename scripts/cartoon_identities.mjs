// Draws cartoon persons, several pictures each: one JSON object a line with "label" (the person) and "svg".
//
//   npm install facesjs@5
//   node scripts/cartoon_identities.mjs FOLDER_WITH_NODE_MODULES PERSONS PICTURES SEED > faces.jsonl
//
// A person keeps head, eyes, nose, ears, hair, skin; mouth, eyebrows' angle, shirt and jersey vary.
import { seededFacesjs } from "./seeded_facesjs.mjs";

const [folder, persons, pictures, seed] = process.argv.slice(2);
const { generate, faceToSvgString } = await seededFacesjs(folder, seed);
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
