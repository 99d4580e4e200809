"""What the tasks on online labels make of clips: clusters, directions, merges, pairs."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from freelabels.testing.task import learner, made_labels, sample_batch
from freelabels.train.objective.inputs import prepare
from freelabels.train.tasks.clusters.cluster_embedding import ClusterEmbedding, Embedding
from freelabels.train.tasks.clusters.deep_cluster import DeepCluster
from freelabels.train.tasks.clusters.graph_constraint import mined
from freelabels.train.tasks.clusters.joint_cluster import JointCluster, Places
from freelabels.train.tasks.clusters.k_means import unit
from freelabels.train.tasks.clusters.neighbours import affinity, graph, neighbours
from freelabels.train.tasks.clusters.predict_noise import PredictNoise, directions
from freelabels.train.tasks.contract.online import Clips, Labels, joined
from freelabels.train.tasks.tasks import tasks


def blobs(
    count: int, each: int, width: int, spread: float = 0.3
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points around so many places, and which place each is around."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(count), each)
    points = 3 * np.eye(width)[truth] + rng.normal(0, spread, (count * each, width))
    return points.astype(np.float32), truth


def clips_of(features: NDArray[np.float32], learned: NDArray[np.bool_] | None = None) -> Clips:
    number = np.arange(len(features))
    return Clips(
        features, number.astype(np.uint64), np.ones(len(features), bool) if learned is None else learned
    )


def test_every_cluster_counts_alike_and_is_found() -> None:
    task = DeepCluster(clusters=3)
    points = np.concatenate([blobs(3, 40, 8)[0], blobs(1, 60, 8)[0]])
    labels = task.assign(clips_of(points), None, 0).clips
    total = np.bincount(labels["label"], weights=labels["weight"])
    np.testing.assert_allclose(total, len(points) / 3, rtol=1e-5)
    assert labels["weight"].mean() == pytest.approx(1)


def test_a_new_version_begins_the_head_anew_and_the_same_for_all_ranks() -> None:
    task = DeepCluster(clusters=3)
    made = learner(task, labelled=False)
    head = made.model.heads[task.name]
    weights = []
    for version in (0, 1, 0):
        changed = list(task.renew(head, Labels(version, {})))
        assert {id(p) for p in changed} == {id(p) for p in head.parameters()}
        weights.append(head.weight.detach().clone())
    assert torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[1])


def test_directions_stay_one_for_each_clip_and_come_nearer() -> None:
    task = PredictNoise(dimensions=16, block=32)
    rng = np.random.default_rng(0)
    features = unit(rng.normal(0, 1, (100, 16)).astype(np.float32))
    clips = clips_of(features, np.arange(100) % 4 != 3)
    versions = [task.assign(clips, None, 0)]
    for _ in range(4):
        versions.append(task.assign(clips, versions[-1], 0))
    near = []
    for labels in versions:
        given = labels.clips["direction"]
        assert sorted(given[clips.learned]) == sorted(np.flatnonzero(clips.learned))
        vectors = directions(torch.from_numpy(np.asarray(given)), 16).numpy()
        near.append(float((vectors * features).sum(1).mean()))
    assert near == sorted(near) and near[0] < 0.1 and near[-1] > 0.4
    assert torch.equal(directions(torch.tensor([[3], [5]]), 4)[1, 0], directions(torch.tensor([5]), 4)[0])


def test_an_embedding_is_an_autoencoder_until_it_has_clusters() -> None:
    task = ClusterEmbedding(clusters=4, dimensions=8)
    made = learner(task)
    head = made.model.heads[task.name]
    assert isinstance(head, Embedding)
    for version, trained in ((0, "back"), (2, "centres")):
        labels = made_labels(task)[version]
        columns = {key: torch.from_numpy(np.asarray(column)) for key, column in labels.clips.items()}
        inputs = prepare({task.name: task}, joined(sample_batch(task), columns))
        made.zero_grad()
        made(inputs, inputs.counts()).backward()
        used = {"back": head.back.weight.grad, "centres": head.centres.grad}
        moved = {name for name, gradient in used.items() if gradient is not None and bool(gradient.any())}
        assert moved == {trained}


def test_shares_of_clusters_get_surer_and_centres_begin_at_k_means() -> None:
    task = ClusterEmbedding(clusters=3, dimensions=5)
    points, truth = blobs(3, 30, 5)
    features = np.concatenate([points, np.full((90, 3), 1 / 3, np.float32)], 1)
    first = task.assign(clips_of(features), task.assign(clips_of(features), None, 0), 0)
    own = np.asarray(first.whole["centres"])[first.clips["label"]]
    assert float(((own - points) ** 2).sum(1).mean()) < 1
    share = 1 / (1 + ((points[:, None] - np.asarray(first.whole["centres"])[None]) ** 2).sum(2))
    share /= share.sum(1, keepdims=True)
    second = task.assign(clips_of(np.concatenate([points, share.astype(np.float32)], 1)), first, 0)
    target = np.asarray(second.clips["share"], np.float64)
    np.testing.assert_allclose(target.sum(1), 1, rtol=1e-5)
    assert (target.max(1) > share.max(1)).mean() > 0.95
    assert all(len(np.unique(first.clips["label"][truth == k])) == 1 for k in range(3))


def test_what_hangs_together_is_merged_and_no_further_than_asked() -> None:
    task = JointCluster(clusters=12, least=6, merged=0.5)
    points, truth = blobs(6, 40, 64)
    features = unit(points)
    half = 2 * truth + (np.arange(len(truth)) % 2)  # each place cut in two at random
    before = Labels(0, {"label": half.astype(np.int32)})
    after = task.assign(clips_of(features), before, 0)
    label = after.clips["label"]
    assert len(np.unique(label)) == 6
    assert all(len(np.unique(label[truth == k])) == 1 for k in range(6))
    again = task.assign(clips_of(features), after, 0)
    np.testing.assert_array_equal(again.clips["label"], label)
    rivals, alive = np.asarray(after.whole["rivals"]), np.unique(label)
    assert all(set(rivals[k]) == set(alive) - {k} for k in alive)


def test_affinity_is_what_its_paper_says() -> None:
    points, _ = blobs(3, 7, 4, spread=1.0)
    label = np.arange(21) % 3
    found, distance = neighbours(points, 5)
    edges = graph(found, np.exp(-distance))
    w, got = edges.toarray(), affinity(edges, label, 3)
    for a in range(3):
        for b in range(3):
            there, back = w[np.ix_(label == a, label == b)], w[np.ix_(label == b, label == a)]
            ways = (there.sum(0) * back.sum(1)).sum() / 49 + (back.sum(0) * there.sum(1)).sum() / 49
            assert got[a, b] == pytest.approx(ways)


def test_neighbours_are_the_nearest_of_other_sources() -> None:
    points = np.random.default_rng(4).normal(0, 1, (60, 3)).astype(np.float32)
    group = (np.arange(60) // 2).astype(np.uint64)
    every = ((points[:, None] - points[None]) ** 2).sum(2)
    every[group[:, None] == group] = np.inf
    found, distance = neighbours(points, 4, group)
    np.testing.assert_array_equal(found, np.argsort(every, 1)[:, :4])
    np.testing.assert_allclose(distance, np.sort(every, 1)[:, :4], rtol=1e-4)


def test_pairs_are_alike_within_a_place_unlike_across_and_never_of_one_source() -> None:
    points, truth = blobs(4, 30, 6)
    group = (np.arange(120) // 3).astype(np.uint64)
    like, unlike, found = mined(points, group, 6, np.random.default_rng(0))
    some = found > 0
    assert some.mean() > 0.9
    assert (truth[like] == truth)[some].all() and (truth[unlike] != truth)[some].all()
    assert (group[like] != group)[some].all() and (group[unlike] != group)[some].all()


def test_a_point_on_no_cycle_has_no_pair() -> None:
    line = np.cumsum(2.0 ** np.arange(12))[:, None].astype(np.float32)  # each one's neighbours lie below it
    _, _, found = mined(line, np.arange(12).astype(np.uint64), 2, np.random.default_rng(0))
    assert found[:3].all() and not found[-3:].any()


def test_centres_are_saved_with_the_weights() -> None:
    task = tasks()["joint_cluster"]
    head = learner(task).model.heads["joint_cluster"]
    assert isinstance(head, Places) and {"centres", "rivals"} <= head.state_dict().keys()
    assert bool(head.centres.any())
