from __future__ import annotations

from pathlib import Path

import pytest

from linkcodec.codec import load_codec
from linkcodec.compact.versions import (
    CURRENT_VERSION,
    file_name,
    installed_versions,
    weights_path,
)
from linkcodec.exceptions import CodecError


def test_the_current_version_is_installed_in_both_builds() -> None:
    for part in ("", "light-encoder", "light-decoder"):
        assert CURRENT_VERSION in installed_versions(part)


def test_files_of_several_versions_lie_side_by_side(tmp_path: Path) -> None:
    for name in ("compact-3.npz", "compact-12.npz", "compact-3-light-decoder.npz", "other.npz"):
        (tmp_path / name).touch()
    assert installed_versions(folder=tmp_path) == [3, 12]
    assert installed_versions("light-decoder", tmp_path) == [3]
    assert weights_path(12, folder=tmp_path) == tmp_path / file_name(12)


def test_a_missing_version_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / file_name(2)).touch()
    with pytest.raises(CodecError) as caught:
        weights_path(1, folder=tmp_path)
    text = str(caught.value)
    assert "version 1 is needed, installed: 2" in text
    assert f"copy it from linkcodec 0.1 into {tmp_path}" in text


def test_a_light_build_that_is_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "compact-1-light-decoder.npz").touch()
    with pytest.raises(CodecError, match="use codec compact-light, whose version 1 is here"):
        weights_path(1, folder=tmp_path)


def test_a_version_of_the_future_needs_a_newer_package() -> None:
    with pytest.raises(CodecError, match=r"version 99 is needed.*install a newer linkcodec"):
        load_codec("compact", version=99)
    with pytest.raises(CodecError, match=r"version 99 is needed as a light build"):
        load_codec("compact-light", version=99)
