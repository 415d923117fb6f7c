"""Released versions of the compact codec and the files that hold them.

Another version means other weights: speech of one is noise to another. `compact-N.npz` holds
all of version N; `compact-N-light-encoder.npz` and `compact-N-light-decoder.npz` hold its
light build.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from linkcodec.codec import CodecInfo
from linkcodec.compact.shape import DELAY, FRAME_SIZE, SAMPLE_RATE
from linkcodec.exceptions import CodecError

FOLDER: Final = Path(__file__).parent / "weights"

CURRENT_VERSION: Final = 7

_FIRST_RELEASE: Final = {1: "0.1", 2: "0.2", 3: "0.3", 4: "0.4", 5: "0.5", 6: "0.6", 7: "0.7"}
"""The release of this package in which each version first came."""


def file_name(version: int, part: str = "") -> str:
    """Name of a version's file; `part` is empty, "light-encoder" or "light-decoder"."""
    return f"compact-{version}{part and '-'}{part}.npz"


def installed_versions(part: str = "", folder: Path = FOLDER) -> list[int]:
    """Versions whose files are in a folder."""
    pattern = re.compile(file_name(0, part).replace("0", r"(\d+)").replace(".", r"\."))
    found = (pattern.fullmatch(path.name) for path in folder.glob("compact-*.npz"))
    return sorted(int(match[1]) for match in found if match)


def weights_path(version: int = CURRENT_VERSION, part: str = "", *, folder: Path = FOLDER) -> Path:
    """Where the file of a version lies.

    Raises:
        CodecError: the file is not installed; the text says which version is missing, which
            ones are there and where to get it.
    """
    path = folder / file_name(version, part)
    if path.is_file():
        return path
    here = ", ".join(map(str, installed_versions(part, folder))) or "none"
    light = " as a light build" if part else ""
    if not part and version in installed_versions("light-decoder", folder):
        mend = f"use codec compact-light, whose version {version} is here"
    elif version in _FIRST_RELEASE:
        mend = f"copy it from linkcodec {_FIRST_RELEASE[version]} into {folder}"
    else:
        mend = "install a newer linkcodec"
    raise CodecError(
        f"codec compact version {version} is needed{light}, installed: {here}; "
        f"{path.name} is missing: {mend}"
    )


def compact_info(
    *, version: int, weights_hash: str, quantizers: int, codebook_size: int, build: str = ""
) -> CodecInfo:
    """What a codec of this format says about itself."""
    return CodecInfo(
        name="compact",
        version=version,
        sample_rate=SAMPLE_RATE,
        frame_size=FRAME_SIZE,
        quantizers=quantizers,
        codebook_size=codebook_size,
        delay=DELAY,
        weights_hash=weights_hash,
        build=build,
    )
