"""A finished table goes into the pages between marks, and nothing else of them changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tools.features_page import BEGIN, END, main, short
from freelabels.ground.errors import UserError

ROOT = Path(__file__).parents[2]


def figure(mean: float, interval: float | None = 0.01) -> dict[str, Any]:
    return {"mean": mean, "interval": interval}


FOUND = {
    "settings": {"backbone": "resnet18", "size": 64, "budget": 100.0},
    "rows": {"random": {"seeds": 3}, "free": {"seeds": 1}},
    "tables": [
        {
            "data": "toy",
            "measure": "nearest neighbours, k 20",
            "unit": "% right",
            "higher_is_better": True,
            "rows": {"random": [figure(0.31), figure(0.2)], "free": [None, figure(0.5, None)]},
        },
        {
            "data": "room (depth)",
            "measure": "depth, linear a pixel",
            "unit": "log rms",
            "higher_is_better": False,
            "rows": {"random": [figure(0.3), figure(0.2)]},
        },
    ],
    "claims": [{"letter": "a", "says": "free beats random", "state": "not run", "why": "one seed"}],
}


def test_the_short_table_has_each_row_at_its_best_stage() -> None:
    lines = short(FOUND).splitlines()
    assert "| random | 3 | 31.0 ± 1.0 | 0.2 ± 0.01 |" in lines
    assert "| free | 1 | 50.0 |  |" in lines
    assert "| a | free beats random | not run (one seed) |" in lines


def test_pages_get_the_table_between_their_marks(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text(json.dumps(FOUND))
    (tmp_path / "features.md").write_text("# Features\n\n## Claims\n")
    docs, readme = tmp_path / "docs.md", tmp_path / "readme.md"
    for page in (docs, readme):
        page.write_text(f"before\n\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):  # again changes nothing
        main(str(tmp_path), docs=str(docs), readme=str(readme))
        assert docs.read_text() == f"before\n\n{BEGIN}\n\n## Features\n\n### Claims\n\n{END}\nafter\n"
    assert short(FOUND) in readme.read_text() and "old" not in readme.read_text()


def test_what_is_refused_changes_no_page(tmp_path: Path) -> None:
    docs, readme = tmp_path / "docs.md", tmp_path / "readme.md"
    docs.write_text(f"{BEGIN}\nold\n{END}\n")
    pages = {"docs": str(docs), "readme": str(readme)}
    (tmp_path / "features.md").write_text("# Features\n")
    (tmp_path / "features.json").write_text(json.dumps({k: v for k, v in FOUND.items() if k != "claims"}))
    with pytest.raises(UserError, match="no finished table"):
        main(str(tmp_path), **pages)
    (tmp_path / "features.json").write_text(json.dumps(FOUND))
    with pytest.raises(UserError, match=r"can't read .*readme\.md"):
        main(str(tmp_path), **pages)
    readme.write_text("no marks")
    with pytest.raises(UserError, match="has no lines"):
        main(str(tmp_path), **pages)
    assert docs.read_text() == f"{BEGIN}\nold\n{END}\n"


@pytest.mark.parametrize("page", ["README.md", "docs/features.md"])
def test_the_pages_have_the_marks(page: str) -> None:
    assert BEGIN in (ROOT / page).read_text().partition(END)[0]
