"""Any timm backbone under its own names, a feature at stride 4, a head a task, and how tasks share the trunk."""

import pytest
import timm
import torch
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.train.config import BalanceConfig, ModelConfig
from freelabels.train.data.labels import WEIGHT_SUFFIX
from freelabels.train.model.network import Backbone, DenseHead, GlobalHead, Model
from freelabels.train.objective import balance
from freelabels.train.objective.balance import gram_matrix, make_balance
from freelabels.train.tasks.labelled import paired
from freelabels.train.tasks.tasks import tasks
from freelabels.train.tasks.whole_images import ORDERS, orders, rotate, shuffle

SIZE = 64
HEADS = {
    "edges": lambda shape: DenseHead(shape.width, 1),
    "flow": lambda shape: DenseHead(shape.width, 2, 2),
    "rotation": lambda shape: GlobalHead(shape.width, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("test_resnet", (4, 8, 16, 32)),
        ("test_convnext", (4, 8, 16, 32)),
        ("test_vit", (16, 16, 16, 16)),
        ("swin_tiny_patch4_window7_224", (4, 8, 16, 32)),  # NHWC inside
    ],
)
def test_backbones_state_their_features_and_keep_their_names(name: str, strides: tuple[int, ...]) -> None:
    backbone = Backbone(name, False, SIZE)
    assert backbone.strides == strides
    with torch.no_grad():
        features = backbone(torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8))
    for feature, channels, stride in zip(features, backbone.channels, strides, strict=True):
        assert feature.shape == (2, channels, SIZE // stride, SIZE // stride)
    plain = timm.create_model(name, num_classes=0)
    assert set(backbone.net.state_dict()) == set(plain.state_dict())


def test_images_are_normalised_as_timm_says() -> None:
    backbone = Backbone("test_resnet", False, SIZE).eval()
    image = torch.randint(0, 256, (1, 3, SIZE, SIZE), dtype=torch.uint8)
    mean, std = (torch.tensor(backbone.net.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():
        wanted = backbone.net.forward_intermediates(
            (image / 255 - mean) / std, indices=backbone.indices, intermediates_only=True
        )
        for a, b in zip(backbone(image), wanted, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_heads_answer_per_pixel_per_pair_or_per_image() -> None:
    model = Model(ModelConfig("test_vit", width=16), SIZE, HEADS)
    features = model.features(torch.zeros(4, 3, SIZE, SIZE))
    assert features.shared.shape == (4, 16, SIZE // 4, SIZE // 4)
    assert model.heads["edges"](features.shared).shape == (4, 1, SIZE, SIZE)
    assert model.heads["rotation"](features.shared).shape == (4, 4, 1, 1)
    assert model.heads["flow"](paired(features.shared, 2, 1)).shape == (2, 2, SIZE, SIZE)


def test_pairs_are_neighbours_in_time() -> None:
    x = torch.arange(6.0).view(6, 1, 1, 1)  # two clips of three frames
    assert paired(x, 3, 1).flatten(1).tolist() == [[0, 1], [1, 2], [3, 4], [4, 5]]
    assert paired(x, 3, -1).flatten(1).tolist() == [[1, 0], [2, 1], [4, 3], [5, 4]]
    assert paired(x, 3, 2).flatten(1).tolist() == [[0, 2], [3, 5]]
    assert paired(x, 3, -2).flatten(1).tolist() == [[2, 0], [5, 3]]


@pytest.mark.parametrize(("name", "starts"), [("flow", [0, 1]), ("flow_2", [0]), ("flow_backward_2", [2])])
def test_labels_of_pairs_are_those_of_the_frame_they_start_from(name: str, starts: list[int]) -> None:
    task = tasks()[name]
    frames = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 4)
    target, weight = task.labels({name: frames, name + WEIGHT_SUFFIX: frames[:, :, 0]})
    assert target[:, 0, 0, 0].tolist() == weight[:, 0, 0].tolist() == starts
    assert task.needs.shared == 4 - len(starts)


def test_bad_backbones_are_said_in_a_sentence() -> None:
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        Backbone("resnet_18", False, SIZE)


def test_pretexts_change_the_image_by_their_label() -> None:
    image = torch.randint(0, 256, (8, 3, 48, 48), dtype=torch.uint8)
    turned, turns = rotate(image, torch.arange(8))
    assert turns.tolist() == [0, 1, 2, 3] * 2
    for n in range(8):
        assert torch.equal(torch.rot90(turned[n], -int(turns[n]), (1, 2)), image[n])
    shuffled, which = shuffle(image, 4 * torch.arange(8))
    tiles = [image[3, :, y : y + 16, x : x + 16] for y in (0, 16, 32) for x in (0, 16, 32)]
    first = tiles[int(orders()[which[3], 0])]
    assert torch.equal(shuffled[3, :, 1:15, 1:15], first[:, 1:15, 1:15])
    assert (shuffled[3, :, 16] == 128).all()  # the gap
    distances = (orders()[:, None] != orders()[None]).sum(-1) + 9 * torch.eye(ORDERS)
    assert distances.min() >= 5


def coefficients(name: str, losses: Tensor, gradients: Tensor, steps: int = 1, **config: float) -> Tensor:
    method = make_balance(BalanceConfig(name, **config), len(losses))  # type: ignore[arg-type]
    for _ in range(steps):
        weights = method.coefficients(losses, gradients @ gradients.T)
    return weights


def test_the_gram_matrix_is_that_of_the_gradients_at_the_shared_feature() -> None:
    shared = torch.randn(3, 4, requires_grad=True)
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    losses = torch.stack([(a * shared).sum(), (b * shared).sum(), torch.zeros((), requires_grad=True)])
    gram = gram_matrix(losses, shared)
    wanted = torch.stack([a.flatten(), b.flatten(), torch.zeros(12)])
    torch.testing.assert_close(gram, wanted @ wanted.T)


def test_surgery_removes_conflict_and_leaves_agreement() -> None:
    losses = torch.ones(2)
    agree = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert coefficients("pcgrad", losses, agree).tolist() == [1, 1]
    fight = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    combined = coefficients("pcgrad", losses, fight) @ fight
    # Yu et al., algorithm 1 by hand: g1 → (1/2, 1/2), g2 → (0, 1).
    torch.testing.assert_close(combined, torch.tensor([0.5, 1.5]))


def test_gradnorm_brings_the_norms_together() -> None:
    gradients = torch.diag(torch.tensor([1.0, 10.0]))
    weights = coefficients("gradnorm", torch.ones(2), gradients, steps=200, rate=0.02)
    torch.testing.assert_close(weights.sum(), torch.tensor(2.0))
    assert 0.8 < float(weights[0] / (10 * weights[1])) < 1.25


def test_famo_raises_the_task_that_falls_least() -> None:
    gradients = torch.diag(torch.tensor([1.0, 3.0]))
    method = make_balance(BalanceConfig("famo"), 2)
    first = method.coefficients(torch.tensor([1.0, 1.0]), gradients @ gradients.T)
    torch.testing.assert_close(first, torch.ones(2))
    for _ in range(300):
        weights = method.coefficients(torch.tensor([1.0, 1.0]), gradients @ gradients.T)
    falls = (gradients @ gradients.T) @ weights
    torch.testing.assert_close(falls[0], falls[1], rtol=0.1, atol=0.0)  # equal relative rates


def test_weight_average_raises_the_task_that_stalls() -> None:
    method = make_balance(BalanceConfig("dwa", every=5), 2)
    for step in range(15):
        weights = method.coefficients(torch.tensor([0.8**step, 1.0]), torch.zeros(2, 2))
    assert weights[1] > 1 > weights[0]
    torch.testing.assert_close(weights.sum(), torch.tensor(2.0))


def test_uncertainty_settles_where_the_variance_is_the_loss() -> None:
    method = make_balance(BalanceConfig("uncertainty"), 2)
    losses, solver = torch.tensor([0.5, 4.0]), torch.optim.SGD(method.parameters(), lr=0.5)
    for _ in range(100):
        solver.zero_grad()
        (
            method(losses, losses, torch.zeros(2, 2), 0.5)
            + method(losses * 0, losses, torch.zeros(2, 2), 0.5)
        ).backward()
        solver.step()
    torch.testing.assert_close(method.log_variance.exp(), losses, rtol=1e-2, atol=0.0)


def test_every_method_bears_a_task_without_labels() -> None:
    gradients = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    for name in balance.BALANCES:
        if name != "uncertainty":
            assert torch.isfinite(coefficients(name, torch.tensor([1.0, 0.0]), gradients, steps=3)).all(), (
                name
            )
    with pytest.raises(UserError, match="did you mean 'pcgrad'"):
        make_balance(BalanceConfig("pcgrd"), 2)
