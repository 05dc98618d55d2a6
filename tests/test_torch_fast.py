"""The fast path of the PyTorch half gives what the plain one gives, but for rounding."""

import copy
import shutil
import types
from datetime import timedelta

import numpy as np
import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from minillm.batches import Batch, Cache
from minillm.config import (
    BigramConfig,
    LSTMEncoderDecoderConfig,
    MLPConfig,
    RecurrentConfig,
    TransformerConfig,
)
from minillm.numpy_nn import models as by_hand
from minillm.torch_nn import functional as F
from minillm.torch_nn.models import build

V, C = {"vocab_size": 11}, {"vocab_size": 11, "d_model": 8}
GPT = {**C, "context_length": 6, "n_layer": 2, "n_head": 2}
CONFIGS = {
    "Bigram": BigramConfig(**V),
    "MLP": MLPConfig(**C, context_length=3, d_hidden=5),
    "Recurrent": RecurrentConfig(**C, d_hidden=6),
    "LSTMEncoderDecoder": LSTMEncoderDecoderConfig(**C, source_vocab_size=11, d_hidden=6),
    "gpt2": TransformerConfig.gpt2(**GPT),
    "recipe": TransformerConfig.recipe(**GPT, n_kv_head=1),
    "original": TransformerConfig.original(**GPT | {"n_layer": 1}),
    "classes": TransformerConfig.bert(**GPT | {"n_layer": 1}, n_class=3),
}
each_model = pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler"
)
# PyTorch's compiler asks tensors between two graphs for a gradient, and hides what they say to it.
dropout_breaks = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


def seeded(seed=0):
    """A generator."""
    return torch.Generator().manual_seed(seed)


def make(config):
    """A model with random weights everywhere: initial zeros would hide much."""
    model = build(config, rng=seeded())
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=seeded(p.numel()))
    return model


def draw(config, seed=0, B=4, padded=True):
    """A batch for a model; with `padded`, its first text is shorter."""
    rng = seeded(seed)
    source, ids, targets = torch.randint(11, (3, B, 6), generator=rng)
    if getattr(config, "n_class", None):
        targets = targets[:, 0] % 3
    mask = torch.ones(B, 6, dtype=torch.bool)
    mask[0, 4:] = False
    both = getattr(config, "kind", "encoder-decoder" if "source" in str(config) else None)
    source = source[:, :4] if both == "encoder-decoder" else None
    return Batch(ids, targets, mask if padded else None, source)


def result(model, batch, **options):
    """The loss, and the gradients as one vector, which had been zero before."""
    model.zero_grad()
    loss = model.loss_and_grads(batch, **options)
    return loss, gradients(model)


def gradients(model):
    """All gradients as one vector."""
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return torch.cat([g.flatten() for g in found])


def distance(a, b):
    """The length of b - a, as a share of that of a."""
    return float((b - a).norm() / a.norm())


def assert_near(found, expected, tol):
    """Raise unless loss and gradients agree, to a share `tol` of their lengths."""
    assert distance(expected[0], found[0]) <= tol and distance(expected[1], found[1]) <= tol


class Counting:
    """`torch.compile`, with nothing after its first stage: it counts the graphs that it is given."""

    def __init__(self, monkeypatch, *, fullgraph):
        self.n_graph, own = 0, torch.compile
        monkeypatch.setattr(
            torch,
            "compile",
            lambda f, *, backend, dynamic: own(
                f, fullgraph=fullgraph, dynamic=dynamic, backend=self
            ),
        )

    def __call__(self, graph, inputs):
        self.n_graph += 1
        return graph


# Compiled.


@each_model
def test_compiles_to_one_graph(config, monkeypatch):
    """The model and its loss; and the same graph does for other batches and scales."""
    options = {"label_smoothing": 0.1, "z_loss": 1e-3}
    batches = [draw(config, seed) for seed in range(3)]
    model = make(config)
    plain = [result(model, b, scale=0.5 + i, **options) for i, b in enumerate(batches)]
    graphs = Counting(monkeypatch, fullgraph=True)
    model.speed_up(compile="eager", sdpa=False)
    for i, batch in enumerate(batches):
        rng = seeded(i)  # which has nothing to draw
        assert_near(result(model, batch, scale=0.5 + i, rng=rng, **options), plain[i], 1e-6)
    assert graphs.n_graph == 1


@compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, of itself
def test_compiled_to_machine_code():
    config = CONFIGS["MLP"]
    model, batch = make(config), draw(config)
    plain = result(model, batch, label_smoothing=0.1, z_loss=1e-3)
    model.speed_up(compile=True)
    assert_near(result(model, batch, label_smoothing=0.1, z_loss=1e-3), plain, 1e-5)


def test_compiled_state_goes_on(monkeypatch):
    config = CONFIGS["Recurrent"]
    model, other = make(config), make(config).speed_up(compile="eager")
    states = model.new_cache(4), other.new_cache(4)
    for seed in range(3):
        batch = draw(config, seed)
        expected = result(model, batch, state=states[0])
        assert_near(result(other, batch, state=states[1]), expected, 1e-6)
    assert distance(states[0].arrays[0], states[1].arrays[0]) < 1e-6


def test_all_else_works_when_compiled():
    config = CONFIGS["gpt2"]
    plain, model = make(config), make(config).speed_up(compile="eager")
    batch = draw(config, padded=False)
    model.loss_and_grads(batch)
    assert torch.allclose(model.loss(batch), plain.loss(batch), rtol=1e-5)
    logits = plain.logits(batch)
    assert torch.allclose(model.logits(batch), logits, atol=1e-5)
    assert torch.allclose(
        model.next_logits(batch.ids, model.new_cache(4)), logits[:, -1], atol=1e-5
    )
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_many_models_are_compiled(monkeypatch):
    """PyTorch keeps what it compiles with a function, and gives up quietly after eight times."""
    graphs = Counting(monkeypatch, fullgraph=False)
    for size in range(2, 11):
        model = build(BigramConfig(vocab_size=size)).speed_up(compile="eager")
        ids = torch.arange(size)[None]
        model.loss_and_grads(Batch(ids, targets=ids))
    assert graphs.n_graph == 9


def test_a_copy_has_a_life_of_its_own():
    model = make(CONFIGS["MLP"]).speed_up(compile="eager", precision="float16")
    batch = draw(model.config)
    before = result(model, batch)
    other = copy.deepcopy(model)
    assert_near(result(other, batch), before, 0)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    other.loss_scale.zero_()
    assert torch.isclose(other.loss_and_grads(batch), torch.tensor(11.0).log())
    assert_near(result(model, batch), before, 0)


# Mixed precision. Rounding: 2**-9 of a number in bfloat16, 2**-12 in float16.

TOL = {"bfloat16": 0.03, "float16": 0.004}


@pytest.mark.parametrize("precision", TOL)
@each_model
def test_mixed_precision(config, precision):
    model, batch = make(config), draw(config)
    exact = result(model, batch, z_loss=1e-3)
    model.speed_up(precision=precision)
    found = result(model, batch, z_loss=1e-3)
    assert_near(found, exact, TOL[precision])
    if config != CONFIGS["Bigram"]:  # which multiplies nothing
        assert distance(exact[1], found[1]) > 1e-6
    assert found[0].dtype == model.loss(batch).dtype == torch.float32
    assert {p.dtype for p in model.parameters()} == {p.grad.dtype for p in model.parameters()}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert distance(model.loss(batch), result(model, batch)[0]) < 1e-6
    model.speed_up(sdpa=False)
    assert_near(result(model, batch, z_loss=1e-3), exact, 0)


def test_small_gradients_survive_float16():
    """Of a millionth of the loss; with a loss scale of 1 little of them is left."""
    model, batch = make(CONFIGS["gpt2"]), draw(CONFIGS["gpt2"])
    exact = result(model, batch, scale=1e-6)
    model.speed_up(precision="float16")
    assert_near(result(model, batch, scale=1e-6), exact, 0.004)
    model.loss_scale[0] = 1
    assert distance(exact[1], result(model, batch, scale=1e-6)[1]) > 0.1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_gradients_accumulate(precision):
    """Two halves, one after the other, are the whole, and what was there before stays."""
    model, batch = make(CONFIGS["recipe"]), draw(CONFIGS["recipe"], padded=False)
    whole = result(model, batch)
    model.speed_up(precision=precision)
    model.zero_grad()
    for part in (slice(0, 2), slice(2, 4)):
        model.loss_and_grads(Batch(batch.ids[part], batch.targets[part]), scale=0.5)
    assert distance(whole[1], gradients(model)) < TOL[precision]


def test_overflow():
    """Gradients that are not finite say so once, whatever is added to them; then half the scale."""
    model, batch = make(CONFIGS["MLP"]).speed_up(precision="float16"), draw(CONFIGS["MLP"])
    model.loss_and_grads(batch)
    assert model.loss_scale.tolist() == [2**16, 1] and gradients(model).isfinite().all()
    model.loss_scale[0] = 2**22
    for n_step, scale in enumerate([2**21, 2**20, 2**19]):
        for n_batch in range(3):
            model.loss_and_grads(batch)
            assert not gradients(model).isfinite().all(), (n_step, n_batch)
            assert model.loss_scale.tolist() == [scale, 0]
        if n_step % 2:  # both ways to begin anew
            model.zero_grad()
        else:
            model.zero_grad(set_to_none=False)
    while not gradients(model).isfinite().all() or not gradients(model).any():
        model.zero_grad()
        model.loss_and_grads(batch)
    assert model.loss_scale[1] == 1 and model.loss_scale[0] <= 2**19


def test_the_scale_grows_and_is_restored():
    model, batch = make(CONFIGS["MLP"]).speed_up(precision="float16"), draw(CONFIGS["MLP"])
    model.loss_scale.copy_(torch.tensor([2.0**10, 1998]))
    saved = model.loss_scale.clone()
    scales = []
    for _ in range(3):
        model.loss_and_grads(batch)
        scales.append(model.loss_scale.tolist())
    assert scales == [[2**10, 1999], [2**11, 0], [2**11, 1]]
    later = make(CONFIGS["MLP"]).speed_up(precision="float16")
    later.loss_scale.copy_(saved)
    for expected in scales:
        later.loss_and_grads(batch)
        assert later.loss_scale.tolist() == expected
    model.loss_scale.copy_(torch.tensor([2.0**24, 1999]))  # where it stops growing
    model.zero_grad()
    model.loss_and_grads(batch, scale=1e-6)
    assert model.loss_scale.tolist() == [2**24, 0]


def test_no_finite_gradient_ever():
    """A loss that is not finite lowers the scale to 1, not to 0, from where it could not grow."""
    model, batch = make(CONFIGS["MLP"]).speed_up(precision="float16"), draw(CONFIGS["MLP"])
    for _ in range(20):
        model.zero_grad()
        model.loss_and_grads(batch, scale=1e38)
    assert model.loss_scale.tolist() == [1, 0]


def test_a_gpu_need_not_wait():
    """No step looks at values: on the meta device there are none to look at."""
    model = make(CONFIGS["recipe"]).to("meta")
    model.speed_up(checkpointing=True)
    model.loss_scale = torch.ones(2, device="meta")  # as in float16
    for _ in range(2):
        model.loss_and_grads(draw(CONFIGS["recipe"]).to("meta"), rng=torch.Generator("cpu"))
    assert model.loss_scale.device.type == model.device.type == "meta"


# A Transformer's.


@pytest.mark.parametrize("name", ["gpt2", "recipe", "original", "classes"])
def test_kernels_of_pytorch(name):
    config = CONFIGS[name]
    model, batch = make(config).double(), draw(config)
    plain = result(model, batch)
    assert_near(result(model.speed_up(), batch), plain, 1e-12)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("name", ["gpt2", "original"])
def test_checkpointing(name, dropout):
    config = type(CONFIGS[name])(**vars(CONFIGS[name]) | {"dropout": dropout})
    model, batch = make(config), draw(config)
    (*plain, drawn), n_kept = (
        [*result(model, batch, rng=(rng := seeded())), rng],
        kept(model, batch),
    )
    model.speed_up(checkpointing=True, sdpa=False)
    assert_near(result(model, batch, rng=(rng := seeded())), plain, 0)
    assert torch.equal(rng.get_state(), drawn.get_state())
    assert kept(model, batch) < n_kept / 2


def kept(model, batch):
    """How many numbers are kept for the backward pass, but for what a checkpoint begins with."""
    sizes = []

    def pack(x):
        sizes.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        model.loss_and_grads(batch)
    return sum(sizes)


# Together.


@dropout_breaks
@pytest.mark.parametrize(
    ("precision", "dropout", "checkpointing", "compile"),
    [
        ("float32", 0.0, True, "aot_eager"),
        ("float32", 0.3, False, "eager"),
        ("bfloat16", 0.0, False, "aot_eager"),
        ("bfloat16", 0.3, True, "eager"),
        ("float16", 0.0, True, "aot_eager"),
    ],
)
def test_in_combination(precision, dropout, checkpointing, compile):
    config = TransformerConfig.recipe(**GPT | {"n_layer": 1}, dropout=dropout)
    model, batch = make(config), draw(config)
    exact = result(model, batch, scale=0.5, rng=seeded(), z_loss=1e-3)
    model.speed_up(precision=precision, checkpointing=checkpointing, compile=compile)
    for _ in range(2):
        found = result(model, batch, scale=0.5, rng=seeded(), z_loss=1e-3)
        assert_near(found, exact, TOL.get(precision, 1e-6))


@pytest.mark.skipif(not distributed.is_available(), reason="a PyTorch without torch.distributed")
def test_two_processes(tmp_path):
    """Each with half of a batch, in two pieces, have the gradients of one with the whole."""
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path / "meeting"),), nprocs=2)


def one_of_two(rank, meeting):
    """What each process does."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2,
        timeout=timedelta(seconds=100),
    )  # fmt: skip
    try:
        config = CONFIGS["gpt2"]
        batch = draw(config, padded=False)
        rows = batch.ids[2 * rank :, None], batch.targets[2 * rank :, None]
        halves = [Batch(ids, targets) for ids, targets in zip(*rows, strict=True)][:2]
        whole = result(make(config), batch)[1]
        by_data(config, halves, whole)
        from torch.distributed import fsdp

        if hasattr(fsdp, "fully_shard"):
            by_shards(config, halves, whole, rank)
    finally:
        distributed.destroy_process_group()


def by_data(config, halves, whole):
    """DistributedDataParallel: gradients are exchanged in the last of several calls."""
    for options in [{}, {"compile": "eager", "checkpointing": True}, {"precision": "float16"}]:
        model = make(config)
        through = DistributedDataParallel(model)
        model.speed_up(through=through, **options)
        with through.no_sync():
            model.loss_and_grads(halves[0], scale=0.5)
        model.loss_and_grads(halves[1], scale=0.5)
        assert distance(whole, gradients(model)) < (0.004 if "precision" in options else 1e-6)
        assert model.state_dict().keys() == make(config).state_dict().keys()


def by_shards(config, halves, whole, rank):
    """FSDP2: parameters and gradients are spread over the processes."""
    from torch.distributed.fsdp import fully_shard

    for options in [{}, {"precision": "float16", "checkpointing": True}]:
        model = make(config)
        for block in model.blocks:
            fully_shard(block)
        fully_shard(model).speed_up(**options)
        for half in halves:
            assert model.loss(half).isfinite() and model.logits(half).shape == (1, 6, 11)
            model.loss_and_grads(half, scale=0.5)
        grads = torch.cat([p.grad.full_tensor().flatten() for p in model.parameters()])
        assert distance(whole, grads) < (0.004 if "precision" in options else 1e-6)
    next(model.parameters()).grad.to_local().fill_(torch.inf if rank else 0)
    model.loss_and_grads(halves[0])
    assert model.loss_scale.tolist() == [2**16, 0]  # both know; but they had known before


# Said.

BIGRAM, IDS = BigramConfig(**V), torch.tensor([[1, 2, 3]])
BATCH = Batch(IDS, targets=IDS)
BAD = [
    (lambda m: m.speed_up(precision="fp16"), ValueError, "precision = 'fp16', expected one of"),
    (lambda m: m.speed_up(precision=torch.float16), ValueError, "expected one of ['float32'"),
    (lambda m: m.double().speed_up(precision="bfloat16"), ValueError,
     "precision = 'bfloat16', expected another: none such for weights of torch.float64 on cpu"),
    (lambda m: m.to("meta").speed_up(precision="float16"), ValueError, "torch.float32 on meta"),
    (lambda m: m.speed_up(compile="quick"), ValueError, "compile = 'quick', expected True, False or"),
    (lambda m: m.speed_up(compile=1), TypeError, "compile = 1, expected True or False"),
    (lambda m: m.speed_up(sdpa="yes"), TypeError, "sdpa = 'yes', expected True or False"),
    (lambda m: m.speed_up(checkpointing=None), TypeError, "checkpointing = None, expected True or"),
    (lambda m: m.speed_up(checkpointing=True), ValueError,
     "checkpointing = True, expected False: Bigram has no blocks"),
    (lambda m: m.speed_up(through=print), TypeError, "through is a builtin_function_or_method"),
    (lambda m: m.loss_and_grads(BATCH, scale="1"), TypeError, "scale = '1', expected a number"),
    (lambda m: m.loss_and_grads(BATCH, scale=float("nan")), ValueError, "scale = nan"),
    (lambda m: m.loss(Batch(IDS.numpy(), targets=IDS)), TypeError,
     "batch.ids is a ndarray, expected a Tensor: batch.to(device)"),
    (lambda m: m.loss(Batch(IDS, targets=IDS.numpy())), TypeError, "batch.targets is a ndarray"),
    (lambda m: m.logits(Batch(IDS.to("meta"))), ValueError,
     "batch.ids is on meta, expected cpu: batch.to(model.device)"),
    (lambda m: m.logits(IDS), TypeError, "batch is a Tensor, expected a Batch"),
    (lambda m: m.loss(BATCH, state=m.new_cache(1)), ValueError,
     "state is a Cache, expected None: Bigram has none"),
    (lambda m: m.next_logits(IDS.numpy(), m.new_cache(1)), TypeError, "ids is a ndarray, expected"),
    (lambda m: m.next_logits(IDS, m.new_cache(1), mask=[[True] * 3]), TypeError, "mask is a list"),
    (lambda m: m.next_logits(IDS, by_hand.Bigram(BIGRAM).new_cache(1)), ValueError,
     "made by minillm.numpy_nn.models.Bigram with BigramConfig(vocab_size=11), expected one by"),
    (lambda m: m.next_logits(IDS, build(BigramConfig(vocab_size=12)).new_cache(1)), ValueError,
     "BigramConfig(vocab_size=12), expected one by"),
    (lambda m: m.new_cache(True), TypeError, "batch_size = True, expected an integer"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[row[-1][:40] for row in BAD])
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call(build(BIGRAM))
    assert message in str(caught.value)


@pytest.mark.parametrize("wrong", ["float16", "bfloat16"])
def test_a_device_without_a_precision(wrong, monkeypatch):
    """Where autocast only warns, as on some devices; and a GPU that imitates bfloat16."""

    def autocast(*args):
        raise UserWarning("disabling autocast")

    monkeypatch.setattr(torch, "autocast", autocast)
    with pytest.raises(ValueError, match=f"precision = '{wrong}', expected another"):
        build(BIGRAM).speed_up(precision=wrong)
    gpu = types.SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    from minillm.torch_nn import model

    assert not model._multiplies(torch.bfloat16, gpu)


def test_the_same_is_said_by_hand():
    """What the two halves check together, in the other one."""
    model, ids = by_hand.Bigram(BIGRAM), IDS.numpy()
    for call, error, message in [
        (lambda: model.loss(BATCH), TypeError, "batch.ids is a Tensor, expected a ndarray"),
        (lambda: model.logits(ids), TypeError, "batch is a ndarray, expected a Batch"),
        (lambda: model.loss(Batch(ids, ids), state=5), ValueError, "state is a int, expected None"),
        (lambda: model.loss_and_grads(Batch(ids, ids), scale=np.inf), ValueError, "scale = inf"),
        (lambda: model.next_logits(IDS, model.new_cache(1)), TypeError, "ids is a Tensor"),
        (lambda: model.next_logits(ids, None), TypeError, "cache is None, expected one that"),
        (
            lambda: model.next_logits(ids, build(BIGRAM).new_cache(1)),
            ValueError,
            "made by minillm.t",
        ),
    ]:
        with pytest.raises(error) as caught:
            call()
        assert message in str(caught.value)


def test_a_failed_call_changes_nothing():
    """A state is not overwritten, nor a gradient, before all has been checked."""
    model, ids = make(CONFIGS["Recurrent"]), IDS
    state = model.new_cache(1)
    before = state.arrays
    for batch, options in [(Batch(ids), {}), (BATCH, {"scale": "1"})]:
        with pytest.raises((TypeError, ValueError)):
            model.loss_and_grads(batch, state=state, **options)
    assert state.arrays is before and all(p.grad is None for p in model.parameters())


def test_a_cache_can_be_copied():
    """As beam search does."""
    model = make(CONFIGS["gpt2"])
    cache = model.new_cache(1)
    model.next_logits(IDS, cache)
    other = copy.deepcopy(cache)
    assert isinstance(other, Cache)
    a, b = (model.next_logits(IDS[:, :1], c) for c in (cache, other))
    assert torch.equal(a, b) and cache.length == other.length == 4


def test_products_keep_their_precision():
    """A bias does not make float32 of what autocast has made small."""
    x, weight, bias = torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)
    with torch.autocast("cpu", torch.bfloat16):
        assert F.linear(x, weight, bias).dtype == torch.bfloat16
