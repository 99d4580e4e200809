"""A picture of a dataset: frames spread over its sources, every label beside its frame."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from freelabels.generators.contract.fields import DOMAINS, Kind, confidence_name, field, known_field
from freelabels.generators.contract.legends import ROUND, Legend, legend
from freelabels.generators.contract.pictures import UNKNOWN, picture
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.storage.uris import output_file
from freelabels.pipeline.viewer.frame_reader import names_of
from freelabels.pipeline.viewer.inspect import index_to_look

TILE, GAP, HEADER = 160, 4, 18
KEY_LINE, SWATCHES = 13, 10  # pixels a line of the legend takes; classes named in it
KEY_HEIGHT = ROUND + 2 * KEY_LINE + GAP
INK, FAINT, PAPER = (230, 230, 230), (150, 150, 158), (24, 24, 28)


def draw_contact_sheet(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    frames: int = 10,
    fields: Sequence[str] = (),
) -> Path:
    """Write a PNG with every label beside its frame, for `frames` frames spread over the kinds of sources.

    Colours fade to slate where the label is not trusted; where a source has no such label, slate and words say so.
    What colours mean stands below each column. fields: what to show, () for all that are there. Raises UserError
    if there is nothing to show or the file can't be written.
    """
    dataset = Dataset(path)
    chosen = _spread(dataset, frames)
    if not chosen:
        raise UserError(f"{path} holds no frames yet, so there is nothing to draw")
    names = _shown(chosen, fields)
    columns = ["image", *names]
    height, width = _tile_size(chosen[0][0])
    sheet = Image.new(
        "RGB",
        (GAP + len(columns) * (width + GAP), HEADER + len(chosen) * (height + HEADER + GAP) + KEY_HEIGHT),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for k, name in enumerate(columns):
        draw.text((GAP + k * (width + GAP), 2), name, INK, font)
    for line, (shard, row) in enumerate(chosen):
        top = HEADER + line * (height + HEADER + GAP)
        draw.text((GAP, top + height + 1), _caption(shard, row), INK, font)
        for k, name in enumerate(columns):
            if name in shard.fields:
                tile = Image.fromarray(_tile(shard, name, row)).resize((width, height), Image.Resampling.BOX)
                sheet.paste(tile, (GAP + k * (width + GAP), top))
            else:
                left = GAP + k * (width + GAP)
                draw.rectangle((left, top, left + width - 1, top + height - 1), UNKNOWN)
                kind = _clip_of(shard, row)["kind"]
                draw.text((left + GAP, top + height // 2 - 14), f"none is made\nof a {kind}", INK, font)
    for k, name in enumerate(columns):
        _draw_legend(
            sheet, (GAP + k * (width + GAP), sheet.height - KEY_HEIGHT), width, _legend_of(chosen, name)
        )
    for shard, _ in chosen:
        shard.close()
    with output_file(target) as file:
        sheet.save(file, format="PNG")
    return file


def _spread(dataset: Dataset, frames: int) -> list[tuple[Shard, int]]:
    """Frames from every kind of source in turn, from as many clips as there are, in the middle of each."""
    index = index_to_look(dataset)
    found: dict[str, list[NDArray[np.int64]]] = {}  # kind → shard number and row of the middle of each clip
    for numbers, part in index.summaries("clips"):
        of_shard = np.repeat(numbers, part.shards["clips"])
        middle = (part.clips["start"].astype(np.int64) + part.clips["stop"]) // 2
        for kind in np.unique(part.clips["kind"]).tolist():
            mine = part.clips["kind"] == kind
            found.setdefault(part.kinds[kind], []).append(np.stack([of_shard[mine], middle[mine]], axis=1))
    picked: list[tuple[int, int]] = []
    share = -(-frames // max(len(found), 1))
    for kind in sorted(found):
        rows = np.concatenate(found[kind])
        rows = rows[np.lexsort(rows.T[::-1])]
        picked += map(tuple, rows[:: max(1, len(rows) // share)][:share].tolist())
    shards = {
        number: dataset.open(index.name(number)) for number in {number for number, _ in picked[:frames]}
    }
    return [(shards[number], row) for number, row in picked[:frames]]


def _shown(chosen: Sequence[tuple[Shard, int]], fields: Sequence[str]) -> list[str]:
    """Labels that some chosen shard has, tables and packed masks of many layers included only on request."""
    present = {name for shard, _ in chosen for name in shard.fields if known_field(name)}
    for name in fields:
        if name not in present:
            raise UserError(
                f"--fields {name}: these frames have no such field: {nearest(name, sorted(present))}"
            )
    if fields:
        return list(fields)
    return sorted(name for name in present if field(name).is_label)


def _tile_size(shard: Shard) -> tuple[int, int]:
    height, width = shard.shape("image")[1:3]
    scale = TILE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _tile(shard: Shard, name: str, row: int) -> NDArray[np.uint8]:
    """One label as colours. A clip is coloured on the frame's own scale."""
    values = shard.read(name, row)
    trust = confidence_name(name)
    confidence = (
        shard.read(trust, row) if field(name).kind is not Kind.IMAGE and trust in shard.fields else None
    )
    return np.ascontiguousarray(picture(name, values, confidence))


def _legend_of(chosen: Sequence[tuple[Shard, int]], name: str) -> Legend:
    """The legend of a column; the classes of a category are those that some shown frame holds."""
    names: dict[int, str] = {}
    if field(name).kind is Kind.CATEGORY:
        for shard, row in chosen:
            if name in shard.fields:
                there = np.unique(shard.read(name, row)).tolist()
                known = names_of(shard, name, _clip_of(shard, row))
                names |= {number: known[number] for number in there if number in known}
    return legend(name, names)


def _draw_legend(sheet: Image.Image, at: tuple[int, int], width: int, key: Legend) -> None:
    """What the colours of a column mean, below it."""
    draw, font, (left, top) = ImageDraw.Draw(sheet), ImageFont.load_default(10), at
    if key.picture is not None:
        sheet.paste(Image.fromarray(key.picture), (left, top))
        round_ = key.picture.shape[0] == ROUND
        if round_:
            draw.text((left + ROUND + GAP, top), f"{key.low}\n{key.high}".replace(", ", "\n"), FAINT, font)
        else:
            below = top + key.picture.shape[0]
            draw.text((left, below), key.low, FAINT, font)
            draw.text(
                (left + key.picture.shape[1] - draw.textlength(key.high, font), below), key.high, FAINT, font
            )
        top += key.picture.shape[0] + (0 if round_ else KEY_LINE)
    columns = 1 if key.picture is not None else 2
    for k, (colour, word) in enumerate(key.swatches[: SWATCHES if columns > 1 else 2]):
        x, y = left + (k % columns) * (width // 2), top + 2 + (k // columns) * KEY_LINE
        draw.rectangle((x, y, x + 8, y + 8), colour)
        draw.text((x + 12, y - 2), word[: width // (6 * columns) - 2], FAINT, font)


def _clip_of(shard: Shard, row: int) -> Mapping[str, Any]:
    return next(c for c in shard.clips if c["rows"][0] <= row < c["rows"][1])


def _caption(shard: Shard, row: int) -> str:
    clip = _clip_of(shard, row)
    domain = DOMAINS[int(shard.read("domain", row))]
    source = (clip.get("source") or ["?"])[0].rpartition("/")[2]
    return f"{clip['kind']} ({domain}) · {source} · {shard.name} row {row}"
