// Draws cartoon faces with twenty yes-or-no attributes each: one JSON object a line with "attributes" and "svg".
//
//   npm install facesjs@5
//   node scripts/cartoon_attributes.mjs FOLDER_WITH_NODE_MODULES COUNT SEED > attributes.jsonl
//
// Their names and order stand in splitveil.reproduce.vicious.images.
import { seededFacesjs } from "./seeded_facesjs.mjs";

const [folder, count, seed] = process.argv.slice(2);
const { generate, faceToSvgString } = await seededFacesjs(folder, seed);
const light = (colour) => {
  const value = parseInt(colour.slice(1), 16);
  return (0.3 * (value >> 16) + 0.6 * ((value >> 8) & 255) + 0.1 * (value & 255)) / 255;
};
const some = (part) => part.id !== "none";
for (let index = 0; index < Number(count); index++) {
  const male = index % 2 === 1;
  const face = generate(undefined, { gender: male ? "male" : "female" });
  const attributes = [
    male,
    light(face.body.color) < 0.6,
    some(face.hairBg),
    face.fatness > 0.29,
    face.mouth.id.startsWith("smile"),
    light(face.hair.color) < 0.16,
    some(face.facialHair),
    some(face.accessories),
    face.nose.size > 0.8,
    face.ear.size > 0.83,
    some(face.eyeLine),
    some(face.smileLine),
    some(face.miscLine),
    some(face.glasses),
    face.eyebrow.angle > 2,
    face.eye.angle > 2,
    face.hair.flip,
    face.ear.id === "ear1",
    face.body.size > 0.95,
    /curly|afro|cornrows/.test(face.hair.id),
  ];
  console.log(JSON.stringify({ attributes: attributes.map(Number), svg: faceToSvgString(face) }));
}
