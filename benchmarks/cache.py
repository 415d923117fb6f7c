"""Results of finished measurements: one JSON line per clip, one file per system.

A line holds the clip's name, a key and the scores. The key says what was measured (the
system's version and the clip's samples); lines with another key are stale and ignored.
Later lines add to earlier ones, so a measure can be added later at its own cost only.
"""

from __future__ import annotations

import json
from pathlib import Path

from linkcodec.exceptions import InputError

Scores = dict[str, float | None]
"""Values of one clip by name; None: cannot be computed for this clip."""


class ResultCache:
    """Scores of one system.

    Raises:
        InputError: a line other than the last is damaged. The last one may be cut off by
            an interruption; it is dropped and measured again.
    """

    def __init__(self, folder: Path, system: str) -> None:
        self.path = folder / f"{system}.jsonl"
        self._scores: dict[tuple[str, str], Scores] = {}
        self._cut = False
        if self.path.is_file():
            self._load()

    def _load(self) -> None:
        text = self.path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                clip, key, scores = str(row["clip"]), str(row["key"]), dict(row["scores"])
            except (ValueError, KeyError, TypeError):
                if number == len(lines) and not text.endswith("\n"):
                    self._cut = True
                    return
                raise InputError(f"{self.path}:{number}: damaged line; delete it") from None
            self._scores.setdefault((clip, key), {}).update(scores)

    def get(self, clip: str, key: str) -> Scores:
        """What is known of a clip under this key; empty if nothing is."""
        return dict(self._scores.get((clip, key), {}))

    def add(self, clip: str, key: str, scores: Scores) -> None:
        """Keep scores, in memory and on disk."""
        self._scores.setdefault((clip, key), {}).update(scores)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"clip": clip, "key": key, "scores": scores}, sort_keys=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if self._terminate() else "") + line + "\n")

    def _terminate(self) -> bool:
        """Drop a line that was cut off; true if the last line lacks only its newline."""
        if self._cut:
            whole = self.path.read_bytes()
            self.path.write_bytes(whole[: whole.rfind(b"\n") + 1])
            self._cut = False
        return self.path.is_file() and self.path.read_bytes()[-1:] not in {b"", b"\n"}
