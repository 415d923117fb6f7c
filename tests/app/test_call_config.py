from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.app.config import AudioConfig, CallConfig, load_config, override, parse_config
from linkcodec.exceptions import ConfigError
from transport.budget import BudgetRow, SlotRow, check_config

CONFIGS = sorted((Path(__file__).resolve().parent.parent.parent / "configs").glob("*.toml"))
PACKETS = next(path for path in CONFIGS if path.stem == "sat-1200-packets")

MINIMAL = """
[link]
kind = "loopback"
rate = 1200
framing = "sync"
[wire]
frames_per_packet = 7
"""


def minimal() -> CallConfig:
    return parse_config(MINIMAL, source="minimal.toml")


def test_all_kinds_of_link_have_a_configuration() -> None:
    assert {path.stem for path in CONFIGS} >= {
        "loopback-sim",
        "sat-1200-packets",
        "sat-1200-sync",
        "serial-1200-8n1",
        "serial-2400",
        "udp-lan",
    }


def row_of(config: CallConfig) -> BudgetRow | SlotRow:
    return check_config(
        config.link,
        config.wire,
        quantizers=config.codec.quantizers,
        security=config.security,
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.stem))
def test_shipped_configuration_loads_and_fits(path: Path) -> None:
    config = load_config(path)
    assert config.codec.name == "compact"
    row = row_of(config)
    if isinstance(row, BudgetRow):
        assert row.send_ms <= row.collect_ms


def test_numbers_of_the_comments() -> None:
    rows = {path.stem: row_of(load_config(path)) for path in CONFIGS}
    assert round(rows["sat-1200-packets"].wire_bps) == 1200
    assert round(rows["serial-2400"].wire_bps) == 1800
    assert round(rows["udp-lan"].wire_bps) == 3250


def test_defaults() -> None:
    config = minimal()
    assert config.codec.name == "compact"
    assert config.codec.quantizers == 8
    assert config.audio == AudioConfig(input="microphone", output="speaker")


def test_whole_number_serves_as_a_float() -> None:
    config = parse_config(MINIMAL + "[channel]\ndelay_ms = 270\n", source="x.toml")
    assert isinstance(config.channel.delay_ms, float)
    assert config.channel.delay_ms == 270.0


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        ("[codec]\nquantisers = 8", ["x.toml", "'quantisers'", "[codec]", "'quantizers'"]),
        ("[chanel]\nloss = 0.1", ["x.toml", "[chanel]", "'channel'"]),
        ("[zzz]", ["x.toml", "[zzz]", "codec, gate"]),
        ("[codec]\nquantizers = 0", ["x.toml", "codec.quantizers = 0", "1 to 16"]),
        ("[codec]\nquantizers = 99", ["codec.quantizers = 99", "1 to 16"]),
        ("[codec]\nquantizers = true", ["codec.quantizers", "a whole number", "true"]),
        ("[codec]\nquantizers = 8.0", ["codec.quantizers", "a whole number", "8.0"]),
        ('[codec]\nquantizers = "8"', ["codec.quantizers", "a whole number", "'8'"]),
        ("[codec]\nname = 3", ["codec.name", "a text in quotes", "3"]),
        ("[gate]\nenabled = 1", ["gate.enabled", "true or false", "1"]),
        ("[channel]\nloss = nan", ["channel.loss", "nan", "0 to 1"]),
        ("[channel]\nloss = 1.5", ["channel.loss = 1.5", "0 to 1"]),
        ("[audio]\ngain_db = 100", ["audio.gain_db = 100", "-60 to 60"]),
        ('[audio]\ninput = ""', ["audio.input is empty"]),
        ("[codec.name]\nx = 1", ["codec.name", "a section"]),
        ("codec = 3", ["'codec'"]),
        ("[codec\n", ["x.toml", "not valid TOML", "line"]),
    ],
)
def test_wrong_file_says_where_and_how(addition: str, words: list[str]) -> None:
    text = addition + "\n" + MINIMAL if addition.startswith("codec") else MINIMAL + addition
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="x.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_missing_section_and_field_are_named() -> None:
    with pytest.raises(ConfigError, match=r"x.toml: section \[wire\] is missing"):
        parse_config(MINIMAL.split("[wire]", maxsplit=1)[0], source="x.toml")
    with pytest.raises(ConfigError, match=r"x.toml: \[link\] lacks framing"):
        parse_config(MINIMAL.replace('framing = "sync"', ""), source="x.toml")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.toml", tmp_path, binary):
        with pytest.raises(ConfigError, match=str(path)):
            load_config(path)


def test_override_replaces_and_skips_none() -> None:
    config = override(minimal(), {"codec.quantizers": 4, "channel.loss": 0.5, "link.rate": None})
    assert config.codec.quantizers == 4
    assert config.channel.loss == 0.5
    assert config.link.rate == 1200


def test_override_judges_the_flags_of_a_section_together() -> None:
    first = override(minimal(), {"channel.loss": 0.1, "channel.burst": 1.5})
    both = override(first, {"channel.loss": 0.9, "channel.burst": 20.0})
    assert (both.channel.loss, both.channel.burst) == (0.9, 20.0)


def test_redundancy_needs_a_buffer_that_waits_for_it() -> None:
    settings = load_config(PACKETS)
    with pytest.raises(ConfigError, match=r"ceiling_ms = 1000 is less than the 1000.* needs"):
        override(settings, {"wire.frames_per_packet": 6, "jitter_buffer.floor_ms": 40.5})
    longer = {"wire.frames_per_packet": 6, "jitter_buffer.ceiling_ms": 2000.0}
    assert override(settings, longer).wire.repair_ms == 960
    text = PACKETS.read_text()
    with pytest.raises(ConfigError, match=r"^here: jitter_buffer\.ceiling_ms"):
        parse_config(
            text.replace("redundancy_distance = 2", "redundancy_distance = 3").replace(
                "frames_per_packet = 3", "frames_per_packet = 7"
            ),
            source="here",
        )


def test_override_names_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"^--loss: channel.loss = 2"):
        override(minimal(), {"channel.loss": 2.0, "channel.seed": 3})
    with pytest.raises(ConfigError, match=r"^--frames-per-packet: "):
        override(minimal(), {"wire.frames_per_packet": 0})


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet='[]=." \nlinkrate10', max_size=80))
def test_any_text_loads_or_raises_one_line(text: str) -> None:
    message = "x.toml: fine"
    try:
        parse_config(text, source="x.toml")
    except ConfigError as error:
        message = str(error)
    assert message.startswith("x.toml: ")
