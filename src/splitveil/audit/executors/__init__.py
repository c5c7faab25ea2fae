"""Where trials run: in this process, or in worker processes of this machine; no torch.

An executor asks a queue for the next trial whenever a worker is free and gives back what came of
it, in the order in which trials end. What is computed never depends on the executor.
"""

from splitveil.audit.executors.base import Done, Executor, Make, Queue, Work
from splitveil.audit.executors.local import Processes
from splitveil.audit.executors.serial import InProcess

__all__ = ["Done", "Executor", "InProcess", "Make", "Processes", "Queue", "Work"]
