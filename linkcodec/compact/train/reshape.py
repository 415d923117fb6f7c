"""Trained weights in a network of another shape, which does at first what the old one did.

Latents may get narrower: they keep the directions with most power, those that the books and
the decoder use. Stages may get deeper: a new block adds nothing until it has learned to. A
tracker of the pitch may get the recent view of the periods, which it hardly believes at first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linkcodec.compact.layers import Block, Context
from linkcodec.compact.model import CompactModel, ModelConfig
from linkcodec.compact.shape import CANDIDATES, FEATURES, PERIODS, STEPS_PER_FRAME
from linkcodec.compact.train.batches import Corpus
from linkcodec.compact.train.codebooks import CodebookTrainer
from linkcodec.compact.weights import load_weights
from linkcodec.exceptions import InputError

_DOUBT = -3.0
"""What a new view's candidates begin with: its logistic is the share that is believed."""

_MEASURED = 40
"""Batches from which the latents' power is taken."""


def directions(moments: Tensor, count: int, *, power: float) -> tuple[Tensor, Tensor]:
    """The way to `count` new latents of mean square `power` and the way back, (count, latent)
    and (latent, count), from the second moments (latent, latent) of the old ones."""
    values, vectors = torch.linalg.eigh(moments)
    kept, vectors = values[-count:].flip(0), vectors[:, -count:].flip(1)
    scale = float((power * count / kept.sum()).sqrt())
    return scale * vectors.t(), vectors / scale


@torch.no_grad()
def narrow(model: CompactModel, there: Tensor, back: Tensor) -> dict[str, Tensor]:
    """The weights of `model` for the latents that `directions` tells of."""
    state = model.state_dict()
    for name in ("encoder.leave", "encoder.intonation.leave"):
        if f"{name}.weight" in state:
            state[f"{name}.weight"] = there @ state[f"{name}.weight"]
            state[f"{name}.bias"] = there @ state[f"{name}.bias"]
    for name in ("trunk.enter.weight", "trunk.intonation.read.weight"):
        if name in state:
            state[name] = state[name] @ back
    mix = "trunk.intonation.mix.weight"
    if mix in state:
        others = state[mix].shape[1] - len(back)
        state[mix] = torch.cat((state[mix][:, :others], state[mix][:, others:] @ back), dim=1)
    state["quantizer.vectors"] = state["quantizer.vectors"] @ there.t()
    return state


def hear_recent(state: dict[str, Tensor]) -> None:
    """Give the weights of a tracker that has one view of the periods the recent one."""
    mix, guess = "encoder.intonation.mix", "encoder.intonation.guess"
    weight = state[f"{mix}.weight"]
    heard = STEPS_PER_FRAME * PERIODS
    hidden, *frames = torch.split(weight, [weight.shape[1] - 2 * heard, heard, heard], dim=1)
    steps = (frame.reshape(len(frame), -1, PERIODS) for frame in frames)
    wider = (F.pad(step, (0, PERIODS)).flatten(1) for step in steps)
    state[f"{mix}.weight"] = torch.cat((hidden, *wider), dim=1)
    for name, new in (("weight", 0.0), ("bias", _DOUBT)):
        guesses = state[f"{guess}.{name}"].reshape(STEPS_PER_FRAME * (1 + CANDIDATES), -1)
        beliefs = guesses[STEPS_PER_FRAME:]
        beliefs = beliefs.reshape(STEPS_PER_FRAME, CANDIDATES, -1)
        beliefs = F.pad(beliefs, (0, 0, 0, CANDIDATES), value=new).flatten(0, 1)
        guesses = torch.cat((guesses[:STEPS_PER_FRAME], beliefs))
        state[f"{guess}.{name}"] = guesses if name == "weight" else guesses.squeeze(1)


def silence_new_blocks(model: CompactModel, missing: list[str]) -> list[str]:
    """New blocks leave their stage as it was: only their last layer begins with zeros, so that
    all of them learn from the first steps on. Returns what is missing besides."""
    for name, block in model.named_modules():
        if isinstance(block, Block) and f"{name}.narrow.weight" in missing:
            nn.init.zeros_(block.narrow.weight)
            nn.init.zeros_(block.narrow.bias)
    return [name for name in missing if ".blocks." not in name]


def _sizes(state: dict[str, Tensor], like: ModelConfig) -> ModelConfig:
    """Of a checkpoint's network, which may differ from `like` in its latents and its depth."""

    def depth(part: str) -> tuple[int, int, int, int]:
        a, b, c, d = (
            1 + max(int(name.split(".")[3]) for name in state if name.startswith(stage))
            for stage in (f"{part}.stage{number}.blocks." for number in (1, 2, 3, 4))
        )
        return a, b, c, d

    guesses = len(state.get("encoder.intonation.guess.bias", ()))
    return replace(
        like,
        latent=len(state["encoder.leave.weight"]),
        views=(guesses // STEPS_PER_FRAME - 1) // CANDIDATES if guesses else like.views,
        encoder_blocks=depth("encoder"),
        decoder_blocks=depth("trunk"),
    )


def _fill(model: CompactModel, state: dict[str, Tensor], source: Path) -> None:
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise InputError(
            f"{source}: its stages are not as wide as those of this network"
        ) from error
    others = [*unexpected, *silence_new_blocks(model, missing)]
    if others:
        raise InputError(f"{source}: differs by more than latents and depth: {others[0]}")


def _read(source: Path, like: ModelConfig) -> tuple[CompactModel, dict[str, Any]]:
    if source.suffix == ".npz":
        return load_weights(source).model, {}
    path = source / "checkpoint.pt"
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint; train first")
    saved = torch.load(path, weights_only=True, map_location="cpu")
    enter = saved["average"]["encoder.enter.weight"]
    saved["average"]["encoder.enter.weight"] = F.pad(enter, (0, FEATURES - enter.shape[1]))
    model = CompactModel(_sizes(saved["average"], like))
    _fill(model, saved["average"], path)
    return model, saved


def reshape(
    *,
    source: Path,
    folder: Path,
    corpus: Path,
    sizes: ModelConfig | None = None,
    power: float = 2.4,
    items: int = 16,
    frames: int = 20,
    seed: int = 1,
) -> str:
    """Write a checkpoint to start from into `folder`: the averaged weights of the run, or of
    the released file, `source` in a network of `sizes`; returns a line that describes it.

    Raises:
        InputError: nothing to read at `source`, or a network that cannot become this one.
    """
    torch.manual_seed(seed)
    config = sizes or ModelConfig()
    model, saved = _read(source, config)
    if config.latent > model.config.latent:
        raise InputError(f"{source}: latents of {model.config.latent} cannot become more")
    model.eval()
    moments = torch.zeros(model.config.latent, model.config.latent)
    pieces = Corpus(corpus, frames=frames, seed=seed).batches(items)
    for _ in range(_MEASURED):
        with torch.no_grad():
            # The first frame of a piece lacks its past.
            latents = model.encoder(next(pieces).heard, Context())[:, 1:].flatten(0, 1)
        moments += latents.t() @ latents / len(latents) / _MEASURED
    there, back = directions(moments, config.latent, power=power)
    reshaped = CompactModel(config)
    state = narrow(model, there, back)
    if model.config.views < config.views:
        hear_recent(state)
    _fill(reshaped, state, source)
    books = CodebookTrainer(reshaped.quantizer)
    if saved:
        books.counts.copy_(saved["books"]["counts"])
    books.sums.copy_(reshaped.quantizer.vectors * books.counts[..., None])
    saved |= {"average": reshaped.state_dict(), "books": books.state_dict()}
    kept = ("average", "books", "guide", "discriminators")
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({name: saved[name] for name in kept if name in saved}, folder / "checkpoint.pt")
    lost = 1.0 - float(torch.trace(back @ there @ moments) / torch.trace(moments))
    kept_of = f"{config.latent} of {model.config.latent} latents"
    return f"{folder}: {kept_of}, {lost:.1e} of their power lost"
