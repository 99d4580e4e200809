"""The record of a shard or a dataset: canonical JSON under a checksum, in the metadata of its zarr group."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from freelabels.ground.errors import CorruptShard, NewerSchema
from freelabels.pipeline.storage.layouts import FOLDERS, PACKED

# By the layout of the dataset. 2: records name their shard and dataset and the checksum of every frame, and the
# dataset is sealed. 3: the same in packs, which who knows 2 alone would not look for.
SCHEMAS = {FOLDERS: 2, PACKED: 3}
SCHEMA = max(SCHEMAS.values())  # what is read
KEY = "freelabels"  # the attribute of the group that holds it


def canonical(document: Any) -> bytes:
    """JSON bytes that depend on the content alone."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(document: Any) -> str:
    """A hex sha256 of any JSON-able value."""
    return hashlib.sha256(canonical(document)).hexdigest()


def layout_of(attributes: Mapping[str, Any]) -> str:
    """The layout of a dataset whose record is given; that of folders is not written down."""
    return str(attributes.get("layout", FOLDERS))


def seal(record: Mapping[str, Any], **group: Any) -> bytes:
    """The metadata of a zarr group that holds a record, the schema and the checksum of it all.

    record: of a dataset, or of a shard, which names its dataset's. group: further entries of the group's metadata.
    """
    sealed: dict[str, Any] = {"schema": SCHEMAS[layout_of(record.get("dataset", record))], **record}
    document = {"zarr_format": 3, "node_type": "group", "attributes": {KEY: sealed}, **group}
    sealed["sha256"] = digest(document)
    return canonical(document)


def unseal_shard(name: str, text: bytes) -> dict[str, Any]:
    """The metadata of a shard's group, checked, from its text; name: the shard's folder.

    Raises NewerSchema if a newer version wrote it, CorruptShard if it is damaged or another shard's.
    """
    try:
        document = json.loads(text)
        record = document["attributes"][KEY]
        sealed = record.pop("sha256")
        unsealed = text.replace(f',"sha256":"{sealed}"'.encode(), b"", 1)  # sorts last of the record
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptShard(f"{name}: its record can't be read") from error
    _refuse_newer(name, record)
    if hashlib.sha256(unsealed).hexdigest() != sealed:
        raise CorruptShard(f"{name}: its record does not match its checksum")
    if record.get("schema", 1) > 1 and record.get("id") != name.rpartition(".")[0]:
        raise CorruptShard(f"{name}: its record is that of another shard, {record.get('id')}")
    if any({"", ".", ".."} & set(key.split("/")) for key in _files(record)):
        raise CorruptShard(f"{name}: its record names files outside of the shard")
    return document  # type: ignore[no-any-return]


def _files(record: Mapping[str, Any]) -> Iterator[str]:
    """Paths within the shard of the files of all columns."""
    return (key for column in record["columns"].values() for key in column["objects"])


def _refuse_newer(where: str, record: Mapping[str, Any]) -> None:
    schema = record.get("schema", 0)
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerSchema(
            f"{where}: was written by a newer version "
            f"(schema {schema}, this one reads {SCHEMA}); update freelabels"
        )


def unseal_dataset(where: str, text: bytes) -> dict[str, Any] | None:
    """What holds for all shards of a dataset, from the text of its group's metadata; None if it is damaged.

    Raises NewerSchema, naming `where` it lies, if a newer version wrote it; ValueError, KeyError, TypeError or
    AttributeError if it is something else.
    """
    document = json.loads(text)
    record: dict[str, Any] = document["attributes"][KEY]
    sealed = record.pop("sha256", None)
    _refuse_newer(where, record)
    damaged = (sealed or record["schema"] > 1) and digest(document) != sealed
    return None if damaged or "columns" in record else record  # columns: a shard's record in its place
