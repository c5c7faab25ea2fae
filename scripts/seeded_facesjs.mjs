// facesjs as found from a folder with node_modules, drawing the same faces for the same seed.
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

export const seededFacesjs = (folder, seed) => {
  let state = Number(seed) >>> 0;
  // mulberry32
  Math.random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const require = createRequire(`${resolve(folder)}/package.json`);
  return import(pathToFileURL(require.resolve("facesjs")));
};
