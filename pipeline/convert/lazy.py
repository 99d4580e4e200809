"""A whole dataset as one xarray Dataset, read when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from freelabels.generators.contract.fields import Array, known_field
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.pipeline.shards.columns import fill_value
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard

if TYPE_CHECKING:
    import xarray


def open(path: str | os.PathLike[str], fields: Sequence[str] = ()) -> xarray.Dataset:
    """All frames of a dataset along the dimension ``frame``, as lazy arrays of a shard a block.

    fields: columns to have, default all. Where a shard lacks one stands its invalid value. Columns that are not
    of one shape in all shards (about objects, of which clips have more or fewer) are left out, and named in the
    attribute ``left_out``. Coordinates ``shard`` and ``shard_row`` say where a frame lies. Raises NotADataset,
    UserError if xarray or dask isn't installed, or for a column that no shard has.
    """
    try:
        import dask.array
        import xarray

        arrays: Any = dask.array  # its functions aren't typed
    except ImportError as error:
        raise UserError("freelabels.open needs xarray and dask: pip install 'freelabels[xarray]'") from error
    dataset = Dataset(path)
    attributes = dataset.attributes
    shards = list(dataset.open_all(dataset.shards()))
    there = list(dict.fromkeys(name for shard in shards for name in shard.fields if known_field(name)))
    for name in fields:
        if name not in there:
            raise UserError(f"{path} has no column {name!r}: {nearest(name, there)}")
    columns, left_out = {}, []
    for name in fields or there:
        shapes = {shard.shape(name)[1:] for shard in shards if name in shard.fields}
        if len(shapes) > 1:
            left_out.append(name)
            continue
        [shape] = shapes
        spec = known_field(name)
        assert spec is not None
        blocks = [arrays.from_delayed(*_block(shard, name, shape, spec.dtype)) for shard in shards]
        said = {"long_name": spec.meaning, "units": spec.unit, "frame": spec.frame}
        columns[name] = (("frame", *spec.axes), arrays.concatenate(blocks), said)
    rows = [shard.rows for shard in shards]
    coordinates = {
        "shard": ("frame", np.repeat([shard.name for shard in shards], rows)),
        "shard_row": ("frame", np.concatenate([np.arange(0), *map(np.arange, rows)])),
    }
    return xarray.Dataset(columns, coordinates, {**attributes, "left_out": left_out})


def _block(shard: Shard, name: str, shape: tuple[int, ...], dtype: str) -> tuple[Any, tuple[int, ...], Any]:
    """A shard's part of a column as dask takes it: what makes it, its shape and type."""
    from dask.delayed import delayed

    whole = (shard.rows, *shape)
    return delayed(_read, pure=True)(shard, name, whole, dtype), whole, np.dtype(dtype)


def _read(shard: Shard, name: str, shape: tuple[int, ...], dtype: str) -> Array:
    """The frames of a shard's column, or its invalid value where it has none. Raises CorruptShard."""
    if name not in shard.fields:
        spec = known_field(name)
        assert spec is not None
        return np.full(shape, np.float64(fill_value(spec)), dtype)
    try:
        return shard.read_rows(name)
    finally:
        shard.close()
