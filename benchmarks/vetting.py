"""Seconds that vetting a reference network takes, without the training of shadows.

    python benchmarks/vetting.py [--networks vgg resnet ir vit]

Each network is vetted in a process of its own, from the command line to the written page, against
the shipped panel on the 1,000 bundled test images. Prints a JSON line. Fails (exit 1) if one takes
60 seconds or more, in wall time on an idle machine of two cores. CPU seconds stand beside it, which
others on the machine change less.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time

GATE = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["vgg", "resnet", "ir", "vit"])
    options = parser.parse_args()
    found = {}
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            code = "import sys; from splitveil.cli import run; sys.exit(run(sys.argv[1:]))"
            ended = subprocess.run(
                [sys.executable, "-c", code, "vet", name, "--out", folder, "--json"],
                capture_output=True,
                text=True,
                check=False,
            )
            wall, after = (
                time.monotonic() - began,
                resource.getrusage(resource.RUSAGE_CHILDREN),
            )
        record = json.loads(ended.stdout)
        found[name] = {
            "answer": record["answer"],
            "exit": ended.returncode,
            "wall_s": round(wall, 1),
            "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        }
    holds = all(one["wall_s"] < GATE for one in found.values())
    print(json.dumps({"gate_s": GATE, "networks": found, "holds": holds}, indent=1))
    raise SystemExit(0 if holds else 1)


if __name__ == "__main__":
    main()
