"""What is claimed of the rows, written down before they ran, and what the finished rows say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np

from freelabels.train.probing.probe_report import half_width
from freelabels.train.probing.transfer.few_labels import percent

SINGLE = ("edges", "motion", "disparity", "depth", "normals", "contours")
DENSE = ("linear a pixel", "segmentation network")  # in the names of measures on maps
FEW = percent(0.01)  # at the end of names of measures
SHARE = "of the labels"  # at the end of names of measures at whatever share


@dataclass(frozen=True)
class Claim:
    """One row beats others: on dense tables, and on tables of classes at the named stages.

    row, others: names of rows. dense: judged on dense tables, each row by its best stage. classes: judged on
    tables of classes, at each of `stages`, or each row by its best where none are named. measures: how the names
    of those tables begin, all if none are named. few: also on tables at 1 % of the labels, each row by its best.
    equal: being level is enough.
    """

    says: str
    row: str
    others: tuple[str, ...]
    dense: bool = True
    classes: bool = True
    stages: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    few: bool = True
    equal: bool = False


CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "a": (
        Claim(
            "free labels (real, rendered, adversary) beat random, rotation, jigsaw and every single label, on "
            "every dense table and at conv3–5",
            "free",
            ("random", "rotation", "jigsaw", *SINGLE),
            stages=("conv3", "conv4", "conv5"),
            few=False,
        ),
    ),
    "b": (
        Claim("free labels beat MAE-like everywhere", "free", ("masked",)),
        Claim(
            "free labels are at least SimCLR at equal pixels on the dense tables, on best-stage nearest "
            "neighbours and linear, and at 1 % of the labels",
            "free",
            ("contrast",),
            measures=("nearest neighbours", "linear"),
            equal=True,
        ),
    ),
    "c": tuple(
        Claim(f"free labels and {task} beat each alone, on every table", f"free_{task}", ("free", task))
        for task in ("rotation", "clusters", "contrast")
    ),
    "d": (
        Claim("renders and the adversary add to real labels", "free", ("real",)),
        Claim("real labels and the adversary add to renders", "free", ("renders",)),
        Claim("the adversary adds to both", "free", ("both",)),
        Claim("confidence adds to labels trusted alike", "both", ("plain",)),
    ),
    "e": (
        Claim(
            "a tenth of the renders teaches more than a hundredth", "renders_tenth", ("renders_hundredth",)
        ),
        Claim("all renders teach more than a tenth", "renders", ("renders_tenth",)),
    ),
}


@dataclass(frozen=True)
class Comparison:
    """The mean difference of two rows over seeds, positive is better, and half of its 95 % interval.

    Both are in the table's unit, and NaN where fewer than two seeds have a figure of both rows.
    """

    other: str
    where: str
    unit: str
    margin: float
    interval: float
    seeds: int

    @property
    def state(self) -> str:
        """won, level or lost: whether the interval lies above zero, holds it, or lies below it; or unknown."""
        if self.seeds < 2:
            return "unknown"
        if self.margin > self.interval:
            return "won"
        return "lost" if self.margin < -self.interval else "level"

    @property
    def strength(self) -> float:
        """The margin in half intervals, the same for all units; below -1 is lost."""
        return self.margin / max(self.interval, 1e-9)

    def __str__(self) -> str:
        share = self.unit.startswith("%")
        scale, form, unit = (100, ".1f", "points") if share else (1, ".3f", self.unit)
        told = f"{scale * self.margin:+{form}} ± {scale * self.interval:{form}} {unit}"
        return f"{told} against {self.other}, {self.where}"


@dataclass(frozen=True)
class Verdict:
    """What finished rows say of a claim: met, not met, or not run with the reason; the comparisons behind it."""

    letter: str
    says: str
    state: str
    why: str
    comparisons: tuple[Comparison, ...]


def verdicts(records: Sequence[Mapping[str, Any]], stages: Sequence[str]) -> tuple[Verdict, ...]:
    """Judge all claims by the records of finished rows; at least two seeds are needed of every row of a claim."""
    return tuple(
        judge(letter, claim, records, stages) for letter, claims in CLAIMS.items() for claim in claims
    )


def judge(letter: str, claim: Claim, records: Sequence[Mapping[str, Any]], stages: Sequence[str]) -> Verdict:
    """A claim is met if all comparisons are won (if none is lost, where being level is enough).

    It is not run as long as one of them can't be made.
    """
    seeds = {name: {r["seed"] for r in records if r["row"] == name} for name in (claim.row, *claim.others)}
    if missing := [name for name, some in seeds.items() if len(some & seeds[claim.row]) < 2]:
        why = f"fewer than two seeds of {', '.join(missing)}"
        why += "" if claim.row in missing else f" that {claim.row} has too"
        return Verdict(letter, claim.says, "not run", why, ())
    compared = tuple(one for other in claim.others for one in _compare(claim, other, records, stages))
    if not compared:
        return Verdict(letter, claim.says, "not run", "no table to judge it by", ())
    if lacking := [one for one in compared if one.state == "unknown"]:
        why = f"fewer than two seeds have figures of {claim.row} and {lacking[0].other} in {lacking[0].where}"
        return Verdict(letter, claim.says, "not run", why, ())
    enough = ("won", "level") if claim.equal else ("won",)
    met = all(one.state in enough for one in compared)
    counts = {state: sum(one.state == state for one in compared) for state in ("won", "level", "lost")}
    why = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return Verdict(letter, claim.says, "met" if met else "not met", why, compared)


def _compare(
    claim: Claim, other: str, records: Sequence[Mapping[str, Any]], stages: Sequence[str]
) -> Iterator[Comparison]:
    mine, theirs = (
        {record["seed"]: _tables(record) for record in records if record["row"] == name}
        for name in (claim.row, other)
    )
    both = sorted(mine.keys() & theirs.keys())
    everything = {kind: table for s in both for one in (theirs[s], mine[s]) for kind, table in one.items()}
    for kind, about in everything.items():
        dense, few = any(word in kind[1] for word in DENSE), kind[1].endswith(FEW)
        if not (claim.dense if dense else claim.few if few else _of_classes(claim, kind[1])):
            continue
        columns = about["columns"] or list(stages)
        at = [columns.index(stage) for stage in claim.stages if stage in columns]
        sign = 1.0 if about["higher_is_better"] else -1.0
        for k in at if at and not dense and not few else (None,):
            values = [
                (_value(mine[s].get(kind), k, sign), _value(theirs[s].get(kind), k, sign)) for s in both
            ]
            differences = [a - b for a, b in values if a is not None and b is not None]
            where = f"{kind[0]}: {kind[1]}, {'best stage' if k is None else columns[k]}"
            if len(differences) >= 2:
                half = half_width(differences, 0.0) or 0.0
                mean = float(np.mean(differences))
                yield Comparison(other, where, about["unit"], mean, half, len(differences))
            elif any(one is not None for pair in values for one in pair):
                yield Comparison(other, where, about["unit"], nan, nan, len(differences))


def _of_classes(claim: Claim, measure: str) -> bool:
    named = measure.startswith(claim.measures) and SHARE not in measure
    return claim.classes and (named or not claim.measures)


def _tables(record: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(table["data"], table["measure"]): table for table in record["tables"]}


def _value(table: Mapping[str, Any] | None, stage: int | None, sign: float) -> float | None:
    """What is better is larger; the best stage where none is named; None where nothing was measured."""
    if table is None:
        return None
    if stage is not None:
        value = table["values"][stage]
        return sign * value if _measured(value) else None
    return max((sign * value for value in table["values"] if _measured(value)), default=None)


def _measured(value: float | None) -> bool:
    return value is not None and isfinite(value)


def markdown(judged: Sequence[Verdict]) -> str:
    """A line a claim: its state, and the comparison with the smallest margin by its interval."""
    lines = ["## Claims", "", "| | claim | state | comparisons | the weakest |", "|---|---|---|---|---|"]
    for one in judged:
        worst = min(one.comparisons, key=lambda c: c.strength, default="")
        lines.append(f"| {one.letter} | {one.says} | {one.state} | {one.why} | {worst} |")
    note = (
        "A comparison is the mean difference over seeds, positive is "
        "better, ± half its 95 % interval; won: the interval lies above zero, lost: below."
    )
    return "\n".join([*lines, "", note, ""])
