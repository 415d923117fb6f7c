"""What `import linkcodec` gives, and what it must not load."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import linkcodec

ROOT = Path(__file__).resolve().parents[2]


def test_public_names_exist_and_are_sorted() -> None:
    names = linkcodec.__all__
    constants = [name for name in names if name.isupper()]
    classes = [name for name in names if name[0].isupper() and not name.isupper()]
    others = [name for name in names if not name[0].isupper()]
    assert names == sorted(constants) + sorted(classes) + sorted(others)
    assert all(hasattr(linkcodec, name) for name in names)


def test_every_error_is_exported() -> None:
    from linkcodec import exceptions

    assert set(exceptions.__all__) <= set(linkcodec.__all__)


def test_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert linkcodec.__version__ == project["version"]


@pytest.mark.parametrize(
    "module",
    [
        "linkcodec",
        "linkcodec.audiofile",
        "linkcodec.comfort_noise",
        "linkcodec.devices",
        "linkcodec.frame_bits",
        "linkcodec.gate",
    ],
)
def test_import_loads_nothing_heavy(module: str) -> None:
    check = f"import sys, {module}; print(sorted({{'torch', 'sounddevice'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
