// Draws people: cartoon faces whose features are fixed by who they are, in several moods each.
//
//   npm install facesjs@5
//   node scripts/cartoon_people.mjs FOLDER_WITH_NODE_MODULES PEOPLE MOODS SEED > people.jsonl
//
// One JSON object a line: "person", "mood", "attributes" (who), "svg". What makes a person: build, skin,
// ears, head, eyes, brows, nose, hair, beard, and lines under the eyes. What changes with a mood: mouth,
// smile lines, the angles of eyes and brows, jersey and its colours, glasses, what is worn on the head.
// No two people share more than four of eight kinds of feature.
import { seededFacesjs } from "./seeded_facesjs.mjs";

const [folder, people, moods, seed] = process.argv.slice(2);
const { generate, faceToSvgString } = await seededFacesjs(folder, seed);
const skins = ["asian", "black", "brown", "white"];
const sexes = ["female", "male"];

const features = (face) => [
  face.body.color,
  face.head.id,
  face.eye.id,
  face.eyebrow.id,
  face.nose.id,
  face.hair.id,
  face.hair.color,
  face.facialHair.id,
];
const alike = (one, other) => one.filter((value, place) => value === other[place]).length;

const known = [];
while (known.length < Number(people)) {
  const place = known.length;
  const options = { race: skins[place % 4], gender: sexes[(place >> 2) % 2] };
  const face = generate(undefined, options);
  if (known.every((one) => alike(features(one.face), features(face)) <= 4)) {
    known.push({ face, options });
  }
}
known.forEach(({ face, options }, person) => {
  for (let mood = 0; mood < Number(moods); mood++) {
    const other = generate(undefined, options);
    // a copy, since drawing a hat shortens the hair for good
    const drawn = structuredClone({
      ...face,
      mouth: other.mouth,
      smileLine: other.smileLine,
      jersey: other.jersey,
      teamColors: other.teamColors,
      glasses: other.glasses,
      accessories: other.accessories,
      eye: { ...face.eye, angle: other.eye.angle },
      eyebrow: { ...face.eyebrow, angle: other.eyebrow.angle },
    });
    const [skin, head, eye, eyebrow, nose, hair, hairColour, beard] = features(face);
    const attributes = { ...options, skin, head, eye, eyebrow, nose, hair, hairColour, beard };
    console.log(JSON.stringify({ person, mood, attributes, svg: faceToSvgString(drawn) }));
  }
});
