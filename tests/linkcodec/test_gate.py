"""The voice gate: what opens it, what does not, and where talk spurts begin and end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speechlike import Signal, noise, phrase, syllable

from linkcodec.comfort_noise import ComfortNoise
from linkcodec.exceptions import ConfigError
from linkcodec.gate import GateConfig, GateDecision, GateState, VoiceGate

RATE = 16_000
FRAME = 1280
RESTLESS = GateConfig(aggressiveness=0, threshold_db=8.0)


@dataclass(frozen=True)
class Run:
    decisions: list[GateDecision]
    sent: npt.NDArray[np.bool_]
    """Frames sent, the pre-roll included; shape (frames,)."""


def run(signal: Signal, config: GateConfig | None = None, *, sample_rate: int = RATE) -> Run:
    gate = VoiceGate(config or GateConfig(), sample_rate=sample_rate)
    frames = signal[: signal.size // gate.frame_size * gate.frame_size]
    decisions = [
        gate.decide(frame.astype(np.float32)) for frame in frames.reshape(-1, gate.frame_size)
    ]
    sent = np.array([decision.send for decision in decisions])
    for number, decision in enumerate(decisions):
        if decision.start:
            sent[number - decision.pre_roll : number] = True
    return Run(decisions, sent)


def in_room(
    speech: Signal, *, at: float, seconds: float, room_dbfs: float, rate: int = RATE
) -> Signal:
    """`speech` from `at` seconds on, with a room's noise all the time."""
    whole = noise(int(seconds * rate), dbfs=room_dbfs, seed=7, tilt=1.0)
    start = int(at * rate)
    whole[start : start + speech.size] += speech
    return whole


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize(("dbfs", "room_dbfs"), [(-20, -40), (-26, -70), (-40, -65), (-45, -75)])
def test_speech_passes_whole_and_silence_does_not(rate: int, dbfs: float, room_dbfs: float) -> None:
    speech = phrase(rate, dbfs=dbfs, seed=1)
    result = run(in_room(speech, at=3, seconds=9, room_dbfs=room_dbfs, rate=rate), sample_rate=rate)
    first, last = int(3 / 0.08), int((3 + speech.size / rate) / 0.08)
    assert result.sent[first : last + 1].all()
    assert not result.sent[12 : first - 2].any()
    assert not result.sent[last + 8 :].any()


@pytest.mark.parametrize("offset_ms", range(0, 80, 10))
def test_weak_onset_is_not_clipped(offset_ms: int) -> None:
    """A hiss of 120 ms, 15 dB below the vowel, at any place within a frame."""
    word = syllable(RATE, seed=3, hiss_ms=120) * 10 ** (-30 / 20)
    at = 3 + offset_ms / 1000
    result = run(in_room(word, at=at, seconds=6, room_dbfs=-60))
    assert result.sent[int(at / 0.08)]


@pytest.mark.parametrize("offset_ms", range(0, 80, 10))
def test_soft_beginning_in_the_noise_is_not_clipped(offset_ms: int) -> None:
    """A quarter of a second that lifts the room's noise by 4 dB, then a vowel."""
    soft = noise(RATE * 7 // 25, dbfs=-48, seed=8, tilt=1.0)
    vowel = syllable(RATE, seed=3, hiss_ms=0, vowel_ms=300) * 10 ** (-30 / 20)
    at = 4 + offset_ms / 1000
    result = run(in_room(np.concatenate([soft, vowel]), at=at, seconds=7, room_dbfs=-50))
    assert result.sent[int((at + 0.02) / 0.08)]
    assert not result.sent[20 : int(at / 0.08) - 3].any()


@pytest.mark.parametrize("offset_ms", [20, 40, 60])
def test_soft_beginning_across_two_frames_is_not_clipped(offset_ms: int) -> None:
    """A breath of 80 ms, 4 dB above the room's noise, a quarter of a second before the vowel."""
    breath = noise(RATE * 2 // 25, dbfs=-46, seed=8, tilt=1.0)
    vowel = syllable(RATE, seed=3, hiss_ms=0, vowel_ms=300) * 10 ** (-30 / 20)
    word = np.concatenate([breath, np.zeros(RATE // 4), vowel])
    at = 4 + offset_ms / 1000
    result = run(in_room(word, at=at, seconds=7, room_dbfs=-50))
    assert result.sent[int(at / 0.08)]


@pytest.mark.parametrize("offset_ms", range(0, 80, 10))
def test_hangover_keeps_a_final_consonant(offset_ms: int) -> None:
    """A stop of 100 ms and a faint burst after the vowel."""
    vowel = syllable(RATE, seed=4, hiss_ms=0, vowel_ms=300) * 10 ** (-26 / 20)
    burst = noise(RATE // 25, dbfs=-52, seed=5)
    word = np.concatenate([vowel, np.zeros(RATE // 10), burst])
    at = 3 + offset_ms / 1000
    result = run(in_room(word, at=at, seconds=6, room_dbfs=-65))
    last = int((at + word.size / RATE) / 0.08)
    assert result.sent[int(at / 0.08) : last + 1].all()


@pytest.mark.parametrize("dbfs", [-20, -26, -35])
@pytest.mark.parametrize("vowel_ms", [200, 500])
def test_speech_from_the_first_sample(dbfs: float, vowel_ms: int) -> None:
    """A recording may begin in the middle of a vowel, the loudest part of a word."""
    vowel = syllable(RATE, seed=5, hiss_ms=0, vowel_ms=vowel_ms)[RATE // 20 :]
    speech = np.concatenate([vowel * 10 ** (dbfs / 20), phrase(RATE, dbfs=dbfs, seed=2)])
    assert run(speech).sent.all()


@pytest.mark.parametrize(
    "quiet",
    [
        np.zeros(RATE * 10),
        np.full(RATE * 10, 0.1),
        np.round(np.random.default_rng(1).uniform(-1, 1, RATE * 10)) / 32768,
        np.concatenate([np.zeros(RATE * 4), phrase(RATE, dbfs=-84, seed=2), np.zeros(RATE * 4)]),
    ],
    ids=["zeros", "constant", "dither", "crosstalk"],
)
def test_digital_silence_never_opens(quiet: Signal) -> None:
    assert not run(quiet).sent.any()


@pytest.mark.parametrize("tilt", [0.0, 1.0, 2.0], ids=["white", "pink", "brown"])
@pytest.mark.parametrize("dbfs", [-75, -60, -50, -40, -30, -20])
def test_steady_noise_stays_closed(dbfs: float, tilt: float) -> None:
    """Loud noise may be let through until it proves to be steady."""
    result = run(noise(RATE * 20, dbfs=dbfs, seed=9, tilt=tilt))
    assert not result.sent[20:].any()
    if dbfs <= -50:
        assert not result.sent.any()


@pytest.mark.parametrize("tilt", [0.0, 1.0, 2.0], ids=["white", "pink", "brown"])
@pytest.mark.parametrize(("before", "after"), [(-70, -45), (-60, -30), (-45, -20), (-200, -40)])
def test_a_jump_of_the_noise_closes_again(before: float, after: float, tilt: float) -> None:
    gains = np.repeat([10 ** (before / 20), 10 ** (after / 20)], RATE * 5)
    result = run(noise(RATE * 10, dbfs=0, seed=10, tilt=tilt) * gains)
    assert not result.sent[int(7 / 0.08) :].any()


def test_restless_noise_closes_once_the_floor_has_caught_up() -> None:
    """Noise that jumps by 25 dB and never is steady: only its minimum tells."""
    rng = np.random.default_rng(11)
    level = np.repeat([-45.0, -20.0], RATE * 5) + np.repeat(
        rng.choice([-3.0, 3.0], 100), RATE // 10
    )
    result = run(noise(RATE * 10, dbfs=0, seed=11, tilt=1.0) * 10 ** (level / 20), RESTLESS)
    assert result.sent[int(6.5 / 0.08)]
    assert not result.sent[int(8.5 / 0.08) :].any()


@pytest.mark.parametrize("every_ms", [150, 700])
def test_clicks_do_not_open(every_ms: int) -> None:
    signal = noise(RATE * 10, dbfs=-65, seed=12)
    for start in range(RATE, signal.size - 100, RATE * every_ms // 1000):
        signal[start : start + 80] += noise(80, dbfs=-20, seed=start)
    assert not run(signal).sent.any()


def test_long_speech_stays_open() -> None:
    """Half a minute without a pause: the floor must not climb into the speech."""
    speech = phrase(RATE, dbfs=-26, seed=6, syllables=90)
    result = run(in_room(speech, at=2, seconds=speech.size / RATE + 4, room_dbfs=-50))
    first, last = int(2 / 0.08), int((2 + speech.size / RATE) / 0.08)
    assert result.sent[first : last + 1].all()
    assert sum(decision.start for decision in result.decisions) == 1


def test_states_and_flags_of_a_spurt() -> None:
    speech = phrase(RATE, dbfs=-26, seed=1)
    decisions = run(in_room(speech, at=2, seconds=6, room_dbfs=-65)).decisions
    starts = [number for number, decision in enumerate(decisions) if decision.start]
    ends = [number for number, decision in enumerate(decisions) if decision.end]
    assert len(starts) == len(ends) == 1
    (start,), (end,) = starts, ends
    states = [decision.state for decision in decisions]
    assert states[start] is GateState.STARTING
    assert set(states[start + 1 : end - 4]) <= {GateState.SPEAKING, GateState.STOPPING}
    assert states[end - 4 : end + 1] == [GateState.STOPPING] * 5
    assert set(states[:start] + states[end + 1 :]) == {GateState.QUIET}
    assert decisions[start].pre_roll == 2
    assert all(decision.pre_roll == 0 for decision in decisions if not decision.start)
    assert all(decision.send is (decision.state is not GateState.QUIET) for decision in decisions)


@pytest.mark.parametrize(
    ("hangover_ms", "frames"), [(0, 0), (80, 1), (100, 2), (400, 5), (800, 10)]
)
def test_length_of_the_hangover(hangover_ms: int, frames: int) -> None:
    word = syllable(RATE, seed=8, vowel_ms=400) * 10 ** (-26 / 20)
    quiet_end = in_room(word, at=2, seconds=6, room_dbfs=-70)
    shortest = run(quiet_end, GateConfig(hangover_ms=20))
    result = run(quiet_end, GateConfig(hangover_ms=hangover_ms))
    last_speech = max(
        number
        for number, decision in enumerate(shortest.decisions)
        if decision.state in {GateState.STARTING, GateState.SPEAKING}
    )
    end = next(number for number, decision in enumerate(result.decisions) if decision.end)
    assert abs(end - last_speech - frames) <= 1


@pytest.mark.parametrize(("pre_roll_ms", "frames"), [(0, 0), (1, 1), (80, 1), (81, 2), (400, 5)])
def test_length_of_the_pre_roll(pre_roll_ms: int, frames: int) -> None:
    speech = in_room(phrase(RATE, dbfs=-26, seed=1), at=2, seconds=5, room_dbfs=-70)
    decisions = run(speech, GateConfig(pre_roll_ms=pre_roll_ms)).decisions
    assert [decision.pre_roll for decision in decisions if decision.start] == [frames]


def test_pre_roll_never_repeats_frames() -> None:
    words = [syllable(RATE, seed=seed, vowel_ms=250) * 0.05 for seed in range(12)]
    gap = np.zeros(RATE // 5)
    speech = np.concatenate([part for word in words for part in (word, gap)])
    config = GateConfig(pre_roll_ms=1000, hangover_ms=20)
    decisions = run(in_room(speech, at=0.3, seconds=8, room_dbfs=-70), config).decisions
    assert sum(decision.start for decision in decisions) > 3
    next_unsent = 0
    for number, decision in enumerate(decisions):
        if decision.start:
            assert number - decision.pre_roll >= next_unsent
        if decision.send:
            next_unsent = number + 1


@pytest.mark.parametrize("dbfs", [-70, -55, -40])
def test_noise_level(dbfs: float) -> None:
    speech = phrase(RATE, dbfs=dbfs + 25, seed=2)
    whole = noise(RATE * 12, dbfs=dbfs, seed=13)
    whole[RATE * 6 : RATE * 6 + speech.size] += speech
    levels = [decision.background.level_dbfs for decision in run(whole).decisions]
    assert levels[int(5.9 / 0.08)] == pytest.approx(dbfs, abs=0.7)
    assert levels[-1] == pytest.approx(dbfs, abs=0.7)
    assert max(levels[30:]) < dbfs + 4


def test_switched_off_everything_is_sent() -> None:
    decisions = run(np.zeros(RATE), GateConfig(enabled=False)).decisions
    assert [decision.start for decision in decisions] == [True] + [False] * 11
    assert all(decision.send and not decision.end for decision in decisions)


def test_reset_starts_anew() -> None:
    signal = in_room(phrase(RATE, dbfs=-26, seed=1), at=1, seconds=4, room_dbfs=-60)
    frames = signal[: signal.size // FRAME * FRAME].reshape(-1, FRAME).astype(np.float32)
    gate = VoiceGate(GateConfig(), sample_rate=RATE)
    first = [gate.decide(frame) for frame in frames]
    gate.reset()
    assert [gate.decide(frame) for frame in frames] == first
    assert any(decision.send for decision in first)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0, -90, -60, -30, -5])), max_size=12),
    st.integers(0, 2**16),
)
def test_flags_are_consistent_for_any_sound(parts: list[tuple[int, int]], seed: int) -> None:
    gate = VoiceGate(GateConfig(hangover_ms=100), sample_rate=RATE)
    open_before, unsent = False, 0
    rng = np.random.default_rng(seed)
    for frames, dbfs in parts:
        for _ in range(frames):
            gain = 10 ** (dbfs / 20) if dbfs else 0.0
            decision = gate.decide((rng.standard_normal(FRAME) * gain).astype(np.float32))
            assert decision.start is (decision.send and not open_before)
            assert decision.pre_roll <= unsent
            assert decision.send or not decision.end
            assert -127 <= decision.background.level_dbfs <= 0
            unsent = 0 if decision.send else unsent + 1
            open_before = decision.send and not decision.end


@pytest.mark.parametrize("samples", [0, 1279, 1281, 1920])
def test_only_whole_frames(samples: int) -> None:
    gate = VoiceGate(GateConfig(), sample_rate=RATE)
    with pytest.raises(ValueError, match="1280 samples"):
        gate.decide(np.zeros(samples, np.float32))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("aggressiveness", 4),
        ("aggressiveness", -1),
        ("pre_roll_ms", -1),
        ("hangover_ms", 5001),
        ("threshold_db", 0.0),
        ("threshold_db", float("nan")),
    ],
)
def test_settings_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"gate\.{field} = .* is outside"):
        GateConfig(**{field: value})  # type: ignore[arg-type]


def pushed(config: GateConfig, keys: dict[int, bool], frames: int = 20) -> list[GateDecision]:
    """Decisions over loud speech, with the key going down or up before some frames."""
    gate = VoiceGate(config, sample_rate=RATE)
    speech = np.tile(phrase(RATE, dbfs=-20, seed=1), 9)[: frames * FRAME].astype(np.float32)
    decisions = []
    for number, frame in enumerate(speech.reshape(-1, FRAME)):
        if number in keys:
            gate.key(down=keys[number])
        decisions.append(gate.decide(frame))
    return decisions


def test_momentary_key_sends_while_it_is_down() -> None:
    decisions = pushed(GateConfig(mode="momentary"), {5: True, 9: False})
    assert [n for n, decision in enumerate(decisions) if decision.send] == [5, 6, 7, 8, 9]
    assert [n for n, decision in enumerate(decisions) if decision.start] == [5]
    assert [n for n, decision in enumerate(decisions) if decision.end] == [9]
    assert decisions[5].pre_roll == 0


def test_latching_key_sends_from_press_to_press() -> None:
    keys = {3: True, 4: False, 8: True, 9: False, 15: True}
    decisions = pushed(GateConfig(mode="latching"), keys)
    sent = [n for n, decision in enumerate(decisions) if decision.send]
    assert sent == [*range(3, 9), *range(15, 20)]


def test_time_out_waits_for_another_press() -> None:
    config = GateConfig(mode="momentary", time_out_seconds=0.4)
    decisions = pushed(config, {2: True, 12: False, 14: True})
    assert [n for n, one in enumerate(decisions) if one.send] == [*range(2, 7), *range(14, 19)]
    assert [n for n, one in enumerate(decisions) if one.end] == [6, 18]


def test_a_stuck_key_is_stopped() -> None:
    gate = VoiceGate(GateConfig(mode="momentary"), sample_rate=RATE)
    gate.key(down=True)
    sent = [gate.decide(np.zeros(FRAME, np.float32)).send for _ in range(2300)]
    assert sent == [True] * 2250 + [False] * 50  # 180 s


def test_time_out_of_the_voice_waits_for_a_pause() -> None:
    speech = phrase(RATE, dbfs=-20, seed=1, syllables=30)
    signal = np.concatenate([np.zeros(RATE * 2), speech, np.zeros(RATE * 2), speech[: RATE * 2]])
    decisions = run(signal, GateConfig(time_out_seconds=3.0)).decisions
    starts = [n for n, one in enumerate(decisions) if one.start]
    ends = [n for n, one in enumerate(decisions) if one.end]
    assert len(starts) == 2
    assert ends[0] + 1 - starts[0] + decisions[starts[0]].pre_roll == round(3.0 / 0.08)
    assert starts[1] * 0.08 == pytest.approx(4 + speech.size / RATE, abs=0.3)


def test_the_key_means_nothing_to_vox() -> None:
    gate = VoiceGate(GateConfig(), sample_rate=RATE)
    gate.key(down=True)
    assert not gate.keyed
    assert not gate.decide(np.zeros(FRAME, np.float32)).send


def test_unknown_mode() -> None:
    with pytest.raises(ConfigError, match=r"gate\.mode = 'push' is unknown: use one of vox"):
        GateConfig(mode="push")


def test_a_key_for_the_voice() -> None:
    with pytest.raises(ConfigError, match=r"gate\.ptt = 'keyboard' does nothing with gate\.mode"):
        GateConfig(ptt="keyboard")


@pytest.mark.parametrize("tilt", [0.0, 1.0, 2.0])
def test_colour_of_the_background(tilt: float) -> None:
    """What the gate learns of steady noise makes comfort noise of the same colour."""
    whole = noise(RATE * 8, dbfs=-45, seed=3, tilt=tilt)
    background = run(whole).decisions[-1].background
    made = ComfortNoise(RATE).generate(RATE * 8, background.level_dbfs, background.colour)
    powers = []
    for pcm in (whole, made):
        spectrum = np.mean(np.abs(np.fft.rfft(pcm[: RATE * 8].reshape(-1, 640))) ** 2, axis=0)
        powers.append([10 * np.log10(spectrum[low : low + 32].mean()) for low in (8, 40, 120, 200)])
    assert np.max(np.abs(np.array(powers[0]) - np.array(powers[1]))) < 3.5
