"""A speaker's identity as a loss: the output should be recognised as the same talker.

The network of Resemblyzer (Wan et al. 2018, generalised end-to-end loss) turns 1.6 s of speech
into a point on a sphere, near to those of the same talker; the loss is the cosine distance of
both signals' points. Its weights, `pretrained.pt` of that package, are given by the user; they
are needed in training only. A similarity measured with the same network is then no
independent judge any more.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linkcodec.compact.train.listener import FFT, HOP, slaney_mel
from linkcodec.exceptions import InputError

BANDS = 40
_WIDTH = 256
_LAYERS = 3
_LEVEL = 10 ** (-30 / 20)
"""RMS to which softer speech is raised, as before the network's training."""


class Speaker(nn.Module):
    """Samples at 16 kHz to a point per item; all weights are fixed.

    Raises:
        InputError: the file is missing or of another network.
    """

    window: Tensor
    mel: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, _WIDTH, _LAYERS, batch_first=True)
        self.linear = nn.Linear(_WIDTH, _WIDTH)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        self.register_buffer("mel", slaney_mel(BANDS), persistent=False)
        try:
            saved: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
            state = saved["model_state"]
            self.load_state_dict({name: state[name] for name in self.state_dict()})
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except (EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            raise InputError(f"{path}: not Resemblyzer's pretrained.pt ({error})") from error
        self.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(items, samples) to (items, 256), of length 1."""
        level = x.detach().square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-5)
        x = x * (_LEVEL / level).clamp(min=1.0)
        spectrum = torch.fft.rfft(F.pad(x, (FFT // 2, FFT // 2)).unfold(1, FFT, HOP) * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        _, (hidden, _) = self.lstm(power @ self.mel)
        return F.normalize(F.relu(self.linear(hidden[-1])), dim=1)

    def distance(self, output: Tensor, target: Tensor) -> Tensor:
        """1 less the mean cosine of both signals' points."""
        with torch.no_grad():
            meant = self(target)
        cosines: Tensor = (self(output) * meant).sum(dim=1)
        return 1.0 - cosines.mean()
