"""The tables of the labels' pages come from stored rows; what isn't among them stays as it is."""

import json
from pathlib import Path

import pytest

from docs import detector_tables
from docs.detector_tables import TABLE, TABLES, by_clip, main, sensitivity

ROWS = [
    {
        "label": "motion",
        "data": f"{clip}, native",
        "method": "independent_motion",
        "metric": "J",
        "value": value,
    }
    for clip, value in (("soapbox", 0.8), ("goat", 0.5), ("camel", 0.25), ("chosen half", 0.375))
]


def test_every_table_of_a_page_is_known() -> None:
    named = [
        found[1] for page in detector_tables.PAGES.glob("*.md") for found in TABLE.findall(page.read_text())
    ]
    assert len(named) == len(set(named)) > 10 and set(named) <= set(TABLES)


def test_clips_stand_by_half_with_their_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [
        ("J", "motion", "independent_motion", "J", ", native"),
        ("F", "motion", "none", "F", ", native"),
    ]
    assert by_clip(ROWS, columns).splitlines()[2:] == [
        "| chosen | camel | 0.25 | – |",
        "| chosen | goat | 0.5 | – |",
        "| chosen | **mean** | 0.375 | – |",
        "| other | soapbox | 0.8 | – |",
    ]
    kept = "<!-- table: flow -->\nas it was\n<!-- end of table -->\n"
    (tmp_path / "page.md").write_text(f"<!-- table: motion -->\nold\n<!-- end of table -->\n{kept}")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    monkeypatch.setattr(detector_tables, "PAGES", tmp_path)
    main([str(tmp_path / "rows.json")])
    text = (tmp_path / "page.md").read_text()
    assert text.endswith(kept) and "old" not in text and "| chosen | goat | 0.5 |" in text


def test_what_matters_is_shown_most_first_and_what_breaks_before() -> None:
    changed = {"as it is": 1.0, "a × 0.7": 1.0, "a × 1.3": 1.1, "b × 0.7": 0.5, "b × 1.3": 1.0}
    changed |= {"c × 0.7": 1.0, "c × 1.3": 1.01, "d × 0.7": float("nan"), "d × 1.3": 1.0}
    about = {"label": "edges", "data": "renders", "metric": "best F"}
    table = sensitivity([{**about, "method": name, "value": value} for name, value in changed.items()])
    assert [line[2:5] for line in table.splitlines() if line.startswith("| `")] == ["`d`", "`b`", "`a`"]
    assert "\n1 further constants" in table
