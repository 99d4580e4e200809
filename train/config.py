"""All that a training run and a probe can be told, as frozen dataclasses.

They stand apart from the code that they configure, so that the command line can show them without importing torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AugmentConfig:
    """How far a view may differ from the frame; everything zero, and `crop` (1, 1), gives the centre square."""

    crop: tuple[float, float] = (0.6, 1.0)
    """Side of the square crop as a share of the frame's shorter side: smallest, largest."""
    flip: float = 0.5
    """Probability of mirroring left and right."""
    rotate: float = 0.0
    """Largest in-plane rotation, degrees; pixels from outside the frame carry no label."""
    light: float = 0.3
    """Largest relative change of brightness and contrast; half of it for gamma."""
    colour: float = 0.3
    """Largest relative change of saturation and of each colour channel's gain (a third of it)."""
    grey: float = 0.1
    """Probability of taking the colour away."""
    blur: float = 0.1
    """Probability of a Gaussian blur of up to one pixel."""


@dataclass(frozen=True)
class LoaderConfig:
    """How windows of frames become batches."""

    size: int = 128
    """Side of the square views, pixels."""
    frames: int = 1
    """Frames of a window; 2 or more for tasks between frames."""
    batch: int = 16
    """Windows of a batch, per process."""
    synthetic: float = 0.5
    """Share of synthetic windows when both domains are given."""
    held_out: float = 0.15
    """Share of the clips kept for evaluation, chosen by a hash of their source."""
    buffer: int = 8
    """Shards whose windows are mixed at a time."""
    resident: bool = False
    """Decode all frames once into the device's memory and make the views there: for data that fit into it (about
    0.5 MB a frame of 160 px with six labels), of tasks on single labels of their frames."""
    workers: int = 1
    """Threads that read ahead."""
    ahead: int = 3
    """Batches read ahead."""
    cache: str = ""
    """Folder for copies of columns that are read from an object store; none by default."""
    cache_gib: float = 50.0
    """Most GiB of it; columns read least recently are given up."""
    exclude: tuple[str, ...] = ()
    """Exclusion lists, as freelabels inspect saves them; a dataset's own exclusions.json always counts."""
    versions: tuple[str, ...] = ()
    """Versions of columns to train on, COLUMN=VERSION (edges=5): of others that the same detector made there is no
    label, or no window."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class ModelConfig:
    """What the network is made of."""

    backbone: str = "resnet18"
    """Any timm model with intermediate features."""
    pretrained: bool = False
    """Start from timm's weights (they were made with human labels)."""
    width: int = 64
    """Channels of the feature all heads share."""
    mix: float = 0.0
    """Weight of the lasso on each task's own mix of all stages; 0: no mixes, tasks see the last stage."""
    grey: bool = False
    """Let the trunk see brightness alone, so that tasks that ask in colour and those that don't agree."""
    clips: str = "r3d_18"
    """The trunk that sees clips, torchvision's r3d_18, mc3_18 or r2plus1d_18; built only if a task asks for it."""
    clip_share: float = 1.0
    """Share of its channels; half of them cost a third."""
    laterals: int = 0
    """Stages, counted from the deepest, that the shared feature is made of; 0: all. With fewer, heads on maps get
    nothing from fine stages but by way of deep ones."""


@dataclass(frozen=True)
class AdversaryConfig:
    """Which adversary, how strong, and where."""

    name: str = "none"
    """none, reversal, lsgan, multilevel, cdan, ridge, coral, mmd, fourier or refiner."""
    weight: float = 0.1
    """Strength at the end of the ramp, against the tasks' sum."""
    stage: int = -1
    """Which of the backbone's feature maps is adapted (multilevel: all)."""
    width: int = 64
    """Channels of the discriminators."""
    pool: int = 256
    """Past features that the judge is shown again (lsgan, ridge)."""
    penalty: float = 0.03
    """Of the judge's weights, against features of unit spread (ridge)."""
    keep: float = 1.0
    """How strongly a refined image is held to its render (refiner)."""
    band: float = 0.02
    """Half the side of the swapped low frequencies, as a share of the image (fourier)."""


@dataclass(frozen=True)
class BalanceConfig:
    """Which method, and its parameters."""

    name: str = "fixed"
    """fixed, uncertainty, dwa, gradnorm, pcgrad or famo."""
    temperature: float = 2.0
    """How evenly dwa spreads its weights."""
    every: int = 50
    """Steps of one of dwa's windows."""
    strength: float = 1.0
    """gradnorm: how hard slow tasks are pulled along (the paper's α)."""
    rate: float = 0.025
    """Step size of gradnorm's and famo's weights."""


@dataclass(frozen=True)
class RobustConfig:
    """How losses bear wrong labels."""

    choice: str = "confidence"
    """confidence (weights), plain (every label counts 1), and, each on top of confidence: generalised
    (cross-entropy, for probabilities and classes), bootstrap (from the EMA teacher), trimmed."""
    trim: float = 0.2
    """Share of each frame's labels left out (trimmed)."""
    trust: float = 0.7
    """Share of the loss that stays with the label (bootstrap)."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on besides its data; `train.toml` in the run's folder holds it."""

    tasks: tuple[str, ...] = ()
    """What to learn; default: edges, motion, disparity, depth, normals, contours, as far as the data has them."""
    set: tuple[str, ...] = ()
    """Parameters of tasks, NAME.PARAMETER=VALUE each; `freelabels tasks` lists them."""
    steps: int = 1000
    """Optimiser steps."""
    lr: float = 1e-3
    """Peak learning rate."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises; then it falls along a cosine."""
    optimizer: str = "adamw"
    """Any of timm's optimisers."""
    weight_decay: float = 0.05
    """Of weights; biases and norms have none."""
    clip: float = 1.0
    """Largest gradient norm; 0: no limit."""
    accumulate: int = 1
    """Batches of a step."""
    ema: float = 0.999
    """Decay of the averaged weights that are evaluated, warmed up."""
    precision: str = "auto"
    """auto (bfloat16 where it is faster), bf16 or fp32."""
    channels_last: bool = False
    """Keep maps with the channels innermost, which some devices compute faster."""
    compile: bool = False
    """Compile the trunk (torch.compile): pays off on GPUs after a minute or so."""
    device: str = "auto"
    """auto, cpu or cuda."""
    seed: int = 0
    """Of weights, order, views and everything else drawn."""
    start: str = ""
    """Folder of a run whose trunk (averaged weights) is begun from; none by default."""
    save_every: int = 200
    """Steps between checkpoints."""
    log_every: int = 10
    """Steps between lines of metrics."""
    picture_every: int = 200
    """Steps between pictures and held-out scores; both are also made at the end."""
    evaluate: int = 128
    """Most held-out windows that are scored."""
    log: tuple[str, ...] = ()
    """Services that are told of the run too: wandb, mlflow, trackio; extras of this package."""
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    robust: RobustConfig = field(default_factory=RobustConfig)


@dataclass(frozen=True)
class ProbeConfig:
    """How the features are probed."""

    size: int | None = None
    """Side of the square images, pixels; default: as trained."""
    seeds: int = 5
    """How often everything random is drawn anew: splits, low-shot images, random weights."""
    seed: int = 0
    """The first seed."""
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Images a class of the low-shot probes."""
    draws: int = 3
    """Draws of the low-shot images, per seed."""
    test: float = 0.3
    """Share of the images that is tested on, where the data doesn't say."""
    neighbours: int = 0
    """Neighbours that vote; 0: as many, 1 to 50, as leave-one-out on the training images chooses."""
    images: int = 5000
    """Most images, or videos, of a set of classes that are used."""
    stream: int | None = None
    """Epochs of a linear probe that reads all images anew in each and stores no features; default: 28 for sets of
    more than 50,000 images, which are probed in this way alone; 0, that is not, for others."""
    clips: int = 10
    """Clips that are seen of each video, evenly spread over it."""
    clip_frames: int = 8
    """Frames of a clip, every other one of the video's."""
    frames: int = 300
    """Most images with dense labels that are used."""
    fields: tuple[str, ...] = ("depth", "normals", "semantic")
    """Labels of Freelabels datasets that are probed: depth, normals, disparity, semantic."""
    void: tuple[int, ...] = (255,)
    """Ids in label maps that are no class."""
    rotation: str = "train"
    """Row of the rotation pretext: train (as many images as the run has seen, into the output folder), skip, or
    the folder of a run."""
    random: str = "add"
    """Row of random weights: add, or skip."""
    beside: tuple[str, ...] = ()
    """Further runs, a row each."""
    supervised: str = ""
    """Row of a supervised checkpoint of the same architecture: a file, or timm for timm's own weights."""
    finetune_stages: bool = False
    """Fine-tune from each stage on too, what lies below it frozen, with random scales and ten crops, for as many
    epochs as --finetune says."""
    finetune: int = 0
    """Epochs of fine-tuning the whole backbone; 0 leaves it out."""
    shares: tuple[float, ...] = ()
    """Shares of the training labels, as 0.01 0.05 0.1 1: what ridge, --finetune and --segmentation-steps make of
    so many, each share within the next larger."""
    segmentation_steps: int = 0
    """Steps, of 8 images, of training a segmentation network on the backbone, frozen and free, on label maps; 0
    leaves it out."""
    detection: tuple[str, ...] = ()
    """Folders in VOC's or COCO's layout, on whose boxes a Faster R-CNN is trained on the backbone, frozen and
    free."""
    detection_steps: int = 2000
    """Steps of that, 8 images each."""
    device: str = "auto"
    """auto, cpu or cuda."""


@dataclass(frozen=True)
class BenchConfig:
    """How the rows of the table of features are trained, and how they are probed."""

    rows: tuple[str, ...] = ()
    """Rows by name, or tasks by themselves; default: all rows that the given data can feed."""
    seeds: int = 3
    """How often each row is trained, from other weights on other views."""
    seed: int = 0
    """The first seed."""
    budget: float = 400.0
    """Megapixels that the trunk sees of each row: 96,000 views of 64 px are 393."""
    size: int = 64
    """Side of the views, pixels; twice that where a task cuts views of less than the trunk takes."""
    batch: int = 64
    """Samples of a step; fewer where a task looks at several views of each."""
    backbone: str = "resnet18"
    """Any timm model with intermediate features."""
    width: int = 64
    """Channels of the feature all heads share."""
    lr: float = 4e-3
    """Peak learning rate of stored labels."""
    pretext_lr: float = 2e-3
    """Peak learning rate of rows without stored labels."""
    photos: int = 10_000
    """Most pictures that are learned from."""
    held_out: float = 0.1
    """Share of the clips that are kept for the tasks' own scores."""
    scored: int = 512
    """Most held-out clips that these are taken on."""
    cost: tuple[str, ...] = ()
    """CPU-seconds that making a dataset of labels took, PATH=SECONDS each; they are in the bill of its rows."""
    precision: str = "auto"
    """auto, bf16 or fp32."""
    device: str = "auto"
    """auto, cpu or cuda."""
    resident: bool = False
    """Hold all frames in the device's memory, channels innermost: see `train --loader.resident`."""
    compile: bool = False
    """Compile the trunk."""
    probe: ProbeConfig = field(
        default_factory=lambda: ProbeConfig(seeds=1, draws=1, shots=(1, 10), rotation="skip")
    )
    """How the features are probed: the same for all rows."""
