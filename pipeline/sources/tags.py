"""Words that came with pictures (captions, tags, alternative texts) → the tags of their clips.

They are kept as data of the dataset, with the file that told each, and nothing here uses them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from freelabels.pipeline.sources.clip_specs import ClipSpec
from freelabels.pipeline.sources.layouts import lerobot, texts
from freelabels.pipeline.sources.layouts.words import words
from freelabels.pipeline.sources.said import Refusal
from freelabels.pipeline.storage.archives.names import PARQUET, parted
from freelabels.pipeline.storage.archives.parquet import Parquet
from freelabels.pipeline.storage.uris import SourceError, archive, read_bytes, why

Tag = tuple[str, str, str]  # kind, text, which file told it
_WORDS = """
caption captions text texts alt description descriptions title titles tag tags keyword keywords label labels class
classes category categories task tasks prompt prompts instruction instructions
"""
WORDS = frozenset(_WORDS.split())  # one of them in the name of a column or entry: it holds words
NAMES = (
    "file_name",
    "filename",
    "file",
    "image",
    "video",
    "path",
    "key",
)  # columns that tell of which picture
KINDS = {".txt": "text", ".caption": "caption", ".cls": "class"}
LONGEST = 4096  # characters of a text; what is more is cut
MOST = 64  # tags of a clip
LARGEST_TEXT, LARGEST_TABLE = 1 << 20, 1 << 28  # bytes of a file about one picture, about many


def tagged(
    clips: Sequence[ClipSpec], own: Sequence[str], beside: Sequence[str]
) -> tuple[tuple[ClipSpec, ...], list[Refusal]]:
    """Clips with the words that came with them, and the files of words that can't be read.

    own: files about one picture each. beside: files about many.
    """
    tables = [uri for uri in beside if texts.is_about_many(uri)]
    if not (own or tables or any(parted(clip.uris[0]) for clip in clips)):
        return tuple(clips), []
    known, refused = frozenset(own), dict[str, Refusal]()
    made = []
    for clip in clips:
        found: dict[Tag, None] = {}
        for uri in clip.uris if clip.kind == "video" else clip.uris[: clip.frames]:
            if len(found) < MOST:
                found |= dict.fromkeys(_of_picture(uri, known, tables, refused))
        if clip.kind == "video":
            found |= dict.fromkeys(_of_episodes(clip, tables, refused))
        made.append(replace(clip, tags=tuple(found)[:MOST]) if found else clip)
    return tuple(made), list(refused.values())


def _of_picture(
    uri: str, own: frozenset[str], tables: Sequence[str], refused: dict[str, Refusal]
) -> Iterator[Tag]:
    """What is said of one picture, by its row, files of its name, and tables that name it."""
    place = parted(uri)
    if place and place[0].lower().endswith(PARQUET):
        yield from _of_row(*place)
    folder, _, name = uri.rpartition("/")
    for text in texts.about(name, _Below(folder, own)):
        try:
            yield from _of_text(f"{folder}/{text}")
        except (SourceError, OSError) as error:
            refused[f"{folder}/{text}"] = Refusal(f"{folder}/{text}", f"its words {why(error)}")
    for table in tables:
        base = table.rpartition("/")[0]
        try:
            if uri.startswith(f"{base}/") and not table.endswith(f"/{texts.LEROBOT}"):
                origin = "/".join(table.split("/")[-2:])
                for kind, text in _table(table).get(uri[len(base) + 1 :], ()):
                    yield kind, text, origin
        except (SourceError, OSError) as error:
            refused[table] = Refusal(table, f"its words {why(error)}")


class _Below:
    """The names of some files in one folder."""

    def __init__(self, folder: str, uris: frozenset[str]) -> None:
        self._folder, self._uris = folder, uris

    def __contains__(self, name: object) -> bool:
        return f"{self._folder}/{name}" in self._uris


def _of_row(path: str, name: str) -> Iterator[Tag]:
    """What the other columns of a Parquet table say in a picture's row."""
    table = archive(path)
    assert isinstance(table, Parquet)
    row = int(name.rpartition("/")[2].partition(".")[0])
    origin = path.rpartition("/")[2]
    for column in table.columns:
        if column not in table.pictures and WORDS.intersection(words(column)):
            value, names = table.value(column, row), table.class_names(column)
            if names and isinstance(value, int) and 0 <= value < len(names):
                value = names[value]
            for text in _said(value):
                yield column, text, f"{origin}: column {column}"


def _of_text(uri: str) -> Iterator[Tag]:
    """What a file about one picture says. Numbers alone (boxes, poses) are no words."""
    data = read_bytes(uri)
    if len(data) > LARGEST_TEXT:
        raise SourceError(f"are more than {LARGEST_TEXT >> 20} MiB")
    origin, suffix = uri.rpartition("/")[2], f".{uri.rpartition('.')[2].lower()}"
    text = _decoded(data)
    if suffix == ".json":
        try:
            entries = json.loads(text)
        except ValueError:
            return
        if isinstance(entries, dict):
            for kind, value in entries.items():
                if WORDS.intersection(words(kind)):
                    yield from ((kind, said, f"{origin}: {kind}") for said in _said(value))
    elif suffix == ".cls" or not _is_numbers(text):
        yield from ((KINDS[suffix], said, origin) for said in _said(text))


@lru_cache(16)
def _table(uri: str) -> Mapping[str, Sequence[tuple[str, str]]]:
    """What a table says of each picture, by path from its folder."""
    data = read_bytes(uri)
    if len(data) > LARGEST_TABLE:
        raise SourceError(f"are more than {LARGEST_TABLE >> 20} MiB")
    text = _decoded(data)
    rows: Iterable[Mapping[Any, Any]]
    try:
        if uri.lower().endswith(".jsonl"):
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            separator = "\t" if uri.lower().endswith(".tsv") else ","
            rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))
    except (ValueError, csv.Error) as error:
        raise SourceError("can't be read: it is no table of that kind") from error
    told: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        name = next((row[n] for n in NAMES if isinstance(row, dict) and isinstance(row.get(n), str)), "")
        for kind, value in row.items() if name else ():
            if isinstance(kind, str) and kind not in NAMES and WORDS.intersection(words(kind)):
                told.setdefault(name.removeprefix("./"), []).extend((kind, said) for said in _said(value))
    return told


def _of_episodes(clip: ClipSpec, tables: Sequence[str], refused: dict[str, Refusal]) -> Iterator[Tag]:
    """The tasks of the LeRobot episode that a clip shows."""
    for info in tables:
        if not info.endswith(f"/{texts.LEROBOT}"):
            continue
        try:
            for episode in lerobot.episodes(info, clip.uris[0]):
                if episode.start <= clip.times[0] < episode.stop:
                    for task in episode.tasks:
                        yield "task", task[:LONGEST], f"LeRobot episode {episode.number}"
        except (SourceError, OSError) as error:
            refused[info] = Refusal(info, f"its episodes {why(error)}")


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError("are not UTF-8 text") from None


def _is_numbers(text: str) -> bool:
    try:
        return all(isinstance(float(part), float) for part in text.replace(",", " ").split())
    except ValueError:
        return False


def _said(value: Any) -> Iterator[str]:
    """The texts in a value: itself, or those of a list."""
    if isinstance(value, list):
        for one in value[:MOST]:
            if not isinstance(one, list | dict):
                yield from _said(one)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        text = " ".join(str(value).split())[:LONGEST]
        if text:
            yield text.encode(errors="replace").decode()
