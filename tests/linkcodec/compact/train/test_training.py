"""The training pipeline on a tiny corpus of synthetic voices and a tiny network."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
import torch
from tinymodel import SIZES, tiny_model

from linkcodec.codec import Pcm
from linkcodec.compact.model import CompactModel
from linkcodec.compact.shape import FRAME_SIZE, PAST
from linkcodec.compact.train import data
from linkcodec.compact.train.batches import Corpus, Variety, fill_pitch
from linkcodec.compact.train.codebooks import CodebookTrainer
from linkcodec.compact.train.discriminators import Discriminators
from linkcodec.compact.train.evaluate import Evaluation, mel_db
from linkcodec.compact.train.losses import SpectralLoss
from linkcodec.compact.train.reshape import reshape
from linkcodec.compact.train.sensitivity import remake_books
from linkcodec.compact.train.trainer import (
    Run,
    TrainConfig,
    add_quantization_noise,
    rate_factor,
    weigh,
)
from linkcodec.compact.weights import save_weights
from linkcodec.exceptions import InputError

LEVELS = {"level", "level_spread", "lowest", "highest"}

FAST: dict[str, Any] = {
    "items": 2,
    "frames": 6,
    "unquantized": 3,
    "threads": 1,
    "warmup": 2,
    "judged_frames": 4,
}


def voice(pitch: float, seconds: float, seed: int) -> Pcm:
    time = np.arange(int(seconds * 16000)) / 16000
    tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 20))
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time)
    hiss = np.random.default_rng(seed).standard_normal(len(time))
    return np.asarray(0.05 * tone * syllables + 0.003 * hiss, dtype=np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    for group, pitch in (("low", 110.0), ("high", 210.0)):
        (folder / group).mkdir()
        for number in range(2):
            path = folder / group / f"{number}.wav"
            soundfile.write(path, voice(pitch, 3.0, number), 16000)
    (folder / "low" / "short.wav").write_bytes((folder / "low" / "0.wav").read_bytes()[:4000])
    target = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            data,
            "estimate_pitch",
            lambda audio: np.full(len(audio) // 160, 150.0, dtype=np.float32),
        )
        lines = list(data.prepare(source=folder, destination=target, workers=1))
    assert lines[-1].startswith("corpus: 4 clips")
    return target


def test_prepare_joins_groups_and_skips_what_is_too_short(corpus: Path) -> None:
    clips = json.loads((corpus / "clips.json").read_text())
    assert [clip["group"] for clip in clips] == ["high", "high", "low", "low"]
    assert clips[1]["start"] == clips[0]["length"] == 48000
    assert (corpus / "audio.i16").stat().st_size == 2 * 4 * 48000
    assert (corpus / "pitch.f16").stat().st_size == 2 * 4 * 300
    assert list(data.prepare(source=corpus, destination=corpus)) == [f"{corpus}: already prepared"]


def test_prepare_refuses_what_is_no_material(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        list(data.prepare(source=tmp_path / "none", destination=tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no recordings"):
        list(data.prepare(source=tmp_path / "empty", destination=tmp_path / "out", workers=1))


def test_batches_are_reproducible_and_aligned(corpus: Path) -> None:
    first = Corpus(corpus, frames=6, seed=5).batch(3)
    again = Corpus(corpus, frames=6, seed=5).batch(3)
    assert torch.equal(first.heard, again.heard)
    assert first.heard.shape == (3, PAST + 6 * FRAME_SIZE)
    assert first.meant.shape == (3, 6 * FRAME_SIZE)
    assert first.pitch.shape == (3, 48)
    # What is meant is what was heard, 20 ms later; some items have noise on top of it.
    agreement = [
        float(torch.corrcoef(torch.stack((heard[PAST - 320 : -320], meant)))[0, 1])
        for heard, meant in zip(first.heard, first.meant, strict=True)
    ]
    assert min(agreement) > 0.7
    assert max(agreement) > 0.99


def alone(**shares: float) -> Variety:
    """Nothing happens to the pieces but this; all are at one level."""
    nothing = {field.name: 0.0 for field in fields(Variety) if field.name not in LEVELS}
    return Variety(**{**nothing, "level_spread": 0.0, **shares})


@pytest.mark.parametrize("kind", ["noise", "room", "second", "clipped"])
def test_more_of_the_place_is_heard_than_is_meant(corpus: Path, kind: str) -> None:
    plain = Corpus(corpus, frames=6, seed=5, variety=alone()).batch(4)
    torch.testing.assert_close(plain.heard[:, PAST - 320 : -320], plain.meant, atol=0.0, rtol=0.0)
    varied = Corpus(corpus, frames=6, seed=5, variety=alone(**{kind: 1.0})).batch(4)
    difference = varied.heard[:, PAST - 320 : -320] - varied.meant
    assert (difference.square().mean(dim=1) > 1e-8).all()
    for heard, meant in zip(varied.heard, varied.meant, strict=True):
        together = torch.corrcoef(torch.stack((heard[PAST - 320 : -320], meant)))[0, 1]
        assert float(together) > 0.6


@pytest.mark.parametrize("kind", ["telephone", "music", "quiet"])
def test_some_sounds_are_meant_as_they_are_heard(corpus: Path, kind: str) -> None:
    varied = Corpus(corpus, frames=6, seed=5, variety=alone(**{kind: 1.0})).batch(4)
    torch.testing.assert_close(varied.heard[:, PAST - 320 : -320], varied.meant, atol=0.0, rtol=0.0)
    assert bool(varied.pitch.any()) == (kind == "telephone")
    loud = varied.meant.square().mean(dim=1).sqrt()
    assert bool((loud < 10 ** (-45 / 20)).all()) == (kind == "quiet")


def test_far_levels_lie_within_their_bounds(corpus: Path) -> None:
    variety = alone(far_level=1.0, lowest=-40.0, highest=-38.0)
    batch = Corpus(corpus, frames=20, seed=5, variety=variety).batch(4)
    assert (batch.meant.abs().amax(dim=1) < 10 ** (-20 / 20)).all()


def test_an_unprepared_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepare"):
        Corpus(tmp_path, frames=6, seed=1)


def test_pitch_is_carried_through_unvoiced_steps() -> None:
    filled = fill_pitch(torch.tensor([[0.0, 100.0, 0.0, 200.0, 0.0], [0.0] * 5]))
    assert filled[0].tolist() == [100.0, 100.0, 150.0, 200.0, 200.0]
    assert filled[1].tolist() == [130.0] * 5


def test_rate_rises_stays_and_falls() -> None:
    config = TrainConfig(steps=100, warmup=10, cooldown=0.2)
    rates = [rate_factor(step, config) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == 1.0
    assert set(rates[10:80]) == {1.0}
    assert rates[80] >= rates[90] > rates[99]
    assert rates[99] < 0.1


@pytest.mark.parametrize("books", [1, 8, 12])
def test_noise_leaves_the_error_that_books_would_leave(books: int) -> None:
    """Gaussian latents of unit power are left with 2^(-2 bits per channel) of it."""
    torch.manual_seed(0)
    latents = torch.randn(200, 20, 64)
    noisy = add_quantization_noise(latents, torch.full((200,), books))
    error = (noisy - latents).square().mean().item()
    assert abs(error / 2 ** (-2 * 11 * books / 64) - 1) < 0.03


def test_spectral_loss_knows_what_is_near() -> None:
    loss = SpectralLoss()
    target = torch.from_numpy(voice(120.0, 1.0, 0))[None]
    same = float(loss(target, target))
    softer, other = float(loss(0.8 * target, target)), float(loss(torch.zeros_like(target), target))
    assert same < 1e-5
    assert same < softer < other


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5)])
def test_what_was_lost_counts_by_its_weight(shape: tuple[int, ...]) -> None:
    torch.manual_seed(4)
    x = torch.randn(shape, requires_grad=True)
    lost = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])[..., None]
    weighed = weigh(x, lost, 0.3)
    torch.testing.assert_close(weighed, x)
    weighed.sum().backward()  # type: ignore[no-untyped-call]
    expected = torch.ones(shape)
    expected[0, 2:4] = expected[1, 4:6] = 0.3
    torch.testing.assert_close(x.grad, expected)
    assert weigh(x, lost, 1.0) is x


def test_k_means_finds_clusters_and_averages_follow() -> None:
    torch.manual_seed(0)
    model = tiny_model()
    centres = torch.randn(16, SIZES.latent) * 5
    rows = centres.repeat(40, 1) + 0.01 * torch.randn(640, SIZES.latent)
    books = CodebookTrainer(model.quantizer)
    books.start(model.quantizer, rows)
    error = (rows - model.quantizer.vectors[0][model.quantizer.search(rows, 0)]).square().mean()
    assert float(error) < 0.5 * float(rows.var())
    latents = rows[:40].reshape(4, 10, -1)
    few, _ = books(model.quantizer, latents, torch.full((4,), 1), learn=False)
    more, _ = books(model.quantizer, latents, torch.full((4,), 3), learn=False)
    assert (more - latents).square().mean() <= (few - latents).square().mean()
    before = model.quantizer.vectors.clone()
    books(model.quantizer, latents + 1.0, torch.full((4,), 3), learn=True)
    assert not torch.equal(before, model.quantizer.vectors)


def test_discriminators_learn_to_tell_noise_from_voice() -> None:
    torch.manual_seed(0)
    judges = Discriminators()
    optimizer = torch.optim.Adam(judges.parameters(), lr=1e-3)
    speech = torch.from_numpy(voice(140.0, 0.4, 1))[None]
    noise = 0.05 * torch.randn_like(speech)
    losses = []
    for _ in range(6):
        loss = judges.judge(noise, speech).taught
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert judges.judge(speech, speech).matching < judges.judge(noise, speech).matching


def run(folder: Path, corpus: Path, **changes: Any) -> Run:
    config = TrainConfig(**{**FAST, **changes})
    return Run(folder=folder, corpus=corpus, config=config, sizes=SIZES)


def test_a_run_is_reproducible_and_resumes(corpus: Path, tmp_path: Path) -> None:
    records = [
        list(run(tmp_path / name, corpus, steps=6).steps())[-1]["spectral"] for name in ("a", "b")
    ]
    assert records[0] == records[1]
    assert np.isfinite(records[0])
    resumed = run(tmp_path / "a", corpus, steps=8)
    assert resumed.step == 6
    assert list(resumed.steps())[-1]["step"] == 8
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [6, 8]


@pytest.mark.parametrize("frozen", [True, False])
def test_the_adversarial_stage_may_keep_encoder_and_books(
    corpus: Path, tmp_path: Path, *, frozen: bool
) -> None:
    first = run(tmp_path / "a", corpus, steps=5)
    list(first.steps())
    changes: dict[str, Any] = {"steps": 2, "unquantized": 0, "adversarial": 1.0, "matching": 1.0}
    changes |= {"lost_spectral": 0.3, "lost_judged": 2.0}
    config = TrainConfig(**{**FAST, **changes, "frozen_encoder": frozen})
    second = Run(
        folder=tmp_path / "b", corpus=corpus, config=config, sizes=SIZES, start=tmp_path / "a"
    )
    record = list(second.steps())[-1]
    assert {"adversarial", "matching", "taught"} <= set(record)
    before, after = first.average.state_dict(), second.model.state_dict()
    for name, value in before.items():
        if name.startswith(("encoder.", "quantizer.")):
            kept = torch.equal(value, after[name])
            assert kept if frozen else not kept, name
    assert not torch.equal(before["trunk.leave.weight"], after["trunk.leave.weight"])


def test_a_run_starts_from_released_weights(corpus: Path, tmp_path: Path) -> None:
    model = tiny_model(3)
    save_weights(model, tmp_path / "w.npz", version=1)
    config = TrainConfig(**{**FAST, "steps": 1})
    begun = Run(
        folder=tmp_path / "run", corpus=corpus, config=config, sizes=SIZES, start=tmp_path / "w.npz"
    )
    torch.testing.assert_close(
        begun.model.quantizer.vectors, model.quantizer.vectors, atol=2e-3, rtol=0
    )


def test_only_the_pitch_is_tracked_first(corpus: Path, tmp_path: Path) -> None:
    save_weights(CompactModel(SIZES), tmp_path / "begun.npz", version=1)
    values = {**FAST, "unquantized": 0, "tracked": 3}

    def begun(**changes: int) -> Run:
        config = TrainConfig(**{**values, **changes})
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return Run(
            folder=folder, corpus=corpus, config=config, sizes=SIZES, start=tmp_path / "begun.npz"
        )

    first = begun(steps=3)
    before = {name: value.clone() for name, value in first.model.state_dict().items()}
    assert set(list(first.steps())[-1]) == {"tracked", "gradient", "step", "seconds", "hours"}
    changed = {
        name
        for name, value in first.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    way = "encoder.intonation."
    assert changed == {f"{way}{name}" for name in ("mix.weight", "mix.bias", "guess.weight")} | {
        f"{way}guess.bias"
    }
    assert not first.resumable
    second = begun(steps=5)
    record = list(second.steps())[-1]
    assert {"tracked", "spectral", "commitment"} <= set(record)
    # The books, which were empty, began anew.
    assert not first.model.quantizer.vectors.any()
    assert second.model.quantizer.vectors[0].any(dim=1).all()


def test_books_can_be_made_anew(corpus: Path, tmp_path: Path) -> None:
    list(run(tmp_path / "a", corpus, steps=4).steps())
    lines = list(
        remake_books(
            source=tmp_path / "a",
            folder=tmp_path / "b",
            corpus=corpus,
            share=1.0,
            batches=3,
            sizes=SIZES,
            items=2,
            frames=6,
        )
    )
    assert lines[-1].startswith("book 3 of 3 leaves an error of ")
    errors = [float(line.split()[-1]) for line in lines[-3:]]
    assert errors[0] > errors[1] > errors[2]
    config = TrainConfig(**{**FAST, "steps": 2, "unquantized": 0})
    going_on = Run(
        folder=tmp_path / "c", corpus=corpus, config=config, sizes=SIZES, start=tmp_path / "b"
    )
    assert np.isfinite(list(going_on.steps())[-1]["spectral"])
    with pytest.raises(InputError, match="train first"):
        next(
            remake_books(
                source=tmp_path / "none",
                folder=tmp_path / "d",
                corpus=corpus,
                share=1.0,
                batches=1,
            )
        )


def test_a_run_goes_on_in_another_shape(corpus: Path, tmp_path: Path) -> None:
    list(run(tmp_path / "a", corpus, steps=4, adversarial=1.0).steps())
    sizes = replace(SIZES, latent=3, decoder_blocks=(2, 1, 1, 1))
    options: dict[str, Any] = {"corpus": corpus, "sizes": sizes, "items": 2, "frames": 6}
    line = reshape(source=tmp_path / "a", folder=tmp_path / "b", **options)
    assert "3 of 4 latents" in line
    config = TrainConfig(**{**FAST, "steps": 2, "unquantized": 0, "adversarial": 1.0})
    begun: dict[str, Any] = {
        "folder": tmp_path / "c",
        "corpus": corpus,
        "config": config,
        "start": tmp_path / "b",
    }
    with pytest.raises(InputError, match="another network: give what the command reshape"):
        Run(sizes=SIZES, **begun)
    going_on = Run(sizes=sizes, **begun)
    before = torch.load(tmp_path / "a" / "checkpoint.pt", weights_only=True)
    for name, weight in going_on.discriminators.state_dict().items():
        torch.testing.assert_close(weight, before["discriminators"][name])
    assert np.isfinite(list(going_on.steps())[-1]["spectral"])
    wider = replace(sizes, latent=5)
    with pytest.raises(InputError, match="latents of 4 cannot become more"):
        reshape(source=tmp_path / "a", folder=tmp_path / "d", **options | {"sizes": wider})
    other = replace(sizes, encoder=(8, 8, 8, 16))
    with pytest.raises(InputError, match="not as wide"):
        reshape(source=tmp_path / "a", folder=tmp_path / "d", **options | {"sizes": other})
    save_weights(tiny_model(), tmp_path / "w.npz", version=1)
    assert "3 of 4" in reshape(source=tmp_path / "w.npz", folder=tmp_path / "e", **options)
    without = replace(sizes, intonation=(0, 0))
    with pytest.raises(InputError, match="differs by more than latents and depth"):
        reshape(source=tmp_path / "w.npz", folder=tmp_path / "d", **options | {"sizes": without})
    with pytest.raises(InputError, match="train first"):
        reshape(source=tmp_path / "none", folder=tmp_path / "d", **options)


def test_a_checkpoint_of_another_model_is_refused(corpus: Path, tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="another model"):
        run(tmp_path, corpus, steps=1)


def test_a_listener_needs_its_weights(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--recogniser"):
        run(tmp_path, corpus, steps=1, listener=1.0)


def test_the_speaker_needs_its_weights(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--speaker-file"):
        run(tmp_path, corpus, steps=1, speaker=1.0)


def test_unseen_clips_are_measured_at_the_end(corpus: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "a.wav", voice(140.0, 1.0, 7), 16000)
    config = TrainConfig(**{**FAST, "steps": 2})
    records = list(
        Run(
            folder=tmp_path / "run", corpus=corpus, config=config, sizes=SIZES, evaluation=clips
        ).steps()
    )
    assert 0 < records[-1]["eval_mel"] < 100
    assert -1 <= records[-1]["eval_contour"] <= 1


def test_evaluation_needs_clips(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="evaluate"):
        Evaluation(tmp_path)


def test_mel_spectra_are_in_decibels() -> None:
    pcm = voice(140.0, 1.0, 7)
    assert np.abs(mel_db(pcm) - mel_db(pcm)).max() == 0.0
    assert np.abs(mel_db(pcm) - mel_db(0.5 * pcm)).mean() == pytest.approx(6.0, abs=0.5)
