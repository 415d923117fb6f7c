from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import table
from benchmarks.cache import Scores
from benchmarks.table import Summary, by_bitrate, markdown, replace_between, summarise
from linkcodec.exceptions import InputError

BEGIN, END = (marker.format("quality") for marker in (table.BEGIN, table.END))


def summary(scores: list[Scores], *, bitrate: float | None = 1100.0, ours: bool = False) -> Summary:
    return summarise(
        scores, title="x", bitrate=bitrate, measures=["stoi", "pesq_wb", "wer"], ours=ours
    )


def test_means_and_word_errors() -> None:
    found = summary(
        [
            {"stoi": 0.5, "pesq_wb": 2.0, "word_errors": 1.0, "words": 1.0},
            {"stoi": 0.7, "pesq_wb": None, "word_errors": 0.0, "words": 9.0},
            {"stoi": 0.6, "pesq_wb": 3.0, "word_errors": None, "words": None},
        ]
    )
    assert found.values == pytest.approx({"stoi": 0.6, "pesq_wb": 2.5, "wer": 0.1})
    assert found.counts == {"stoi": 3, "pesq_wb": 2, "wer": 2}
    assert found.clips == 3


def test_no_value_at_all() -> None:
    found = summary([{"stoi": None, "pesq_wb": None, "word_errors": None, "words": None}])
    assert found.values == {"stoi": None, "pesq_wb": None, "wer": None}


def test_markdown() -> None:
    whole: list[Scores] = [
        {"stoi": 0.51, "pesq_wb": 2.0, "word_errors": 1.0, "words": 4.0},
        {"stoi": 0.52, "pesq_wb": 2.0, "word_errors": 1.0, "words": 4.0},
    ]
    part: list[Scores] = [whole[0] | {"pesq_wb": None}, whole[1]]
    table = markdown(
        [summary(whole, bitrate=None), summary(part, bitrate=137.5, ours=True)],
        ["stoi", "pesq_wb", "wer"],
    )
    assert table.splitlines() == [
        "| codec | bit/s | STOI | PESQ-WB | WER |",
        "|---|---:|---:|---:|---:|",
        "| x |  | 0.515 | 2.00 | 0.250 |",
        "| **x** | 137.5 | 0.515 | 2.00 (of 1) | 0.250 |",
    ]


def test_order_of_rows() -> None:
    rates = [550.0, None, 6000.0, 1100.0]
    found = by_bitrate([summary([], bitrate=rate) for rate in rates])
    assert [one.bitrate for one in found] == [None, 6000.0, 1100.0, 550.0]


def test_replace_between() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n"
    new = replace_between(page, r"a \1 table" + "\n")
    assert new == f"# Title\n\n{BEGIN}\n\na \\1 table\n\n{END}\n\nrest\n"
    assert replace_between(new, r"a \1 table") == new


def test_each_benchmark_has_markers_of_its_own(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    other = BEGIN.replace("quality", "other"), END.replace("quality", "other")
    page.write_text(f"{BEGIN}\nold\n{END}\n{other[0]}\n{other[1]}\n", encoding="utf-8")
    table.write_page(page, "new", name="other")
    assert page.read_text(encoding="utf-8") == (
        f"{BEGIN}\nold\n{END}\n{other[0]}\n\nnew\n\n{other[1]}\n"
    )


@pytest.mark.parametrize(
    "page", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}\n{END}"]
)
def test_markers_are_needed(page: str) -> None:
    with pytest.raises(InputError, match="the document needs"):
        replace_between(page, "text")
