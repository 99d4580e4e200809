"""The files of folders that belong together, and what the name of each picture says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from freelabels.pipeline.media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from freelabels.pipeline.sources.layouts import texts, words
from freelabels.pipeline.sources.layouts.notes import is_text

NUMBERS = (".npy", ".npz")  # arrays: never photos, but they may be depth


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's name. key: of folder and stem, equal where things belong together; maps: what it is a map of."""

    folder: str
    name: str
    key: tuple[str, ...]
    stem_key: tuple[str, ...]
    maps: tuple[str, ...]

    @property
    def uri(self) -> str:
        """Where it lies."""
        return f"{self.folder}/{self.name}"

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self.name.rpartition(".")[0]


class Family:
    """The files of one family of folders (`words.family`): folder → name → stamp."""

    def __init__(self, folders: Mapping[str, Mapping[str, str]], roots: Sequence[str] = ()) -> None:
        self.folders = folders
        self._worded = {one for one, files in folders.items() if any(map(texts.is_about_one, files))}
        self._pictures = {folder: self._named(folder, roots) for folder in folders}

    def pictures(self, folder: str) -> list[Picture]:
        """The pictures (and arrays) in a folder by name."""
        return self._pictures[folder]

    def photos(self, folder: str) -> list[Picture]:
        """The pictures in a folder that aren't maps by their names."""
        return [p for p in self._pictures[folder] if not p.maps and not p.name.lower().endswith(NUMBERS)]

    def every(self) -> Iterator[Picture]:
        """All pictures."""
        for pictures in self._pictures.values():
            yield from pictures

    def is_map(self, picture: Picture) -> bool:
        """Whether a picture is a map by its name, and a photo of the same name lies beside it."""
        if not picture.maps:
            return False
        if not picture.stem_key:
            return picture.key in self._photo_keys
        whole, but_one = (
            picture.stem_key,
            picture.stem_key[:-1],
        )  # as 000001_000000 is object 0 of picture 000001
        return whole in self._photo_stems or but_one in self._photo_stems

    @cached_property
    def _photo_stems(self) -> set[tuple[str, ...]]:
        return {p.stem_key for folder in self.folders for p in self.photos(folder) if p.stem_key}

    @cached_property
    def _photo_keys(self) -> set[tuple[str, ...]]:
        return {p.key for folder in self.folders for p in self.photos(folder)}

    def companions(self, folder: str, names: Sequence[str], about: Collection[str]) -> tuple[str, ...]:
        """The text file about each picture (poses, say: its name or folder has one of the words), "" for none.

        () if no picture has one.
        """
        if not self._texts:
            return ()
        keys = {p.name: p.stem_key for p in self._pictures[folder]}
        found = []
        for name in names:
            there = self._texts.get(keys[name], []) if keys[name] else []
            found.append(next((uri for uri, said in there if said.intersection(about)), ""))
        return tuple(found) if any(found) else ()

    @cached_property
    def _texts(self) -> dict[tuple[str, ...], list[tuple[str, frozenset[str]]]]:
        """Text files by the key of their stem, each with the words of its name and folder."""
        texts: dict[tuple[str, ...], list[tuple[str, frozenset[str]]]] = {}
        for folder, files in self.folders.items():
            around = words.words(folder.rpartition("/")[2])
            for name in sorted(files):
                if is_text(name):
                    stem = name.rpartition(".")[0]
                    said = frozenset([*around, *words.words(stem)])
                    key = tuple(w for w in words.read(stem).key if w not in ("calib", "calibration"))
                    texts.setdefault(key, []).append((f"{folder}/{name}", said))
        return texts

    def texts(self, folder: str, name: str) -> list[str]:
        """The files that may hold words about one picture of a folder."""
        if folder not in self._worded:
            return []
        return [f"{folder}/{text}" for text in texts.about(name, self.folders[folder])]

    def stamp(self, uri: str) -> str:
        """The stamp of one of the files."""
        folder, _, name = uri.rpartition("/")
        return self.folders[folder][name]

    def _named(self, folder: str, roots: Sequence[str]) -> list[Picture]:
        read = [words.read(part) for part in self._below(folder, roots)]
        apart = len(self.folders) > 1
        around = tuple(kind for part in read if apart or part.of_maps_alone for kind in part.maps)
        before = tuple(word for part in read for word in part.key)
        found = []
        for name in sorted(self.folders[folder]):
            suffix = f".{name.rpartition('.')[2].lower()}"
            if suffix in IMAGE_SUFFIXES or suffix in NUMBERS or suffix in VIDEO_SUFFIXES:
                said = words.read(name.rpartition(".")[0])
                maps = tuple(dict.fromkeys((*said.maps, *around)))
                found.append(Picture(folder, name, (*before, *said.key), said.key, maps))
        return found

    def _below(self, folder: str, roots: Sequence[str]) -> list[str]:
        """The parts of a folder's path that tell it from the others of the family, or from what the user named."""
        parts = folder.split("/")
        if len(self.folders) > 1:
            apart = [one.split("/") for one in self.folders]
            common = 0
            while all(len(one) > common for one in apart) and len({one[common] for one in apart}) == 1:
                common += 1
            return parts[common:]
        inside = [root for root in roots if folder == root or folder.startswith(f"{root}/")]
        top = max(inside, key=len) if inside else folder
        return parts[len(top.split("/")) :]
