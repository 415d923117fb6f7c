"""A spoken sentence over a simulated 1200 bit/s link with losses: `make demo`.

Runs `linkcodec simulate` with configs/sat-1200-sync.toml and losses on examples/sentence.flac, or
on the audio file that is given, writes demo/received.wav and demo/report.json, and plays what was
received where there is a sound card.

The sentence was spoken by Kokoro-82M (Apache-2.0): "Hello. This sentence left a microphone,
became eleven hundred bits per second, and crossed a noisy channel that lost some of its packets.
If you can follow every word, the link is doing its job. Over."
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from linkcodec.app.cli import main as linkcodec
from linkcodec.audiofile import stream_audio
from linkcodec.devices import open_output
from linkcodec.exceptions import DeviceError

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "sat-1200-sync.toml"
SENTENCE = ROOT / "examples" / "sentence.flac"
LOSSES = ("--loss", "0.04", "--burst", "2", "--seed", "3")


def play(path: Path) -> str:
    """Play a file on the default speaker; gives a line for the user."""
    try:
        with open_output(sample_rate=16000) as speaker:
            for block in stream_audio(path, 16000, block=1600):
                speaker.write(block)
                while speaker.waiting > 0.3:
                    time.sleep(0.05)
            speaker.drain()
    except DeviceError:
        return "No sound card here: listen with any player where there is one."
    return "That was the received sentence."


def main(argv: list[str]) -> int:
    """Run the demo; gives the exit status."""
    folder = ROOT / "demo"
    folder.mkdir(exist_ok=True)
    speech = argv[0] if argv else os.path.relpath(SENTENCE)
    received, report = folder / "received.wav", folder / "report.json"
    status = linkcodec(
        [
            *("simulate", speech, os.path.relpath(received)),
            *("--config", str(CONFIG), *LOSSES, "--report", os.path.relpath(report)),
        ]
    )
    if status == 0:
        print(
            f"\nsent      {speech}\n"
            f"received  {os.path.relpath(received)}\n"
            f"report    {os.path.relpath(report)}\n"
            f"{play(received)} Your own recording:\n"
            f"  {os.path.relpath(sys.executable)} scripts/demo.py my-recording.wav"
        )
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
