"""Draw the bundled people from what scripts/cartoon_people.mjs wrote: same lines, same bytes.

    node scripts/cartoon_people.mjs FOLDER_WITH_FACESJS 144 12 1 > people.jsonl
    python scripts/make_people.py people.jsonl --out src/splitveil/data/bundled/people.npz

Writes "x" (people, moods, 48, 48, 3), bytes, and "attributes", one JSON object a person. Needs
resvg_py. facesjs is under the Apache License 2.0, and so are the pictures.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from make_bundled_data import write_npz

from splitveil.reproduce.gpz.sources import drawn_face, needed

SIZE = 48


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    lines = [json.loads(line) for line in asked.lines.read_text(encoding="utf-8").splitlines()]
    resvg = needed("resvg_py", "the people", "pip install resvg_py")
    people = lines[-1]["person"] + 1
    x = np.stack([drawn_face(resvg, line["svg"], SIZE) for line in lines])
    attributes = [
        json.dumps(line["attributes"], sort_keys=True) for line in lines if not line["mood"]
    ]
    write_npz(
        asked.out,
        {"x": x.reshape(people, -1, *x.shape[1:]), "attributes": np.array(attributes)},
    )
    print(f"{asked.out}: {people} people, {len(x)} pictures, {asked.out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
