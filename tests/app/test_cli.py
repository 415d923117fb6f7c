from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import tonecodec
from conftest import ROOT, read_pcm
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

import receiver
import sender
from linkcodec.app.cli import build_parser, main
from linkcodec.app.command import run_command
from linkcodec.callfile import CallWriter
from linkcodec.devices import DeviceInfo
from linkcodec.exceptions import DeviceError
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence
from linkcodec.tokenfile import load_tokens

COMMANDS = ("encode", "decode", "simulate", "budget", "devices", "talk", "send", "receive", "key")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _codec(tone_codec: tonecodec.ToneCodec) -> None:
    """Every test here knows the codec `tone`."""


def fails(capture: Capture, *arguments: object) -> str:
    """The one line on standard error of a command that ends with status 2."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else -1
    output, errors = capture.readouterr()
    assert status == 2
    assert output == ""
    assert errors.startswith("linkcodec")
    assert errors.count("\n") == 1
    assert errors.endswith("\n")
    return errors


def runs(capture: Capture, *arguments: object) -> str:
    """Standard output of a command that ends with status 0."""
    status = main([str(argument) for argument in arguments])
    output, errors = capture.readouterr()
    assert status == 0, errors
    assert errors == ""
    return output


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: linkcodec {command}" in text
    assert len(text.split("\n\n")[1]) > 20


def test_daemons_explain_themselves(capsys: Capture) -> None:
    for daemon in (sender, receiver):
        with pytest.raises(SystemExit) as ended:
            daemon.main(["--help"])
        assert ended.value.code == 0
        assert "--config" in capsys.readouterr().out


def test_all_commands_are_listed() -> None:
    text = build_parser().format_help()
    assert all(command in text for command in COMMANDS)


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "linkcodec", "budget", "--rate", "1200"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "1200 bit/s" in done.stdout


# encode and decode


def test_commands_use_one_thread_for_matrices() -> None:
    """More would spin where another core is busy: twenty times the processor time."""
    seen: list[int] = []

    def command() -> int:
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return 0

    with threadpool_limits(limits=2, user_api="blas"):
        assert run_command("linkcodec test", command) == 0
    assert seen
    assert set(seen) == {1}


def test_encode_and_decode_keep_the_length(speech: Path, tmp_path: Path, capsys: Capture) -> None:
    tokens, out = tmp_path / "speech.lkc", tmp_path / "out.wav"
    assert "4.00 s" in runs(capsys, "encode", speech, tokens, "--codec", "tone")
    runs(capsys, "decode", tokens, out)
    before, after = read_pcm(speech), read_pcm(out)
    assert before.size == after.size
    level = [np.sqrt(np.mean(pcm.reshape(-1, 320) ** 2, axis=1)) for pcm in (before, after)]
    assert np.corrcoef(level[0], level[1])[0, 1] > 0.95


def test_encode_in_blocks_gives_the_frames_of_the_whole(
    speech: Path, tmp_path: Path, capsys: Capture, tone_codec: tonecodec.ToneCodec
) -> None:
    runs(capsys, "encode", speech, tmp_path / "a.lkc", "--codec", "tone", "--quantizers", 5)
    encoder = tone_codec.encoder(quantizers=5)
    expected = encoder.push(read_pcm(speech)) + encoder.flush()
    stored = load_tokens(tmp_path / "a.lkc")
    assert list(stored.frames) == expected
    assert stored.quantizers == 5


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_decode_at_another_rate(rate: int, speech: Path, tmp_path: Path, capsys: Capture) -> None:
    runs(capsys, "encode", speech, tmp_path / "a.lkc", "--codec", "tone")
    runs(capsys, "decode", tmp_path / "a.lkc", tmp_path / "a.wav", "--sample-rate", rate)
    pcm, written = soundfile.read(tmp_path / "a.wav")
    assert written == rate
    assert abs(pcm.size - 4 * rate) <= 1


def test_decode_with_fewer_codebooks_differs(speech: Path, tmp_path: Path, capsys: Capture) -> None:
    runs(capsys, "encode", speech, tmp_path / "a.lkc", "--codec", "tone")
    runs(capsys, "decode", tmp_path / "a.lkc", tmp_path / "all.wav")
    runs(capsys, "decode", tmp_path / "a.lkc", tmp_path / "one.wav", "--quantizers", 1)
    assert not np.array_equal(read_pcm(tmp_path / "all.wav"), read_pcm(tmp_path / "one.wav"))


def test_truncated_token_file(speech: Path, tmp_path: Path, capsys: Capture) -> None:
    runs(capsys, "encode", speech, tmp_path / "a.lkc", "--codec", "tone")
    data = (tmp_path / "a.lkc").read_bytes()
    for size in (0, 3, 20, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.lkc").write_bytes(data[:size])
        assert "cut.lkc" in fails(capsys, "decode", tmp_path / "cut.lkc", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


def test_token_file_of_another_version_of_the_codec(
    speech: Path, tmp_path: Path, capsys: Capture, tone_codec: tonecodec.ToneCodec
) -> None:
    runs(capsys, "encode", speech, tmp_path / "a.lkc", "--codec", "tone")
    tone_codec.info = dataclasses.replace(tone_codec.info, version=2)
    text = fails(capsys, "decode", tmp_path / "a.lkc", tmp_path / "out.wav")
    assert "tone version 1" in text
    assert "version 2" in text
    assert "a.lkc" in text


def test_decode_with_another_build_of_the_codec(
    speech: Path, tmp_path: Path, capsys: Capture
) -> None:
    tokens = tmp_path / "a.lkc"
    runs(capsys, "encode", speech, tokens, "--codec", "compact-light")
    runs(capsys, "decode", tokens, tmp_path / "a.wav", "--codec", "compact-light")
    runs(capsys, "decode", tokens, tmp_path / "b.wav")
    text = fails(capsys, "decode", tokens, tmp_path / "c.wav", "--codec", "tone")
    assert "a.lkc" in text


def test_decode_a_recording_of_a_call(
    tmp_path: Path, capsys: Capture, tone_codec: tonecodec.ToneCodec
) -> None:
    """Whole, cut off, and of other weights."""
    path, out = tmp_path / "call-heard.lkc", tmp_path / "out.wav"
    frame = Frame((1000, 500, 1, 1, 1, 1))
    with CallWriter(path, tone_codec.info) as writer:
        items: list[PlayoutItem] = [*[frame] * 10, LOST, Silence()]
        for item in items:
            writer.add(item)
    assert "0.94 s at 16000 Hz\n" in runs(capsys, "decode", path, out)
    assert read_pcm(out).size == 12 * tonecodec.FRAME_SIZE - tone_codec.info.delay
    text = fails(capsys, "decode", path, out, "--quantizers", 7)
    assert f"--quantizers 7 is not possible: {path} holds 1 to 6" in text
    cut = tmp_path / "cut.lkc"
    cut.write_bytes(path.read_bytes()[:-1])
    assert "0.94 s at 16000 Hz (the recording was cut off there)" in runs(
        capsys, "decode", cut, out
    )
    tone_codec.info = dataclasses.replace(tone_codec.info, weights_hash="ff" * 16)
    assert "use the weights of that call" in fails(capsys, "decode", path, out)


# simulate


def test_simulate_writes_sound_and_report(
    speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture
) -> None:
    out, report = tmp_path / "out.wav", tmp_path / "report.json"
    text = runs(
        capsys, "simulate", speech, out, "--config", tone_config, "--report", report, "--seed", 3
    )
    assert "1200 bit/s" in text
    assert read_pcm(out).size == read_pcm(speech).size
    figures = json.loads(report.read_text())
    assert figures["codec"] == "tone"
    assert figures["quantizers"] == 8
    assert figures["seed"] == 3
    assert figures["wire_bps_peak_1s"] <= 1200
    assert figures["frames_sent"] == figures["frames_received"] + figures["frames_lost"]


def test_simulate_repeats_itself(
    speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture
) -> None:
    for name in ("a.wav", "b.wav"):
        arguments = ("--config", tone_config, "--loss", 0.3, "--burst", 2, "--seed", 7)
        runs(capsys, "simulate", speech, tmp_path / name, *arguments, "--quiet")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_simulate_takes_traces(
    speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "loss.txt").write_text("1\n")
    (tmp_path / "delay.txt").write_text("250\n300\n")
    arguments = ("simulate", speech, tmp_path / "a.wav", "--config", tone_config)
    report = ("--report", tmp_path / "r.json")
    runs(capsys, *arguments, *report, "--loss-trace", tmp_path / "loss.txt")
    assert json.loads((tmp_path / "r.json").read_text())["frames_received"] == 0
    runs(capsys, *arguments, *report, "--delay-trace", tmp_path / "delay.txt")
    figures = json.loads((tmp_path / "r.json").read_text())
    assert 240 <= figures["latency_ms"]["channel"] <= 310


def test_simulate_does_not_load_torch(speech: Path, tone_config: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'tests')]!r}; import tonecodec; "
        "tonecodec.register(); from linkcodec.app.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status or ('torch' in sys.modules) * 99)"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "simulate", str(speech), str(tmp_path / "out.wav")),
            *("--config", str(tone_config)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# Wrong input


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files that are no audio."""
    (tmp_path / "text.wav").write_bytes(b"This is not audio.\n" * 50)
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "no-samples.wav", np.zeros(0), 16_000)
    return tmp_path


@pytest.mark.parametrize("name", ["missing.wav", "text.wav", "empty.wav", "no-samples.wav"])
@pytest.mark.parametrize("command", ["encode", "simulate"])
def test_what_is_no_audio(
    name: str, command: str, folder: Path, tone_config: Path, capsys: Capture
) -> None:
    options: tuple[object, ...] = ("--config", tone_config)
    if command == "encode":
        options = ("--codec", "tone")
    assert name in fails(capsys, command, folder / name, folder / "out.wav", *options)


@pytest.mark.parametrize("count", [0, -1, 99])
def test_impossible_numbers_of_codebooks(
    count: int, speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture
) -> None:
    runs(capsys, "encode", speech, tmp_path / "a.lkc", "--codec", "tone")
    option = ("--quantizers", count)
    out = tmp_path / "out.wav"
    for arguments in (
        ("encode", speech, tmp_path / "b.lkc", "--codec", "tone"),
        ("decode", tmp_path / "a.lkc", out),
        ("simulate", speech, out, "--config", tone_config),
        ("budget", "--rate", 1200),
    ):
        text = fails(capsys, *arguments, *option)
        assert str(count) in text
        assert "1 to " in text


def test_unknown_codec(speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture) -> None:
    text = fails(capsys, "encode", speech, tmp_path / "a.lkc", "--codec", "speex")
    assert "'speex'" in text
    assert "compact" in text
    tone_config.write_text(tone_config.read_text().replace('"tone"', '"speex"'))
    out = tmp_path / "out.wav"
    assert "'speex'" in fails(capsys, "simulate", speech, out, "--config", tone_config)


def test_misspelt_field(speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture) -> None:
    tone_config.write_text(tone_config.read_text().replace("quantizers", "quantisers"))
    text = fails(capsys, "simulate", speech, tmp_path / "out.wav", "--config", tone_config)
    assert "tone.toml" in text
    assert "did you mean 'quantizers'?" in text


def test_what_does_not_fit_the_line(
    speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture
) -> None:
    options = ("--config", tone_config, "--frames-per-packet", 2)
    text = fails(capsys, "simulate", speech, tmp_path / "out.wav", *options)
    assert "quantizers = 8 with frames_per_packet = 2" in text
    assert "frames_per_packet = 6" in text


@pytest.mark.parametrize(
    "options",
    [
        ("--loss", "2"),
        ("--loss", "nan"),
        ("--loss", "lots"),
        ("--burst", "0"),
        ("--ber", "-0.1"),
        ("--seed", "x"),
        ("--quantizers", "1.5"),
        ("--loss-trace", "missing.txt"),
        ("--delay-trace", "missing.txt"),
        ("--report", "missing/report.json"),
        ("--report", "."),
        ("--bogus",),
    ],
)
def test_wrong_options(
    options: tuple[str, ...], speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out.wav"
    text = fails(capsys, "simulate", speech, out, "--config", tone_config, *options)
    assert options[0].removeprefix("--") in text or options[1] in text
    assert not out.exists()


def test_damaged_trace(speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("0\n1\n2\n")
    options = ("--config", tone_config, "--loss-trace", trace)
    text = fails(capsys, "simulate", speech, tmp_path / "out.wav", *options)
    assert f"{trace}, line 3" in text


def test_output_into_a_missing_folder(
    speech: Path, tone_config: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "missing" / "out.wav"
    for arguments in (
        ("encode", speech, out, "--codec", "tone"),
        ("simulate", speech, out, "--config", tone_config),
    ):
        assert f"{tmp_path / 'missing'}" in fails(capsys, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("bogus",),
        ("encode",),
        ("simulate", "a.wav", "b.wav"),
        ("send",),
        ("receive", "--config", "missing.toml"),
        ("talk", "--config", "missing.toml"),
        ("budget", "--rate", "0"),
        ("budget", "--rate", "fast"),
        ("budget", "--framing", "telex"),
        ("decode", "a.lkc", "b.wav", "--sample-rate", "0"),
        ("decode", "missing.lkc", "b.wav"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], capsys: Capture) -> None:
    assert len(fails(capsys, *arguments)) > 20


# budget, devices, daemons


@pytest.mark.parametrize("framing", ["sync", "8n1", "udp", "kiss", "webrtc"])
def test_budget_prints_what_fits(framing: str, capsys: Capture) -> None:
    text = runs(capsys, "budget", "--rate", 9600, "--framing", framing)
    assert len(text.splitlines()) > 5


def test_budget_of_a_configuration(tone_config: Path, capsys: Capture) -> None:
    text = runs(capsys, "budget", "--config", tone_config)
    assert f"{tone_config} fits" in text
    assert " 1186 " in text


def test_budget_of_a_hopeless_line(capsys: Capture) -> None:
    assert "Nothing fits" in runs(capsys, "budget", "--rate", 60, "--framing", "udp")


@pytest.mark.parametrize("command", ["send", "receive", "talk", "devices"])
def test_missing_sound_card_is_one_line(
    command: str, tone_config: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def absent(*_: object, **__: object) -> None:
        raise DeviceError("no sound device: use a file or '-'")

    for name in ("list_devices", "open_input", "open_output"):
        monkeypatch.setattr(f"linkcodec.devices.{name}", absent)
    options = [] if command == "devices" else ["--config", str(tone_config)]
    assert main([command, *options]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors == f"linkcodec {command}: error: no sound device: use a file or '-'\n"


def test_daemon_refuses_wrong_input(tone_config: Path, tmp_path: Path, capsys: Capture) -> None:
    missing = str(tmp_path / "missing.wav")
    assert sender.main(["--config", str(tone_config), "--input", missing]) == 2
    assert "missing.wav" in capsys.readouterr().err
    assert receiver.main(["--config", str(tone_config), "--output", "out.mp3"]) == 2
    assert "out.mp3" in capsys.readouterr().err


def test_devices_of_a_receive_only_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    speaker = DeviceInfo(
        index=3,
        name="USB speaker",
        host_api="ALSA",
        inputs=0,
        outputs=2,
        sample_rate=48_000.0,
        is_default_input=False,
        is_default_output=True,
    )
    monkeypatch.setattr("linkcodec.devices.list_devices", lambda: [speaker])
    text = runs(capsys, "devices")
    assert "USB speaker [ALSA], the default speaker" in text
    assert "No microphone" in text
    monkeypatch.setattr("linkcodec.devices.list_devices", list)
    assert "No sound devices" in runs(capsys, "devices")
