"""A short run of every target of scripts/fuzz.py."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from linkcodec.frame import FRAME_SECONDS, Frame, PlayoutItem
from transport.config import JitterConfig
from transport.jitter import JitterBuffer
from transport.packet import ByePacket, SilencePacket, VoicePacket


def load_script() -> Any:
    path = Path(__file__).parents[1] / "scripts" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


fuzz = load_script()


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_strangers_do_no_harm(name: str) -> None:
    done = fuzz.run_block(name, seed=99, block=0, size=400)
    assert done.inputs == 400
    assert done.most_state < fuzz.MOST_STATE
    # Forged traffic is refused; of the other inputs some are valid, or the run is worth little.
    secured = "encrypted" in name or "authenticated" in name
    assert (done.found == 0) == secured


def test_inputs_are_repeatable_and_varied() -> None:
    target = fuzz.TARGETS["packet"]
    corpus = target.corpus()

    def some(seed: int) -> list[bytes]:
        source = fuzz.inputs(target, corpus, random.Random(seed))
        return [next(source) for _ in range(200)]

    assert some(1) == some(1)
    assert some(1) != some(2)
    assert len(set(some(1))) > 150
    assert len(set(some(1)) & set(corpus)) < 20


def test_a_wrong_exception_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(data: bytes) -> None:
        raise IndexError(len(data))

    target = fuzz.Target(start=fuzz._parser(parse), corpus=lambda: [b"abc"])
    monkeypatch.setitem(fuzz.TARGETS, "broken", target)
    with pytest.raises(fuzz.FuzzError, match=r"broken, block 3, input 0: IndexError"):
        fuzz.run_block("broken", seed=1, block=3, size=10)


def test_growing_state_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def start() -> Any:
        kept: list[bytes] = []

        def step(data: bytes, _rng: random.Random) -> bool:
            kept.append(data + bytes(100_000))
            return True

        return kept, step

    monkeypatch.setitem(fuzz.TARGETS, "leak", fuzz.Target(start=start, corpus=lambda: [b"abc"]))
    with pytest.raises(fuzz.FuzzError, match="holds"):
        fuzz.run_block("leak", seed=1, block=0, size=100)


def test_frames_of_repairs_alone_do_not_stop_the_playout() -> None:
    """Found by fuzzing: after a new sender's silence nothing is known of its path."""
    buffer = JitterBuffer(JitterConfig())
    frames = tuple(Frame((book,) * 3) for book in range(4))
    items: list[PlayoutItem] = []

    def play(start: float) -> None:
        items.extend(buffer.next(start + FRAME_SECONDS * number) for number in range(30))

    buffer.insert(VoicePacket(tick=0, frames=frames[:1], start=True, end=True), 0.1)
    play(0.1)
    buffer.insert(ByePacket(tick=20), 2.5)
    play(2.5)
    assert buffer.ended
    buffer.insert(SilencePacket(tick=300, level_dbfs=-60.0), 4.9)
    buffer.insert(VoicePacket(tick=302, frames=frames[1:], repair=True), 4.9)
    play(4.9)
    assert [item for item in items if isinstance(item, Frame)] == list(frames)


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.json"
    fuzz.run("ax25", fuzz.Journal.load(path, seed=5), wanted=300)
    journal = fuzz.Journal.load(path, seed=5)
    assert journal.targets["ax25"].inputs == 300
    fuzz.run("ax25", journal, wanted=500)
    assert fuzz.Journal.load(path, seed=5).targets["ax25"].inputs == 500
    assert fuzz.Journal.load(path, seed=6).targets == {}
    assert "| ax25 | 500 |" in journal.table()
