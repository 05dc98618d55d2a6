"""What the parity table does not ask of layers: numbers of half precision, and the order of names."""

import pytest
import torch

from minillm.config import LSTMEncoderDecoderConfig, RecurrentConfig, TransformerConfig
from minillm.numpy_nn import layers as by_hand
from minillm.numpy_nn import models
from minillm.torch_nn import layers as twin
from minillm.torch_nn import models as twin_models

SIZES = {"vocab_size": 11, "context_length": 6, "n_layer": 2, "n_head": 2, "d_model": 8}
CONFIGS = [
    TransformerConfig.gpt2(**SIZES),
    TransformerConfig.llama(**SIZES),
    TransformerConfig.recipe(**SIZES),
    TransformerConfig.bert(**SIZES),
    TransformerConfig.original(**SIZES, source_vocab_size=7),
    RecurrentConfig(vocab_size=11, d_model=4, d_hidden=5, n_layer=2),
    LSTMEncoderDecoderConfig(vocab_size=11, source_vocab_size=7, d_model=4, d_hidden=5),
]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0, 1e4])
def test_norms_of_half_precision(dtype, size):
    """Large activations are what real models have: 256 squared is too large for float16."""
    x = (size * torch.randn(5, 16, generator=torch.Generator().manual_seed(0))).to(dtype)
    exact = x.double()
    layers = {
        "LayerNorm": (twin.LayerNorm(16), torch.nn.functional.layer_norm(exact, (16,), eps=1e-5)),
        "RMSNorm": (twin.RMSNorm(16), torch.nn.functional.rms_norm(exact, (16,), eps=1e-5)),
    }
    for name, (layer, expected) in layers.items():
        y = layer.to(dtype)(x)
        assert y.dtype == dtype, name
        torch.testing.assert_close(y.double(), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model)
def test_parameters_come_in_one_order(config):
    """An optimizer's state is listed in the order of the parameters, and goes to the other half."""
    ours, theirs = models.build(config), twin_models.build(config)
    assert [name for name, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


def test_numpy_computes_in_two_precisions():
    layer = by_hand.Linear(3, 2)
    assert layer.to("float64").weight.data.dtype == "float64"
    with pytest.raises(TypeError, match="dtype = float16, expected float32 or float64"):
        layer.to("float16")
