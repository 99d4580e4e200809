# The public face: what `import freelabels` offers, for people, type checkers and the lazy imports alike.

# What the commands do, and what each can be told.
# For plug-ins: detectors and fields of your own.
from .generators.contract.clip import Clip as Clip
from .generators.contract.detector import register as register
from .generators.contract.fields import Array as Array
from .generators.contract.fields import Field as Field
from .generators.contract.fields import as_bytes as as_bytes
from .ground.errors import UserError as UserError
from .ground.versions import __version__ as __version__
from .pipeline.cards import About as About
from .pipeline.cards import card as card
from .pipeline.convert.formats import convert as convert
from .pipeline.convert.lazy import open as open
from .pipeline.curate.copying import copy as copy
from .pipeline.curate.dividing import split as split
from .pipeline.curate.prune import prune as prune
from .pipeline.curate.selection import Selection as Selection
from .pipeline.quality.compare import compare as compare
from .pipeline.quality.verify import verify as verify

# Reading what they made.
from .pipeline.shards.dataset import Dataset as Dataset
from .pipeline.sources.clip_specs import SourceOptions as SourceOptions
from .pipeline.stages.calibrate import calibrate as calibrate
from .pipeline.stages.label import label as label
from .pipeline.stages.render import RenderOptions as RenderOptions
from .pipeline.stages.render import render as render
from .pipeline.viewer.inspect import inspect as inspect
from .pipeline.work.runner import Cluster as Cluster
from .train.bench.features import bench_features as bench_features
from .train.config import BenchConfig as BenchConfig
from .train.config import ProbeConfig as ProbeConfig
from .train.config import TrainConfig as TrainConfig
from .train.data.frame_dataset import FrameDataset as FrameDataset
from .train.export import export as export
from .train.predicting.predict import predict as predict
from .train.probing.probe import probe as probe
from .train.push import Pushed as Pushed
from .train.push import push as push
from .train.run.fit import fit as fit
