"""The real shapes against the reference on 20 s: `make test-full`, minutes long.

LINKCODEC_REFERENCE names the folder that scripts/make_reference_vectors.py --real wrote.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import referencechecks as checks

from linkcodec.mimi import NeuralCodec, load_mimi
from linkcodec.qwen12hz import load_qwen12hz

FOLDER = Path(os.environ.get("LINKCODEC_REFERENCE", "nowhere"))

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason="real shapes: make vectors with scripts/make_reference_vectors.py --real FOLDER and "
    "set LINKCODEC_REFERENCE=FOLDER",
)

Case = tuple[NeuralCodec, checks.Vectors]


@pytest.fixture(scope="module", params=["qwen", "mimi"])
def case(request: pytest.FixtureRequest) -> Case:
    load = {"qwen": load_qwen12hz, "mimi": load_mimi}[request.param]
    codec = load(weights=FOLDER / request.param, precision="fp32")
    return codec, checks.read_vectors(FOLDER / f"{request.param}-real.npz")


@pytest.mark.parametrize("step", [1, 3, 4])
def test_decoder(case: Case, step: int) -> None:
    checks.check_decoder(*case, step=step)


@pytest.mark.parametrize("books", [1, 4, 8])
def test_fewer_books(case: Case, books: int) -> None:
    codec, vectors = case
    if f"decoded{books}" not in vectors:
        pytest.skip(f"no vectors of {books} books for {codec.info.name}")
    checks.check_books(codec, vectors, books=books)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_encoder(case: Case, step: int) -> None:
    checks.check_encoder(*case, step=step)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_encoder_of_qwen_in_a_later_transformers(step: int) -> None:
    codec = load_qwen12hz(weights=FOLDER / "qwen", precision="fp32")
    vectors = checks.read_vectors(FOLDER / "encoder-real.npz")
    checks.check_encoder(codec, vectors, step=step)


def test_batch(case: Case) -> None:
    checks.check_batch(*case, step=4)
