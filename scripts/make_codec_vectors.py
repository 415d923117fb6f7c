"""Write the golden vectors of the embedded codec: tests/vectors/compact-N.json of version N.

Run it once for each released version of the weights; a file that exists for a released
version is part of that version.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]

from linkcodec.codec import load_codec

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Code a part of the example sentence and note its frames and their loudness."""
    codec = load_codec("compact")
    audio, _ = soundfile.read(ROOT / "examples" / "sentence.flac", dtype="float32")
    encoder, decoder = codec.encoder(), codec.decoder()
    frames = encoder.push(audio[8000:48000]) + encoder.flush()
    pieces = [decoder.decode(frame) for frame in frames]
    loudness = [20 * np.log10(np.sqrt(np.mean(p.astype(np.float64) ** 2)) + 1e-9) for p in pieces]
    path = ROOT / "tests" / "vectors" / f"compact-{codec.info.version}.json"
    golden = {
        "weights_hash": codec.info.weights_hash,
        "frames": [list(frame.indices) for frame in frames],
        "loudness_db": [round(float(value), 3) for value in loudness],
    }
    path.write_text(json.dumps(golden) + "\n")
    sys.stdout.write(f"{path}: {len(frames)} frames\n")


if __name__ == "__main__":
    main()
