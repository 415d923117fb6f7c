from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from linkcodec.compact.train.speaker import BANDS, Speaker
from linkcodec.exceptions import InputError

SECOND = 16_000


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in Resemblyzer's layout."""
    torch.manual_seed(3)
    state: dict[str, torch.Tensor] = {}
    layers = {"lstm": nn.LSTM(BANDS, 256, 3, batch_first=True), "linear": nn.Linear(256, 256)}
    for name, layer in layers.items():
        state |= {f"{name}.{key}": 3.0 * value for key, value in layer.state_dict().items()}
    state["similarity_weight"] = torch.ones(1)
    path = tmp_path_factory.mktemp("speaker") / "pretrained.pt"
    torch.save({"step": 1, "model_state": state}, path)
    return path


def buzz(pitch: float, level: float = 0.1) -> torch.Tensor:
    phase = 2 * np.pi * pitch * np.arange(SECOND) / SECOND
    return torch.from_numpy(level * sum(np.cos(k * phase) for k in range(1, 9)))[None].float()


def test_points_lie_on_a_sphere_and_differ_between_sounds(weights: Path) -> None:
    speaker = Speaker(weights)
    points = speaker(torch.cat((buzz(100), buzz(230))))
    torch.testing.assert_close(points.norm(dim=1), torch.ones(2))
    assert speaker.distance(buzz(100), buzz(100)) == pytest.approx(0.0, abs=1e-6)
    assert speaker.distance(buzz(230), buzz(100)) > 1e-3


def test_soft_speech_is_raised_and_loud_speech_left(weights: Path) -> None:
    speaker = Speaker(weights)
    soft, softer = (speaker(buzz(100, level)) for level in (1e-3, 1e-4))
    torch.testing.assert_close(soft, softer, atol=1e-4, rtol=1e-3)
    assert speaker.distance(buzz(100, 0.02), buzz(100, 0.2)) > 1e-5


def test_the_output_learns_and_the_network_does_not(weights: Path) -> None:
    speaker = Speaker(weights)
    output = buzz(100).requires_grad_()
    speaker.distance(output, buzz(230)).backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert output.grad.abs().max() > 0
    assert all(weight.grad is None for weight in speaker.parameters())


def test_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.pt: cannot be read"):
        Speaker(tmp_path / "missing.pt")
    for content in (b"no weights", b""):
        (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.pt: not Resemblyzer's"):
            Speaker(tmp_path / "a.pt")
    for saved in ({"other": 1}, [1], {"model_state": {"linear.bias": torch.zeros(2)}}):
        torch.save(saved, tmp_path / "a.pt")
        with pytest.raises(InputError, match=r"a\.pt: not Resemblyzer's"):
            Speaker(tmp_path / "a.pt")
