"""Scene → recorded motion of every geometry. Imported by `draw`, `pixels` and `render`."""
