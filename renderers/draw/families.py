"""Every sort of place by name; a new one is a file with two functions and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from freelabels.renderers.draw.layouts import Family
from freelabels.renderers.draw.room import lay_room, room_camera
from freelabels.renderers.draw.street import lay_street, street_camera
from freelabels.renderers.draw.table import lay_table, table_camera

FAMILIES: Mapping[str, Family] = {
    "room": Family(lay_room, room_camera),
    "street": Family(lay_street, street_camera),
    "table": Family(lay_table, table_camera),
}
