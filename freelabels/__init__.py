"""Training labels that no human drew: detectors on real images, exact renders, zarr shards, multitask training.

The public face is listed in `__init__.pyi`. Each name is imported from the layer that defines it when it is first
asked for, so that `import freelabels` itself costs next to nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
