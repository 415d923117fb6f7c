"""The configuration of a call: one TOML file per link, overridden by command-line flags.

Each section of the file is a frozen dataclass that checks its own values. The loader is
strict: what it does not know is an error that names the nearest thing it does know.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from linkcodec.app.security import CallSecurity
from linkcodec.codec import CodecInfo
from linkcodec.exceptions import ConfigError
from linkcodec.frame import MAX_QUANTIZERS
from linkcodec.gate import GateConfig
from transport.config import (
    AdaptationConfig,
    ChannelConfig,
    JitterConfig,
    KissConfig,
    LinkConfig,
    SecurityConfig,
    SerialConfig,
    StationConfig,
    WebRtcConfig,
    WireConfig,
)
from transport.wire import CodecLabel, WireSetup

__all__ = [
    "MICROPHONE",
    "SPEAKER",
    "AudioConfig",
    "CallConfig",
    "CodecConfig",
    "load_config",
    "override",
    "parse_config",
    "wire_setup",
]

OPEN_SPEAKER: Final = ("off", "gate")

MICROPHONE: Final = "microphone"
SPEAKER: Final = "speaker"


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """[codec]: which codec, and how many codebook indices each frame carries.

    `weights` (a folder or a model hub id), `device` and `precision` are for codecs whose
    weights are not in the package; empty means the codec's default.
    """

    name: str = "compact"
    quantizers: int = 8
    weights: str = ""
    device: str = ""
    precision: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.quantizers <= MAX_QUANTIZERS:
            raise ConfigError(
                f"codec.quantizers = {self.quantizers} is not possible: use 1 to {MAX_QUANTIZERS}"
            )


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """[audio]: where speech comes from and goes to.

    `input` is "microphone", a file, or "-" for standard input; `output` is "speaker", a
    file, or "-" for standard output. A device is the name or number that
    `linkcodec devices` shows; empty means the system's default. `gain_db` is applied to
    the input; `auto_level` then brings speech to -24 dB full scale, slowly; `mute` sends
    silence instead. `noise_suppression` takes steady noise out of the input before all of
    that (package webrtc-noise-gain). `open_speaker` is for a microphone that hears the speaker
    of the same `linkcodec talk`: "gate" keeps that sound from the far end; "off" needs
    headphones.
    """

    input: str = MICROPHONE
    output: str = SPEAKER
    input_device: str = ""
    output_device: str = ""
    gain_db: float = 0.0
    auto_level: bool = False
    mute: bool = False
    noise_suppression: bool = False
    open_speaker: str = "off"

    def __post_init__(self) -> None:
        if self.open_speaker not in OPEN_SPEAKER:
            raise ConfigError(
                f"audio.open_speaker = '{self.open_speaker}' is unknown: "
                f"use one of {', '.join(OPEN_SPEAKER)}"
            )
        if not -60.0 <= self.gain_db <= 60.0:
            raise ConfigError(f"audio.gain_db = {self.gain_db:g} is not possible: use -60 to 60")
        for name in ("input", "output"):
            if not getattr(self, name):
                raise ConfigError(f"audio.{name} is empty: give a device, a file or '-'")


@dataclass(frozen=True, kw_only=True)
class CallConfig:
    """Everything that both ends of a call need to know; [link] and [wire] have no defaults."""

    link: LinkConfig
    wire: WireConfig
    codec: CodecConfig = field(default_factory=CodecConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    channel: ChannelConfig = field(default_factory=ChannelConfig)
    jitter_buffer: JitterConfig = field(default_factory=JitterConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    station: StationConfig = field(default_factory=StationConfig)
    serial: SerialConfig = field(default_factory=SerialConfig)
    kiss: KissConfig = field(default_factory=KissConfig)
    webrtc: WebRtcConfig = field(default_factory=WebRtcConfig)
    security: SecurityConfig = field(default_factory=SecurityConfig)

    def __post_init__(self) -> None:
        needed = self.wire.repair_ms + self.jitter_buffer.floor_ms
        if needed > self.jitter_buffer.ceiling_ms:
            raise ConfigError(
                f"jitter_buffer.ceiling_ms = {self.jitter_buffer.ceiling_ms:g} is less than the "
                f"{needed:g} that wire.redundancy needs: raise it, or shorten the packets"
            )


_SECTIONS: Final[dict[str, type[Any]]] = {
    "codec": CodecConfig,
    "gate": GateConfig,
    "audio": AudioConfig,
    "link": LinkConfig,
    "wire": WireConfig,
    "channel": ChannelConfig,
    "jitter_buffer": JitterConfig,
    "adaptation": AdaptationConfig,
    "station": StationConfig,
    "serial": SerialConfig,
    "kiss": KissConfig,
    "webrtc": WebRtcConfig,
    "security": SecurityConfig,
}

_KINDS: Final[dict[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
}


def load_config(path: str | Path) -> CallConfig:
    """Read a TOML file.

    Raises:
        ConfigError: the file is missing, not TOML, or has a section, field, type or value
            that is not known; the text names file and field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file (see configs/)") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a TOML configuration file (not UTF-8 text)") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the file: {error.strerror or error}") from None
    return parse_config(text, source=str(path))


def parse_config(text: str, *, source: str) -> CallConfig:
    """As `load_config`, from the text of a file called `source`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None
    sections: dict[str, Any] = {}
    for name, table in document.items():
        if name not in _SECTIONS:
            raise ConfigError(f"{source}: unknown section [{name}]{_hint(name, _SECTIONS)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{source}: '{name}' is a section: write [{name}] on its own line")
        sections[name] = _parse_section(name, table, source)
    for name in ("link", "wire"):
        if name not in sections:
            raise ConfigError(f"{source}: section [{name}] is missing (see configs/)")
    try:
        return CallConfig(**sections)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def _parse_section(name: str, table: Mapping[str, object], source: str) -> object:
    kind = _SECTIONS[name]
    types = _field_types(kind)
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in types:
            raise ConfigError(f"{source}: unknown field '{key}' in [{name}]{_hint(key, types)}")
        wanted = types[key]
        # TOML's 1 is a fine float, but its true is not a fine integer.
        values[key] = float(value) if wanted is float and type(value) is int else value
        if type(values[key]) is not wanted:
            raise ConfigError(
                f"{source}: {name}.{key} must be {_KINDS[wanted]}, not {_describe(value)}"
            )
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except TypeError:
        missing = [
            item.name
            for item in dataclasses.fields(kind)
            if item.name not in values
            and item.default is dataclasses.MISSING
            and item.default_factory is dataclasses.MISSING
        ]
        raise ConfigError(f"{source}: [{name}] lacks {', '.join(missing)}") from None


def _field_types(kind: type[Any]) -> dict[str, type]:
    hints = typing.get_type_hints(kind)
    types: dict[str, type] = {}
    for item in dataclasses.fields(kind):
        hint = hints[item.name]
        choices = [choice for choice in typing.get_args(hint) if isinstance(choice, type)]
        concrete = [choice for choice in choices if choice is not type(None)]
        if typing.get_origin(hint) is typing.Literal:
            types[item.name] = str
        else:
            types[item.name] = concrete[0] if concrete else hint
    return types


def _describe(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a section"
    return f"'{value}'" if isinstance(value, str) else str(value)


def _hint(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f": did you mean '{near[0]}'?" if near else f": use one of {', '.join(names)}"


def override(config: CallConfig, flags: Mapping[str, object]) -> CallConfig:
    """The configuration with some fields replaced; keys are "section.field", None is skipped.

    Raises:
        ConfigError: a value is out of range; the text names the flags.
    """
    by_section: dict[str, dict[str, object]] = {}
    for path, value in flags.items():
        if value is not None:
            section, name = path.split(".")
            by_section.setdefault(section, {})[name] = value
    parts: dict[str, Any] = {}
    for section, values in by_section.items():
        # All flags of a section at once: one alone may not go with what the file says.
        try:
            part = dataclasses.replace(getattr(config, section), **values)
        except ConfigError as error:
            names = [name for name in values if f"{section}.{name} " in str(error)] or values
            given = ", ".join(f"--{name.replace('_', '-')}" for name in names)
            raise ConfigError(f"{given}: {error}") from None
        parts[section] = part
    return dataclasses.replace(config, **parts)


def wire_setup(
    config: CallConfig, info: CodecInfo, *, sends: bool, security: CallSecurity | None = None
) -> WireSetup:
    """What the transport needs to know of a call with the codec that `info` describes.

    security: the call's key, modes and sessions; None with security.mode "off".
    """
    sessions = security or CallSecurity()
    label = CodecLabel(
        name=info.name,
        version=info.version,
        quantizers=config.codec.quantizers if sends else info.quantizers,
        weights=int(info.weights_hash[:4] or "0", 16),
    )
    return WireSetup(
        link=config.link,
        wire=config.wire,
        label=label,
        adaptation=config.adaptation,
        station=config.station,
        security=config.security,
        outgoing=sessions.outgoing if sends else None,
        incoming=None if sends else sessions.incoming,
        pre_roll_frames=config.gate.pre_roll_frames,
    )
