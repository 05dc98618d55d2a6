"""Low-rank adapters: gradients, the twin, what stays frozen, and merging."""

import copy

import numpy as np
import pytest
import torch

from minillm import weights
from minillm.batches import Batch
from minillm.config import TransformerConfig
from minillm.numpy_nn import layers, lora
from minillm.numpy_nn.gradcheck import gradcheck
from minillm.numpy_nn.transformer import Transformer
from minillm.torch_nn import lora as twin
from minillm.torch_nn.transformer import Transformer as Twin

CONFIG = TransformerConfig.recipe(
    vocab_size=11, context_length=6, n_layer=2, n_head=2, d_model=8, n_class=3
)
WHERE = ("query", "value", "up")


def layer(bias=True, B=True):
    rng = np.random.default_rng(0)
    found = lora.LoRALinear(
        layers.Linear(4, 3, bias=bias, rng=rng).to("float64"), rank=2, alpha=3.0, rng=rng
    )
    if B:
        found.B.data = rng.normal(size=(3, 2))
        found.B.zero_grad()
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_gradients_are_those_of_finite_differences(bias, leading):
    rng, ours = np.random.default_rng(1), layer(bias)
    x, dy = rng.normal(size=(*leading, 4)), rng.normal(size=(*leading, 3))
    y, cache = ours.forward(x)
    dx = ours.backward(dy, cache)
    gradcheck(lambda x: (ours.forward(x)[0] * dy).sum(), x, dx)
    for parameter in (ours.A, ours.B):
        start = parameter.data

        def loss(value, parameter=parameter):
            parameter.data = value
            return (ours.forward(x)[0] * dy).sum()

        gradcheck(loss, start.copy(), parameter.grad)
        parameter.data = start
    assert not ours.base.weight.grad.any()
    np.testing.assert_allclose(ours.merged().forward(x)[0], y, atol=1e-12)


def test_at_first_the_output_is_the_base_s():
    ours, x = layer(B=False), np.random.default_rng(2).normal(size=(2, 4))
    assert np.array_equal(ours.forward(x)[0], ours.base.forward(x)[0])


def models():
    """The same model with adapters in both halves, in float64, B drawn at random."""
    ours = Transformer(CONFIG, rng=np.random.default_rng(0)).to("float64")
    theirs = Twin(CONFIG).double()
    found = lora.add_lora(ours, rank=2, where=WHERE, rng=np.random.default_rng(0))
    others = twin.add_lora(theirs, rank=2, where=WHERE)
    rng = np.random.default_rng(3)
    for p in ours.parameters():
        p.data = rng.normal(size=p.shape) / 3
        p.zero_grad()
    weights.copy(ours, theirs)
    return ours, theirs, found, others


def test_a_model_with_adapters_equals_its_twin_before_and_after_merging():
    ours, theirs, found, others = models()
    rng = np.random.default_rng(4)
    batch = Batch(rng.integers(11, size=(2, 5)), rng.integers(3, size=2))
    loss, other = ours.loss_and_grads(batch), theirs.loss_and_grads(batch.to("cpu"))
    assert loss == pytest.approx(float(other.detach()), abs=1e-10)
    assert len(found) == len(others) == 2 * 3 * 2
    for a, b in zip(found, others, strict=True):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), atol=1e-10)
    assert all(not p.requires_grad for name, p in theirs.named_parameters() if ".base." in name)
    assert lora.merge_lora(ours) == twin.merge_lora(theirs) == 6
    assert ours.loss(batch) == pytest.approx(float(loss), abs=1e-10)
    assert float(theirs.loss(batch.to("cpu")).detach()) == pytest.approx(float(loss), abs=1e-10)
    assert not any(".A" in name for name, _ in ours.named_parameters())
    weights.copy(ours, Transformer(CONFIG))  # again a model as any other


def test_the_given_model_alone_is_changed():
    theirs = Twin(CONFIG)
    kept = copy.deepcopy(theirs)
    twin.add_lora(theirs, rank=1)
    ids = torch.arange(5)[None]
    assert torch.equal(theirs.logits(Batch(ids)), kept.logits(Batch(ids)))
    assert all(p.requires_grad for p in kept.parameters())


@pytest.mark.parametrize("half", [(lora, Transformer), (twin, Twin)])
def test_what_does_not_fit_is_named(half):
    module, model = half
    with pytest.raises(ValueError, match="where"):
        module.add_lora(model(CONFIG), rank=1, where=("nowhere",))
    with pytest.raises(ValueError, match="rank"):
        module.add_lora(model(CONFIG), rank=0)
