"""The dataset card: README.md for people and croissant.json (MLCommons Croissant 1.1) for machines.

Both follow from the shards' records and what the user says; they carry no time, so that the same dataset gives the
same card. Source of the vocabulary: Croissant format specification 1.1, docs.mlcommons.org/croissant.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from freelabels.generators.contract.fields import CONFIDENCE_SUFFIX, known_field
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted
from freelabels.ground.versions import version_of
from freelabels.pipeline.shards.dataset import Dataset, DatasetFile
from freelabels.pipeline.shards.index import Index
from freelabels.pipeline.viewer.inspect import index_to_look, inspected

README, CROISSANT = "README.md", "croissant.json"
# The last line of the README: the hashes of what was written, so that nobody's own words are overwritten.
SEAL = "<!-- written by freelabels card: {} {} -->\n"
SEALED = re.compile(re.escape(SEAL).replace(r"\{\}", "([0-9a-f]{64})") + r"\Z")
HOW_LABELLED = (
    "Labels of real frames were made by hard-coded detectors without any human or pretrained network; they are "
    "noisy, which each label's confidence says pixel by pixel: fitted to renders and, for some labels, to counts "
    "of how often they were right on footage that people had labelled. Labels of rendered frames are exact."
)


@dataclass(frozen=True)
class About:
    """What only the owner knows of a dataset.

    license: of the labels, an SPDX name or a URL; source_license: the terms of the frames they were made from.
    """

    name: str = ""
    description: str = ""
    license: str = ""
    source_license: str = ""
    creators: tuple[str, ...] = ()
    url: str = ""
    citation: str = ""


def card(path: str | os.PathLike[str], about: About | None = None) -> list[DatasetFile]:
    """Write the card of the dataset at `path`; returns the files.

    Raises UserError if the dataset has no shards, or if one of the files is there and was not written by this.
    """
    about = about or About()
    dataset = Dataset(path)
    index = index_to_look(dataset)
    figures = inspected(index)
    if not figures["shards"]:
        raise UserError(f"{path} holds no shards yet; label or render into it first")
    _spare_what_others_wrote(dataset)
    name = about.name or Path(os.fspath(path)).resolve().name
    fields = _fields(index)
    document = json.dumps(croissant(name, about, figures, fields), indent=2, ensure_ascii=False) + "\n"
    text = _readme(name, about, figures, fields, index.name(0))
    text += SEAL.format(_hash(text), _hash(document))
    try:
        dataset.storage.write(CROISSANT, document.encode())
        dataset.storage.write(README, text.encode())
    except OSError as error:
        raise UserError(f"can't write to {path} ({error.strerror})") from error
    return [dataset.file(README), dataset.file(CROISSANT)]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _spare_what_others_wrote(dataset: Dataset) -> None:
    """Raise UserError if a file of the card is there and is not as this wrote it."""
    have: dict[str, str] = {}
    for name in (README, CROISSANT):
        if dataset.storage.exists(name):
            have[name] = dataset.storage.read(name).decode(errors="replace")
    seal = SEALED.search(have.get(README, ""))
    wrote = dict(zip((README, CROISSANT), seal.groups(), strict=True)) if seal else {}
    if seal:
        have[README] = have[README][: seal.start()]
    for name, text in have.items():
        if _hash(text) != wrote.get(name):
            raise UserError(
                f"{dataset.path}/{name} was written or changed by somebody else; move it away to have a card"
            )


def _fields(index: Index) -> dict[str, dict[str, Any]]:
    """Attributes, dtype and shape (without frames) of every column, as the first shard that has it says."""
    found: dict[str, dict[str, Any]] = {}
    for number in np.sort(np.unique(index.made, return_index=True)[1]).tolist():  # the first of each recipe
        if index.recipes[index.made[number]].keys() <= found.keys():
            continue
        shard = index.dataset.open(index.name(number))
        for column in shard.fields:
            if column not in found:
                attributes = shard.attributes(column)
                known = known_field(column)
                found[column] = {
                    "meaning": attributes.get("long_name", ""),
                    "unit": "" if attributes.get("units") == "1" else attributes.get("units", ""),
                    "frame": attributes.get("frame", ""),
                    "dtype": known.dtype if known else "",
                    "shape": shard.shape(column)[1:],
                    "axes": known.axes if known else (),
                    "invalid": known.invalid if known else None,
                }
    return dict(sorted(found.items()))


# --- for machines -----------------------------------------------------------------------------------------------

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "recordSet": "cr:recordSet",
    "source": "cr:source",
}
OBJECT_AXES = frozenset({"object", "other", "link", "part"})  # as long as the clips of a shard have objects
SHARDS = {
    "@type": "cr:FileSet",
    "@id": "shards",
    "name": "shards",
    "description": "Shards: zarr v3 groups <shard>/, in each a column <shard>/<field>/ whose chunks are frames.",
    "encodingFormat": "application/vnd.zarr",
    "includes": "*.*/*/c/**",
}
CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
TYPES = {
    "uint8": "cr:UInt8",
    "uint16": "cr:UInt16",
    "int32": "cr:Int32",
    "float16": "cr:Float16",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
}


def croissant(
    name: str, about: About, figures: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The Croissant document of a dataset: the shards, and a field for every column; a record is a frame."""
    makers = sorted({maker for column in figures["fields"].values() for maker in column["made_by"]})
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": about.description or _sentence(figures),
        "license": about.license,
        "url": about.url,
        "citeAs": about.citation,
        "creator": [{"@type": "sc:Organization", "name": creator} for creator in about.creators],
        "version": f"{figures['attributes'].get('schema', 1)}.0.0",
        "keywords": sorted(n for n in fields if not n.endswith(CONFIDENCE_SUFFIX)),
        "usageInfo": about.source_license,
        "rai:dataAnnotationProtocol": HOW_LABELLED,
        "rai:machineAnnotationTools": makers,
        "distribution": [SHARDS],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "frames",
                "name": "frames",
                "description": "One record a frame; frames of a clip lie in order within a shard.",
                "field": [_field(column, entry) for column, entry in fields.items()],
            }
        ],
    }
    return {key: value for key, value in document.items() if value not in ("", [])}


def _field(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    described = [entry["meaning"]]
    described += [f"unit: {entry['unit']}"] if entry["unit"] else []
    described += [f"frame: {entry['frame']}"] if entry["frame"] not in ("", "image") else []
    described += [f"invalid: {entry['invalid']}"] if entry["invalid"] is not None else []
    out: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"frames/{name}",
        "name": name,
        "description": "; ".join(described),
        "dataType": TYPES.get(entry["dtype"], "sc:Text"),
        "source": {"fileSet": {"@id": "shards"}, "extract": {"fileProperty": "content"}},
    }
    if entry["shape"]:
        axes = entry["axes"] or ("",) * len(entry["shape"])
        lengths = zip(axes, entry["shape"], strict=True)
        shape = [-1 if axis in OBJECT_AXES else length for axis, length in lengths]
        out |= {"isArray": True, "arrayShape": ",".join(map(str, shape))}
    return out


# --- for people -------------------------------------------------------------------------------------------------


def _sentence(figures: Mapping[str, Any]) -> str:
    kinds = ", ".join(counted(n["clips"], f"{kind} clip") for kind, n in figures["sources"].items())
    frames = counted(figures["rows"], "frame")
    return f"{frames} of {kinds} with dense labels that no human drew, as zarr v3 shards."


def _readme(
    name: str,
    about: About,
    figures: Mapping[str, Any],
    fields: Mapping[str, Mapping[str, Any]],
    example: str,
) -> str:
    templates = Environment(
        loader=PackageLoader("freelabels.pipeline", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    labels = {n: entry for n, entry in fields.items() if not n.endswith(CONFIDENCE_SUFFIX)}
    return templates.get_template("cards.md.jinja").render(
        name=name,
        about=about,
        sentence=about.description or _sentence(figures),
        note=HOW_LABELLED,
        figures=figures,
        fields=labels,
        size=" × ".join(map(str, figures["attributes"].get("size", ["?"]))),
        version=version_of("freelabels"),
        example=example,
        yaml=json.dumps,
        counted=counted,
    )
