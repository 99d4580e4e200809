"""Things made by code: parts of simple solids, their measures drawn per variant. Imported by `scene`."""
