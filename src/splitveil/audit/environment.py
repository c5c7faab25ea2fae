"""The machine and the versions that trials ran with."""

import platform
from importlib.metadata import version

import torch

from splitveil.records import Environment


def this_environment(device: str) -> Environment:
    """Where trials run, as records tell it."""
    return Environment(
        splitveil=version("splitveil"),
        python=platform.python_version(),
        torch=torch.__version__,
        platform=platform.platform(),
        processor=_processor(),
        threads=1,
        device=device,
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
