"""What a comparison has cost so far, all its runs together."""

import time
from pathlib import Path

from splitveil.storage import write_whole


class Clock:
    """CPU seconds of this process, on top of those that earlier ones left in the folder."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cpu_seconds"
        self.earlier = float(self.file.read_text()) if self.file.is_file() else 0.0
        self.began = time.process_time()

    @property
    def seconds(self) -> float:
        """Of this process alone."""
        return time.process_time() - self.began

    def spent(self) -> float:
        """All of it, written down for the next run."""
        total = self.earlier + self.seconds
        write_whole(self.file, f"{total:.1f}\n".encode())
        return total
