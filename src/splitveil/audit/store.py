"""A run's folder: its manifest, one line a trial, its artefacts and its summary; no torch.

    manifest.json                 what was audited
    records.jsonl                 one outcome a line, appended, never rewritten in place
    artefacts/<trial id>.safetensors
    summary.json                  the verdict, written last
    splitveil.toml                the settings that repeat the run
    records.damaged               lines set aside because a kill or an edit broke them

One process writes at a time. Whatever is there after a kill is whole: a line is one write, every
other file is written beside its place, flushed and renamed. All files are readable by their owner
only, since errors and reconstructions of private images lie in them.
"""

import errno
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load, save

from splitveil.errors import BadInput, BadPlan, StorageFailed
from splitveil.records import Outcome, digest
from splitveil.storage import PRIVATE, storing, write_whole


def _json_bytes(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_records(content: bytes) -> tuple[list[Outcome], list[tuple[bytes, str]]]:
    """The outcomes of a records file, and each damaged line with what is wrong with it.

    The last line of two with the same trial stands: a failed trial that ran again.
    """
    outcomes: dict[str, Outcome] = {}
    damaged: list[tuple[bytes, str]] = []
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            damaged.append((line, f"line {number} was cut short"))
            continue
        try:
            outcome = Outcome.from_json(json.loads(line))
        except (BadInput, ValueError, TypeError, AttributeError) as error:
            damaged.append((line, f"line {number} is damaged: {error}"))
            continue
        outcomes.pop(outcome.trial.id, None)
        outcomes[outcome.trial.id] = outcome
    return list(outcomes.values()), damaged


class Run:
    """A run's folder, read only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"open_run({str(self.path)!r})"

    def _json(self, name: str) -> dict[str, Any]:
        file = self.path / name
        try:
            data = json.loads(file.read_bytes())
        except FileNotFoundError as error:
            raise StorageFailed(
                f"{file} is missing: run `splitveil audit` with the same settings to finish the run"
            ) from error
        except (OSError, ValueError) as error:
            raise StorageFailed(
                f"{file} cannot be read: {error}; run the audit again in a new folder"
            ) from error
        if not isinstance(data, dict):
            raise StorageFailed(f"{file} holds no JSON object; run the audit again in a new folder")
        return data

    @property
    def manifest(self) -> dict[str, Any]:
        """What was audited: model, data, threat, plan, cuts, environment."""
        return self._json("manifest.json")

    @property
    def summary(self) -> dict[str, Any]:
        """The verdict and what was not attacked."""
        return self._json("summary.json")

    @property
    def settings(self) -> dict[str, Any]:
        """The tables of the settings that repeat the run."""
        file = self.path / "splitveil.toml"
        try:
            return tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StorageFailed(f"{file} cannot be read: {error}") from error

    def _records(self) -> tuple[list[Outcome], list[tuple[bytes, str]]]:
        file = self.path / "records.jsonl"
        if not file.exists():
            return [], []
        with storing(file):
            content = file.read_bytes()
        return read_records(content)

    def outcomes(self) -> list[Outcome]:
        """One outcome a trial, in the order in which they ended; damaged lines are left out."""
        return self._records()[0]

    def damage(self) -> list[str]:
        """What is wrong with each line that cannot be read, one sentence each."""
        return [reason for _, reason in self._records()[1]]

    def artefact_path(self, name: str) -> Path:
        """Where the arrays named `name` lie."""
        return self.path / "artefacts" / f"{name}.safetensors"

    def artefact(self, name: str) -> dict[str, np.ndarray]:
        """The arrays stored under `name`: an outcome's `artefact`, or "originals".

        Raises:
            StorageFailed: if the file is missing or damaged.
        """
        file = self.artefact_path(name)
        try:
            return load(file.read_bytes())
        except (OSError, SafetensorError) as error:
            raise StorageFailed(
                f"artefact {file} cannot be read: {error}; run the audit again to restore it"
            ) from error


class Store(Run):
    """A run's folder, held for writing by one process at a time; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / ".lock", timeout=0, mode=PRIVATE)

    def __enter__(self) -> "Store":
        """Make the folder if need be and take its lock.

        Raises:
            BadPlan: if the folder holds other files, or another audit is writing there.
            StorageFailed: if it cannot be made.
        """
        with storing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign()
            (self.path / "artefacts").mkdir(exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout as error:
                raise BadPlan(
                    f"another audit is writing to {self.path}: wait for it or choose another folder"
                ) from error
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def _refuse_foreign(self) -> None:
        known = {"manifest.json", "records.jsonl", ".lock", "artefacts"}
        names = {entry.name for entry in self.path.iterdir()}
        if names and not names & known:
            raise BadPlan(
                f"{self.path} holds other files ({sorted(names)[0]}, ...): choose a new folder"
            )

    def claim(self, scope: str) -> None:
        """Refuse a folder that holds the audit of something else.

        Raises:
            BadPlan: if the manifest there has another scope.
        """
        if not (self.path / "manifest.json").exists():
            return
        found = self.manifest
        if found.get("scope") != scope:
            model = found.get("model", {}).get("name")
            data = found.get("data", {}).get("name")
            raise BadPlan(
                f"{self.path} holds an audit of other settings (model {model}, data {data}; scope "
                f"{found.get('scope')}, this one is {scope}): choose another folder"
            )

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Replace a JSON file of the folder as a whole."""
        write_whole(self.path / name, _json_bytes(data))

    def write_text(self, name: str, text: str) -> None:
        """Replace a text file of the folder as a whole."""
        write_whole(self.path / name, text.encode())

    def write_artefact(self, name: str, arrays: Mapping[str, np.ndarray]) -> str:
        """Store arrays under `name` and return it."""
        content = save({key: np.ascontiguousarray(value) for key, value in arrays.items()})
        write_whole(self.artefact_path(name), content)
        return name

    def append(self, outcome: Outcome) -> None:
        """Add one line, flushed to the disk; a line that does not fit is taken back whole.

        Raises:
            StorageFailed: if it cannot be written; earlier lines are untouched.
        """
        file = self.path / "records.jsonl"
        line = json.dumps(outcome.to_json(), allow_nan=False, separators=(",", ":")).encode()
        line += b"\n"
        with storing(file):
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
            try:
                before = os.fstat(handle).st_size
                try:
                    if os.write(handle, line) != len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(handle)
                except OSError:
                    os.ftruncate(handle, before)
                    raise
            finally:
                os.close(handle)

    def mend(self) -> list[str]:
        """Move damaged lines to records.damaged and say, one sentence each, what was wrong.

        The trials they stood for run again. The lines set aside are on the disk before the
        records are replaced.
        """
        outcomes, damaged = self._records()
        if not damaged:
            return []
        aside = self.path / "records.damaged"
        with storing(aside):
            old = aside.read_bytes() if aside.exists() else b""
        lines = b"".join(line.rstrip(b"\n") + b"\n" for line, _ in damaged)
        write_whole(aside, old + lines)
        kept = "".join(
            json.dumps(outcome.to_json(), allow_nan=False, separators=(",", ":")) + "\n"
            for outcome in outcomes
        )
        write_whole(self.path / "records.jsonl", kept.encode())
        return [f"{reason}; set aside in {aside}, its trial runs again" for _, reason in damaged]


def open_run(path: str | Path) -> Run:
    """A finished or interrupted run, read only.

    Raises:
        BadPlan: if there is no run at `path`.
    """
    folder = Path(path)
    if not (folder / "manifest.json").is_file():
        raise BadPlan(f"{folder} is not a run's folder: it has no manifest.json")
    return Run(folder)


def open_audit(path: str | Path) -> Run:
    """As `open_run`, for a folder that holds an audit.

    Raises:
        BadPlan: if there is no run at `path`, or it reproduces a paper.
    """
    run = open_run(path)
    paper = run.manifest.get("reproduce")
    if paper is not None:
        raise BadPlan(
            f"{run.path} reproduces claims of {paper}, it is no audit: read its findings in "
            f"{run.path / 'findings.md'}"
        )
    return run


def scope_of(**shared: Any) -> str:
    """The digest of all that a run's trials share; two runs with another scope never mix."""
    return digest(shared)
