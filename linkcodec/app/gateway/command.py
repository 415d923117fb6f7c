"""`linkcodec gateway`: serves the page, and runs the call that it belongs to."""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import queue
import re
import secrets
import ssl
import threading
import time
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

from linkcodec.app.codecs import open_codec
from linkcodec.app.command import StopFlag
from linkcodec.app.gateway.browser import Browser
from linkcodec.app.gateway.microphone import BrowserMicrophone
from linkcodec.app.metrics import add_metrics_options, open_reporter
from linkcodec.app.options import add_config_options, read_config
from linkcodec.app.ptt import refuse_key
from linkcodec.app.soundpipe import SoundPipe
from linkcodec.app.status import add_status_options, open_status
from linkcodec.app.talk import CALL_OPTIONS, Duplex
from linkcodec.exceptions import ConfigError, LinkError
from transport.calls import is_control
from transport.config import THIS_MACHINE, parse_address
from transport.http import Request, Response, serve
from transport.signalling import parse_description
from transport.text import MAX_TEXT
from transport.wire import TextMessage, WireEvent

__all__ = ["add_arguments", "gateway"]

TOKEN_VARIABLE: Final = "LINKCODEC_TOKEN"  # noqa: S105
_SHORTEST_TOKEN: Final = 12
_REFUSAL_SECONDS: Final = 0.5
_START_SECONDS: Final = 10.0
_MOST_TEXTS: Final = 16


class _Web:
    """The page's server and the browser's connection, in a thread of their own."""

    def __init__(
        self,
        *,
        call: Duplex,
        microphone: BrowserMicrophone,
        speaker: SoundPipe,
        sample_rate: int,
        stun: str,
        token: str,
        address: tuple[str, int],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._call = call
        self._microphone = microphone
        self._speaker = speaker
        self._token = token.encode()
        self._address = address
        self._tls = tls
        self._page = _page()
        self._texts: queue.Queue[str] = queue.Queue(_MOST_TEXTS)
        self._failure: LinkError | None = None
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._browser = Browser(
            microphone=microphone,
            speaker=speaker,
            snapshot=self._snapshot,
            text=self._take_text,
            sample_rate=sample_rate,
            stun=stun,
        )
        self._thread = threading.Thread(target=self._run, name="gateway")

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except LinkError as error:
            self._failure = error
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        host, port = self._address
        self._serving = asyncio.ensure_future(
            serve(self._respond, host=host, port=port, tls=self._tls, listening=self._ready.set)
        )
        try:
            with suppress(asyncio.CancelledError):
                await self._serving
        finally:
            await self._browser.close()

    async def _respond(self, request: Request) -> Response:
        if request.method == "GET" and request.path in {"/", "/index.html"}:
            return self._page
        if (request.method, request.path) != ("POST", "/join"):
            return Response(status=404)
        given = request.fields.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("latin-1"), self._token):
            await asyncio.sleep(_REFUSAL_SECONDS)
            return Response(status=401)
        answer = await self._browser.join(parse_description(request.body, "offer"))
        return Response(status=200, body=json.dumps(answer).encode())

    # What the call's own threads ask and tell.

    def send_texts(self, now: float) -> None:
        """Send what was typed; for the sender's thread."""
        with suppress(queue.Empty):
            while True:
                text = self._texts.get_nowait()
                try:
                    self._call.outgoing.wire.send_text(text, now)
                except ConfigError as error:
                    self._tell({"problem": str(error)})

    def heard(self, event: WireEvent, _now: float) -> None:
        """Show a text that arrived; for the receiver's thread."""
        if isinstance(event, TextMessage) and not is_control(event.text):
            self._tell({"heard": event.text})

    def _tell(self, message: dict[str, object]) -> None:
        with suppress(RuntimeError):  # The loop has just ended.
            self._loop.call_soon_threadsafe(self._browser.tell, message)

    def _take_text(self, text: str) -> str:
        if len(text.encode("utf-8", "replace")) > MAX_TEXT:
            return f"this text is too long: {MAX_TEXT} bytes are the most"
        try:
            self._texts.put_nowait(text)
        except queue.Full:
            return "too many texts wait for the link: try again later"
        return ""

    def _snapshot(self) -> dict[str, object]:
        """The call as the page shows it; times in seconds, levels in dB full scale."""
        now = time.monotonic()
        outgoing, incoming, link = self._call.outgoing, self._call.incoming, self._call.link
        sent, got = outgoing.statistics, incoming.statistics
        last = incoming.last_packet_at
        score = incoming.quality.score
        return {
            "link": link.name,
            "up": link.up,
            "trouble": link.trouble or incoming.problem,
            "talking": self._microphone.talking,
            "sending": outgoing.talking,
            "level_in": round(outgoing.level_dbfs, 1),
            "level_out": round(incoming.level_dbfs, 1),
            "bps_out": round(outgoing.wire.wire.recent_bps(now)),
            "bps_in": round(incoming.wire_bps(now)),
            "silent": None if last is None else round(now - last, 1),
            "frames_sent": sent.frames_sent,
            "frames_dropped": sent.frames_dropped,
            "frames_received": got.frames_received,
            "frames_lost": got.frames_lost + got.frames_late,
            "frames_concealed": got.frames_concealed,
            "quality": None if score is None else round(score, 1),
            "delay": {
                **{name: round(value, 4) for name, value in incoming.latency().items()},
                "browser": round(self._speaker.waiting, 4),
            },
        }


def _page() -> Response:
    """The page, which may run its own script and style and nothing else."""
    html = files("linkcodec.app.gateway").joinpath("page.html").read_bytes()
    policy = ["default-src 'none'", "connect-src 'self'", "media-src 'self' blob: mediastream:"]
    policy += ["img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
    for name in ("script", "style"):
        found = re.search(rb"<%b>(.*?)</%b>" % (name.encode(), name.encode()), html, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
        policy.append(f"{name}-src 'sha256-{digest}'")
    fields = {
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Permissions-Policy": "microphone=(self)",
        "Cache-Control": "no-store",
    }
    return Response(status=200, body=html, kind="text/html; charset=utf-8", fields=fields)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec gateway`."""
    parser.description = (
        "Serve a web page with a Talk button: the browser is the microphone and the speaker of\n"
        "a call over the link of a configuration file. The address to open, with the token\n"
        "that lets a browser join, is printed. Ctrl-C ends the call."
    )
    parser.epilog = (
        "examples:\n  linkcodec gateway --config configs/loopback-sim.toml\n"
        "  linkcodec gateway --config configs/sat-1200-sync.toml --port /dev/ttyUSB0 \\\n"
        "      --listen 0.0.0.0:8443 --tls cert.pem key.pem --token-file token.txt"
    )
    add_config_options(parser, CALL_OPTIONS)
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default="127.0.0.1:8800",
        help="where the page is served (default: 127.0.0.1:8800, this machine alone)",
    )
    parser.add_argument(
        "--tls",
        nargs=2,
        metavar=("CERT", "KEY"),
        help="serve by https with this certificate chain and key (PEM files)",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"file with the token (default: the environment's {TOKEN_VARIABLE}, or a new one)",
    )
    add_metrics_options(parser)
    add_status_options(parser)


def gateway(args: argparse.Namespace) -> int:
    """Run `linkcodec gateway` until Ctrl-C."""
    config = read_config(args)
    refuse_key(config.gate, command="gateway")
    address = parse_address(args.listen, "--listen")
    tls = _tls(args.tls, args.listen, address[0])
    token = _token(args.token_file)
    codec = open_codec(config.codec)
    status = open_status(args)
    rate = codec.info.sample_rate
    microphone = BrowserMicrophone(sample_rate=rate)
    speaker = SoundPipe("the browser", sample_rate=rate)
    with (
        Duplex(codec=codec, config=config, source=microphone, sink=speaker) as call,
        _Web(
            call=call,
            microphone=microphone,
            speaker=speaker,
            sample_rate=rate,
            stun=config.webrtc.stun,
            token=token,
            address=address,
            tls=tls,
        ) as web,
        open_reporter(args.stats, args.metrics, role="gateway", warn=status.warn) as reporter,
        StopFlag() as stop,
    ):
        scheme = "http" if tls is None else "https"
        status.message(f"serving {call.link.name} at {scheme}://{args.listen}/#{token}")
        try:
            call.run(
                status=status,
                stop=stop,
                each=web.send_texts,
                heard=web.heard,
                reporter=reporter,
                reload=lambda: read_config(args),
            )
        finally:
            status.close()
    return 0


def _token(path: str | None) -> str:
    """The token of a file or of the environment, or a new one.

    Raises:
        ConfigError: it cannot be read, or is too short.
    """
    source = TOKEN_VARIABLE if path is None else path
    if path is None:
        token = os.environ.get(TOKEN_VARIABLE, "") or secrets.token_urlsafe(16)
    else:
        try:
            token = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not ASCII text"
            raise ConfigError(f"--token-file {path}: cannot be read: {reason}") from None
    if len(token) < _SHORTEST_TOKEN or not re.fullmatch(r"[!-~]+", token):
        raise ConfigError(
            f"{source}: a token has at least {_SHORTEST_TOKEN} letters and digits without spaces"
        )
    return token


def _tls(paths: list[str] | None, listen: str, host: str) -> ssl.SSLContext | None:
    """The certificate; None where none is needed.

    Raises:
        ConfigError: it is missing or cannot be used.
    """
    if paths is None:
        if host not in THIS_MACHINE:
            raise ConfigError(
                f"--listen {listen} needs --tls CERT KEY: browsers give the microphone only to "
                "https pages and to this machine's own"
            )
        return None
    certificate, key = paths
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "no certificate and key"
        raise ConfigError(f"--tls {certificate} {key}: {reason}: give two PEM files") from None
    return context
