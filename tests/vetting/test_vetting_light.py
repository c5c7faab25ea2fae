"""The room's names are loaded when used, and a device with a guard loads little."""

import subprocess
import sys
from pathlib import Path

from splitveil import vetting

HEAVY = {"lightning_fabric", "matplotlib", "PIL", "scipy", "torchmetrics"}
ROOMS = {"audit", "data", "malicious", "measures", "models", "partition", "training"}


def test_every_name_has_a_home_and_a_type() -> None:
    text = Path(vetting.__file__).read_text(encoding="utf-8")
    assert sorted(vetting._HOMES) == vetting.__all__
    for name, home in vetting._HOMES.items():
        assert f"from splitveil.vetting.{home} import {name} as {name}\n" in text
        # a name like its module's would be the module, once that is imported
        assert name != home


def test_a_guard_starts_without_what_trains_plots_or_reads_images() -> None:
    code = (
        "import sys\n"
        "from splitveil.vetting import Guard, GuardNull, bundled_null\n"
        "guard = Guard(bundled_null())\n"
        "import torch\n"
        "guard.update(torch.rand(20, 1, 8, 8), torch.randn(20, 10))\n"
        "print(*sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {tuple(name.split(".")[:2]) for name in found.stdout.split()}
    assert {top for top, *_ in loaded} & HEAVY == set()
    assert {part[1] for part in loaded if part[0] == "splitveil" and len(part) > 1} & ROOMS == set()
