"""Codecs to measure: ours, and the peers that Debian's packages bring.

Every system takes and gives speech at 16 kHz and returns it aligned with its input, as
long as its input and at the level the codec gave it.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soundfile  # type: ignore[import-untyped]

from benchmarks.alignment import Pcm, align
from benchmarks.clips import SAMPLE_RATE, resample
from linkcodec.codec import Codec
from linkcodec.exceptions import InputError
from linkcodec.frame import FRAME_RATE, INDEX_BITS

_TAIL_SECONDS: Final = 0.2
_LIBCODEC2: Final = "libcodec2.so.1.0"


class System(ABC):
    """Something that speech goes through.

    `name` is good for a file name, `version` enters the key of cached results, `bitrate` is
    in bit/s of payload (None: not coded), `delay` what the codec adds in samples at 16 kHz.
    """

    name: str
    title: str
    version: str
    bitrate: float | None
    delay: int = 0
    ours: bool = False

    @abstractmethod
    def code(self, pcm: Pcm) -> Pcm:
        """Through encoder and decoder, delay included. Shape (samples,) both ways."""

    def process(self, pcm: Pcm) -> Pcm:
        """`code`, aligned with its input and of its length."""
        padded = np.pad(pcm, (0, round(_TAIL_SECONDS * SAMPLE_RATE)))
        return align(self.code(padded), delay=self.delay, length=len(pcm))


class Clean(System):
    """The signal itself: what the measures give at best."""

    name = "clean"
    title = "clean signal"
    version = "1"
    bitrate = None

    def code(self, pcm: Pcm) -> Pcm:
        return pcm


class OurCodec(System):
    """A codec of this project with so many codebooks, streaming, nothing lost."""

    ours = True

    def __init__(self, codec: Codec, *, quantizers: int) -> None:
        codec.check_quantizers(quantizers)
        info = codec.info
        self._codec = codec
        self._quantizers = quantizers
        build = f"{info.name}-{info.build}" if info.build else info.name
        self.name = f"{build}-{quantizers}"
        self.title = f"{build}, {quantizers} book{'s' if quantizers > 1 else ''}"
        self.version = f"{info.version}/{info.weights_hash}"
        self.bitrate = FRAME_RATE * INDEX_BITS * quantizers

    def code(self, pcm: Pcm) -> Pcm:
        info = self._codec.info
        samples = resample(pcm, SAMPLE_RATE, info.sample_rate)
        encoder = self._codec.encoder(quantizers=self._quantizers)
        decoder = self._codec.decoder()
        frames = encoder.push(samples) + encoder.flush()
        decoded = np.concatenate([decoder.decode(frame) for frame in frames])
        decoded = align(decoded, delay=info.delay, length=len(samples))
        return resample(decoded, info.sample_rate, SAMPLE_RATE)


class Codec2(System):
    """Codec2 through Debian's libcodec2. `mode` is CODEC2_MODE_... of its codec2.h."""

    def __init__(self, *, name: str, mode: int, bitrate: int, delay: int) -> None:
        self.name = f"codec2-{name.lower()}"
        self.title = f"Codec2 {name}"
        self.bitrate = bitrate
        self.delay = delay
        self.version = debian_version("libcodec2-1.0")
        self._mode = mode
        self._library = load_libcodec2()

    def code(self, pcm: Pcm) -> Pcm:
        library = self._library
        state = _created(library.codec2_create(self._mode), self.title)
        try:
            size = library.codec2_samples_per_frame(state)
            packet = ctypes.create_string_buffer((library.codec2_bits_per_frame(state) + 7) // 8)

            def one_frame(samples: int, out: int) -> None:
                library.codec2_encode(state, packet, samples)
                library.codec2_decode(state, out, packet)

            narrow = to_int16(resample(pcm, SAMPLE_RATE, 8000))
            return resample(by_frames(narrow, size=size, one_frame=one_frame), 8000, SAMPLE_RATE)
        finally:
            library.codec2_destroy(state)


class LpcNet(System):
    """LPCNet as FreeDV 2020 uses it: 52 bits per 30 ms, direct split quantiser.

    Debian builds it into libcodec2 and exports its lpcnet_freedv functions.
    """

    name = "lpcnet-1733"
    title = "LPCNet"
    bitrate = 52 / 0.03
    _DIRECT_SPLIT: Final = 1

    def __init__(self, *, delay: int) -> None:
        self.delay = delay
        self.version = debian_version("libcodec2-1.0")
        self._library = load_libcodec2()

    def code(self, pcm: Pcm) -> Pcm:
        library = self._library
        state = _created(library.lpcnet_freedv_create(self._DIRECT_SPLIT), self.title)
        try:
            size = library.lpcnet_samples_per_frame(state)
            # One char per bit.
            frame = ctypes.create_string_buffer(library.lpcnet_bits_per_frame(state))

            def one_frame(samples: int, out: int) -> None:
                library.lpcnet_enc(state, samples, frame)
                library.lpcnet_dec(state, frame, out)

            return by_frames(to_int16(pcm), size=size, one_frame=one_frame)
        finally:
            library.lpcnet_freedv_destroy(state)


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Command-line coder: {in}, {bits} and {out} stand for its files."""

    encode: tuple[str, ...]
    decode: tuple[str, ...]
    package: str


class CommandCodec(System):
    """A codec behind two commands that read and write files."""

    def __init__(
        self,
        commands: Commands,
        *,
        name: str,
        title: str,
        bitrate: int,
        sample_rate: int,
        delay: int,
    ) -> None:
        self.name = name
        self.title = title
        self.bitrate = bitrate
        self.delay = delay
        self.version = f"{debian_version(commands.package)} {' '.join(commands.encode)}"
        self._commands = commands
        self._sample_rate = sample_rate

    def code(self, pcm: Pcm) -> Pcm:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: str(Path(folder) / f"{name}.wav") for name in ("in", "bits", "out")}
            samples = to_int16(resample(pcm, SAMPLE_RATE, self._sample_rate))
            soundfile.write(files["in"], samples, self._sample_rate, subtype="PCM_16")
            for command in (self._commands.encode, self._commands.decode):
                run_tool([word.format(**files) for word in command], self._commands.package)
            decoded, rate = soundfile.read(files["out"], dtype="float32")
        return resample(decoded, rate, SAMPLE_RATE)


_OPUS: Final = Commands(
    encode=(
        *("opusenc", "--quiet", "--bitrate", "6", "--hard-cbr", "--framesize", "60"),
        *("{in}", "{bits}"),
    ),
    decode=("opusdec", "--quiet", "--rate", "16000", "{bits}", "{out}"),
    package="opus-tools",
)
_SPEEX: Final = Commands(
    encode=("speexenc", "--narrowband", "--quality", "0", "{in}", "{bits}"),
    decode=("speexdec", "{bits}", "{out}"),
    package="speex",
)

PEERS: Final[dict[str, Callable[[], System]]] = {
    "clean": Clean,
    "opus-6000": lambda: CommandCodec(
        _OPUS, name="opus-6000", title="Opus", bitrate=6000, sample_rate=SAMPLE_RATE, delay=0
    ),
    "codec2-3200": lambda: Codec2(name="3200", mode=0, bitrate=3200, delay=304),
    "speex-2150": lambda: CommandCodec(
        _SPEEX, name="speex-2150", title="Speex", bitrate=2150, sample_rate=8000, delay=16
    ),
    "lpcnet-1733": lambda: LpcNet(delay=896),
    "codec2-1200": lambda: Codec2(name="1200", mode=5, bitrate=1200, delay=304),
    "codec2-700c": lambda: Codec2(name="700C", mode=8, bitrate=700, delay=480),
}
"""Makers of the clean signal and of the peers, by name. The delays are those that
`python -m benchmarks.quality --delays` measured over the evaluation clips."""


def load_peers(names: Sequence[str]) -> list[System]:
    """Peers by name.

    Raises:
        InputError: a name is unknown, or what the peer needs is not installed.
    """
    for name in names:
        if name not in PEERS:
            raise InputError(f"unknown peer '{name}': use some of {','.join(PEERS)}")
    return [PEERS[name]() for name in names]


def load_libcodec2() -> Any:
    """The shared library with Codec2 and LPCNet.

    Raises:
        InputError: it is missing, or was built without LPCNet.
    """
    try:
        library = ctypes.CDLL(_LIBCODEC2)
        library.codec2_create.argtypes = [ctypes.c_int]
        library.lpcnet_freedv_create.argtypes = [ctypes.c_int]
    except (OSError, AttributeError):
        raise InputError(
            f"{_LIBCODEC2} with LPCNet is missing: install Debian's package libcodec2-1.0, "
            "or choose other --peers"
        ) from None
    pointer = ctypes.c_void_p
    library.codec2_create.restype = library.lpcnet_freedv_create.restype = pointer
    for function in ("codec2_samples_per_frame", "codec2_bits_per_frame"):
        getattr(library, function).argtypes = [pointer]
    for function in ("lpcnet_samples_per_frame", "lpcnet_bits_per_frame"):
        getattr(library, function).argtypes = [pointer]
    for function in ("codec2_encode", "codec2_decode", "lpcnet_enc", "lpcnet_dec"):
        getattr(library, function).argtypes = [pointer, pointer, pointer]
        getattr(library, function).restype = None
    for function in ("codec2_destroy", "lpcnet_freedv_destroy"):
        getattr(library, function).argtypes = [pointer]
        getattr(library, function).restype = None
    return library


def by_frames(
    pcm: npt.NDArray[np.int16], *, size: int, one_frame: Callable[[int, int], None]
) -> Pcm:
    """Samples through a C coder frame by frame, the last one filled with zeros.

    `one_frame` gets the addresses of `size` input and `size` output samples.
    """
    count = -(-len(pcm) // size)
    samples = np.pad(pcm, (0, count * size - len(pcm)))
    out = np.zeros(count * size, dtype=np.int16)
    for start in range(0, count * size, size):
        offset = start * samples.itemsize
        one_frame(samples.ctypes.data + offset, out.ctypes.data + offset)
    return np.asarray(out / 32768, dtype=np.float32)


def to_int16(pcm: Pcm) -> npt.NDArray[np.int16]:
    """16-bit samples, clipped at full scale."""
    return np.clip(np.round(pcm * 32768.0), -32768, 32767).astype(np.int16)


def run_tool(command: Sequence[str], package: str) -> None:
    """Run a command-line tool.

    Raises:
        InputError: it is not installed, or it failed.
    """
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise InputError(
            f"{command[0]} is missing: install Debian's package {package}, or choose other --peers"
        ) from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(f"{command[0]} failed: {reason[-1] if reason else error}") from None


def debian_version(package: str) -> str:
    """Version of an installed Debian package; "unknown" where there is none, or no dpkg."""
    query = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"


def _created(state: int | None, title: str) -> int:
    if not state:
        raise InputError(f"{title} could not be started: the library refused its mode")
    return state
