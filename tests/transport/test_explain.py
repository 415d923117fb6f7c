from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.explain import explain

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "wire-format-2.json").read_text(encoding="ascii")
)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_every_kind_of_packet_is_explained(vector: dict[str, str]) -> None:
    explanation = explain(bytes.fromhex(vector["packet"]))
    assert explanation.name != "no packet"
    fields = dict(explanation.fields)
    assert fields["tick"] == str(vector["fields"]["tick"])  # type: ignore[index]
    assert fields["CRC"].endswith("right")


def test_fields_are_in_words() -> None:
    by_name = {vector["name"]: vector for vector in VECTORS["valid"]}

    def fields(name: str) -> dict[str, str]:
        return dict(explain(bytes.fromhex(by_name[name]["packet"])).fields)

    assert fields("hello")["codec number"] == "1 (compact)"
    assert fields("link")["weights"] == "0xbeef"
    assert fields("silence")["colour"] == "0xabc"
    copy = fields("copy, 4 frames of 5 and 2 books of 2 packets before")
    assert copy["flags"] == "end"
    assert copy["parity"] == "2 books, distances 2"
    assert copy["frame 508"].split()[0] == "12"


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_what_is_no_packet_gets_the_reason(vector: dict[str, str]) -> None:
    explanation = explain(bytes.fromhex(vector["packet"]))
    assert explanation.name == "no packet"
    assert explanation.fields[0][1]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_explained(data: bytes) -> None:
    assert explain(data).name
