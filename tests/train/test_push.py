"""What goes to a hub: the files, a card that says the licences, and nothing of the machine or its user."""

import getpass
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import freelabels
from freelabels.cli.main import main
from freelabels.ground.errors import UserError
from freelabels.pipeline.hub import private_text, with_licences
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset

ABOUT = freelabels.About(license="CC-BY-4.0", source_license="CC0-1.0", description="Two small pictures.")
WORDS = ("a red barn", "at 48.85837, 2.29448", "scanned to /home/someone/raw", "by someone")
MADE_BY = {"generator": "test", "version": 1}


@dataclass
class Hub:
    """Remembers what it is told, and what lay in the folder then."""

    repository: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    refuses: bool = False

    def __call__(self) -> "Hub":
        return self

    def create_repo(self, repository: str, **told: Any) -> str:
        if self.refuses:
            raise PermissionError("401 Unauthorized\nmore")
        self.repository = {"name": repository, **told}
        return f"https://hub/{repository}"

    def upload_folder(self, folder_path: str, **told: Any) -> None:
        root = Path(folder_path)
        self.files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(getpass, "getuser", lambda: "someone")
    made = Dataset.create(tmp_path / "someone" / "barns", {"size": [16, 16]})
    image = np.random.default_rng(0).integers(0, 255, (1, 16, 16, 3), dtype=np.uint8)
    columns = {"image": image, "edges": image[..., 0], "edges_confidence": image[..., 1]}
    columns["domain"] = np.zeros(1, np.uint8)
    clip = {
        "rows": [0, 1],
        "kind": "photo",
        "source": ["/home/someone/pictures/barn.png"],
        "key": "a",
        "tags": [{"kind": "caption", "text": text, "origin": "/home/someone/x.txt"} for text in WORDS],
    }
    commit_shard(made, "photo-0", columns, [clip], dict.fromkeys(columns, MADE_BY))
    return Path(made.path)


def test_a_dataset_goes_with_card_and_preview_and_without_its_maker(dataset: Path, tmp_path: Path) -> None:
    hub = Hub()
    done = freelabels.push(str(dataset), "me/barns", ABOUT, api=hub)
    assert (done.address, done.kind) == ("https://hub/me/barns", "dataset")
    assert hub.repository == {"name": "me/barns", "repo_type": "dataset", "private": True, "exist_ok": True}
    assert hub.files.keys() == {"README.md", "preview.png", "freelabels.json", "data/frames-00000.parquet"}
    assert not [name for name, data in hub.files.items() if b"someone" in data or b"/home" in data]
    (tmp_path / "f.parquet").write_bytes(hub.files["data/frames-00000.parquet"])
    [row] = pq.read_table(tmp_path / "f.parquet").to_pylist()
    assert (row["source"], row["tags"]) == ("barn.png", ["a red barn"])
    card = hub.files["README.md"].decode()
    assert card.startswith("---\nlicense: cc-by-4.0\nconfigs:") and "# barns" in card
    assert (
        "Labels, and what was made here: CC-BY-4.0" in card and "CC0-1.0" in card and "(preview.png)" in card
    )
    with pytest.raises(SystemExit) as end:
        main(["push", str(dataset), "--license", "MIT", "--dry-run", str(tmp_path / "look")])
    assert not end.value.code and (tmp_path / "look" / "README.md").exists()


def test_what_hinders_a_push_is_one_sentence(dataset: Path) -> None:
    for about, name, sentence in (
        (freelabels.About(), "me/barns", "with --license"),
        (ABOUT, "barns", "a repository is called OWNER/NAME"),
        (ABOUT, "me/barns", r"can't be pushed to \(401 Unauthorized\); is HF_TOKEN set"),
    ):
        with pytest.raises(UserError, match=sentence):
            freelabels.push(str(dataset), name, about, api=Hub(refuses=True))


def test_a_model_goes_with_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    (run / "pictures").mkdir(parents=True)
    (run / "train.toml").touch()
    (run / "pictures" / "step-000001.png").write_bytes(b"picture")

    def export(run: str, folder: Path) -> None:
        (folder / "README.md").write_text("---\nlibrary_name: timm\n---\n# a backbone\n")
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr("freelabels.train.push.export", export)
    hub = Hub()
    assert freelabels.push(str(run), "me/net", ABOUT, private=False, api=hub).kind == "model"
    assert hub.repository["repo_type"] == "model" and not hub.repository["private"]
    assert hub.files.keys() == {"README.md", "preview.png", "model.safetensors"}
    assert hub.files["README.md"].startswith(
        b"---\nlicense: cc-by-4.0\nlibrary_name: timm\n---\n# a backbone"
    )


def test_words_that_tell_too_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    assert all(map(private_text, ("ann's dog", "N 48.8583 E 2.2944", "~/x/y", "C:\\Users\\ann\\a")))
    assert not any(map(private_text, ("an annex", "1.5 to 2.5 m", "and/or", "12:30")))
    (tmp_path / "README.md").write_text("plain\n")
    with_licences(tmp_path, ABOUT, renders=True)
    assert "NOTICE" in (tmp_path / "README.md").read_text()
