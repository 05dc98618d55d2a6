"""The Transformer: PyTorch's own layers, BERT of transformers, and what its options promise.

What holds for every model (both halves, padding, pieces, later tokens) stands in test_parity.py and
test_properties.py.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from parity import randomize

from minillm import weights
from minillm.batches import Batch
from minillm.config import TransformerConfig
from minillm.numpy_nn import optim as numpy_optim
from minillm.numpy_nn import transformer as by_hand
from minillm.numpy_nn.gradcheck import max_error
from minillm.torch_nn import optim as torch_optim
from minillm.torch_nn import transformer as twin

HALVES = {"numpy": by_hand, "torch": twin}
OPTIM = {"numpy": numpy_optim, "torch": torch_optim}
each_half = pytest.mark.parametrize("half", HALVES)
SIZES = {"vocab_size": 11, "context_length": 8, "n_layer": 2, "n_head": 2, "d_model": 16}
PRESETS = ["original", "bert", "gpt2", "llama", "recipe"]


def config(preset, **options):
    return getattr(TransformerConfig, preset)(**SIZES | options)


def generator(half, seed=0):
    return np.random.default_rng(seed) if half == "numpy" else torch.Generator().manual_seed(seed)


def make(half, made, seed=0):
    """A model as it starts."""
    return HALVES[half].Transformer(made, rng=generator(half, seed))


def twins(made):
    """The same model in both halves, with random weights everywhere, in float64."""
    ours, theirs = make("numpy", made).to(np.float64), make("torch", made).double()
    randomize(ours)
    weights.copy(ours, theirs)
    return ours, theirs


def make_batch(made, B=3, T=8, seed=0):
    """Random texts, whose targets are their next tokens, hidden ones, or labels."""
    rng = np.random.default_rng(seed)
    text = rng.integers(made.vocab_size, size=(B, T + 1))
    ids, targets = text[:, :-1], text[:, 1:]
    if (
        made.kind == "encoder"
    ):  # every third token is hidden: the last of the vocabulary is the mask
        hidden = np.arange(T) % 3 == 0
        targets = np.where(hidden, ids, -100)
        ids = np.where(hidden, made.vocab_size - 1, ids)
    targets = rng.integers(made.n_class, size=B) if made.n_class else targets
    both = made.kind == "encoder-decoder"
    source = rng.integers(made.vocab_size, size=(B, T - 1)) if both else None
    return Batch(ids, targets=targets, source=source)


def to_half(half, batch):
    return batch if half == "numpy" else batch.to("cpu")


def plain(x):
    return x.detach().numpy() if torch.is_tensor(x) else x


def grads(model):
    return {name: plain(p.grad).copy() for name, p in model.named_parameters()}


# Other libraries.


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_and_decoder_of_pytorch(norm_first):
    """`torch.nn`'s layers of 2017 with our weights: outputs, with padding in both texts."""
    made = config("original", norm_first=norm_first, source_vocab_size=7)
    model, _ = twins(made)
    options = {
        "dropout": 0.0,
        "batch_first": True,
        "norm_first": norm_first,
        "dtype": torch.float64,
    }
    sizes = (made.d_model, made.n_head, made.d_ff)
    parts = {"encoder": (torch.nn.TransformerEncoderLayer, model.encoder)}
    parts["decoder"] = (torch.nn.TransformerDecoderLayer, model.blocks)
    layers = {}
    for name, (kind, blocks) in parts.items():
        layers[name] = [kind(*sizes, **options).eval() for _ in blocks]
        for layer, block in zip(layers[name], blocks, strict=True):
            load_layer(layer, block)

    rng = np.random.default_rng(0)
    real = np.arange(8) < np.array([[8], [5], [1]])
    batch = Batch(rng.integers(11, size=(3, 8)), mask=real, source=rng.integers(7, size=(3, 8)),
                  source_mask=real[::-1].copy())  # fmt: skip
    b = batch.to("cpu")
    angle = np.arange(8)[:, None] / 10_000 ** (np.arange(0, 16, 2) / 16)
    positions = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(8, 16)

    def embedded(table, ids):
        return torch.tensor(table.weight.data[ids] * math.sqrt(16) + positions)

    with torch.no_grad():
        memory = embedded(model.source_embedding, batch.source)
        for layer in layers["encoder"]:
            memory = layer(memory, src_key_padding_mask=~b.source_mask)
        memory = normed(model.encoder_norm, memory) if norm_first else memory
        x = embedded(model.embedding, batch.ids)
        future = ~torch.ones(8, 8, dtype=torch.bool).tril()
        for layer in layers["decoder"]:
            x = layer(x, memory, tgt_mask=future, tgt_key_padding_mask=~b.mask,
                      memory_key_padding_mask=~b.source_mask)  # fmt: skip
        x = normed(model.norm, x) if norm_first else x
        logits = x @ torch.tensor(model.embedding.weight.data).T
    # A position that is padding counts as no later one of its own text: its sinus differs.
    assert max_error(model.logits(batch)[real], logits.numpy()[real]) < 1e-10


def normed(norm, x):
    """torch.nn's LayerNorm with the weights of ours."""
    w, b = (torch.tensor(p.data) for p in (norm.weight, norm.bias))
    return torch.nn.functional.layer_norm(x, x.shape[-1:], w, b, eps=norm.eps)


def load_layer(layer, block):
    """Give a layer of torch.nn the weights of one of our blocks."""
    pairs = [(layer.linear1, block.feed_forward.up), (layer.linear2, block.feed_forward.down)]
    attentions = [(layer.self_attn, block.attention)]
    norms = [layer.norm1, layer.norm2]
    if block.cross:
        attentions.append((layer.multihead_attn, block.cross))
        norms = [layer.norm1, layer.norm3]
        pairs.append((layer.norm2, block.norm_cross))
    pairs += zip(norms, (block.norm1, block.norm2), strict=True)
    pairs += [(theirs.out_proj, ours.output) for theirs, ours in attentions]
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.weight.copy_(torch.tensor(ours.weight.data))
            theirs.bias.copy_(torch.tensor(ours.bias.data))
        for theirs, ours in attentions:
            parts = ours.query, ours.key, ours.value
            theirs.in_proj_weight.copy_(
                torch.tensor(np.concatenate([p.weight.data for p in parts]))
            )
            theirs.in_proj_bias.copy_(torch.tensor(np.concatenate([p.bias.data for p in parts])))


def test_bert_of_transformers():
    """Its masked-token logits, from its weights; its second-sentence vector 0 joins the positions."""
    import transformers

    made = config("bert", d_ff=24)
    torch.manual_seed(0)
    oracle = transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=24, max_position_embeddings=8, initializer_range=0.5,
            attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    for p in oracle.parameters():  # biases and norms too, which start at 0 and 1
        torch.nn.init.normal_(p, std=0.5)
    state, model = oracle.state_dict(), make("numpy", made)
    for name, p in model.named_parameters():
        p.data[:] = state[bert_name(name)].numpy()
    model.positions.weight.data += state["bert.embeddings.token_type_embeddings.weight"][0].numpy()

    real = np.arange(8) < np.array([[8], [5], [1]])
    batch = Batch(np.random.default_rng(0).integers(11, size=(3, 8)), mask=real)
    with torch.no_grad():
        b = batch.to("cpu")
        logits = oracle(input_ids=b.ids, attention_mask=b.mask.long()).logits.numpy()
    assert max_error(model.logits(batch)[real], logits[real]) < 1e-4  # both in float32


def bert_name(name):
    """What transformers calls a parameter of ours."""
    for ours, theirs in {
        "embedding.": "bert.embeddings.word_embeddings.",
        "positions.": "bert.embeddings.position_embeddings.",
        "embedding_norm.": "bert.embeddings.LayerNorm.",
        "blocks.": "bert.encoder.layer.",
        ".attention.output.": ".attention.output.dense.",
        ".attention.query.": ".attention.self.query.",
        ".attention.key.": ".attention.self.key.",
        ".attention.value.": ".attention.self.value.",
        ".norm1.": ".attention.output.LayerNorm.",
        ".feed_forward.up.": ".intermediate.dense.",
        ".feed_forward.down.": ".output.dense.",
        ".norm2.": ".output.LayerNorm.",
        "transform.": "cls.predictions.transform.dense.",
        "transform_norm.": "cls.predictions.transform.LayerNorm.",
        "output.bias": "cls.predictions.bias",
    }.items():
        if name.startswith(ours) or (ours.startswith(".") and ours in name):
            name = name.replace(ours, theirs)
    return name


# Where information goes.


@each_half
@pytest.mark.parametrize("preset", ["original", "gpt2", "llama", "recipe"])
def test_no_gradient_reaches_a_later_token(preset, half):
    """From the logits at one position back: to the tokens up to it, and to no other."""
    made = config(preset, tied=False, source_vocab_size=5 if preset == "original" else None)
    ours, theirs = twins(made)
    batch = Batch(np.arange(8)[None], source=None if preset != "original" else np.arange(5)[None])
    for t in (0, 3, 7):
        if half == "numpy":
            logits, cache = ours.forward(batch)
            dlogits = np.zeros_like(logits)
            dlogits[0, t] = np.arange(11)
            ours.zero_grad()
            ours.backward(dlogits, cache)
            reached = ours.embedding.weight.grad
        else:
            theirs.zero_grad()
            (theirs(batch.to("cpu"))[0, t] * torch.arange(11)).sum().backward()
            reached = theirs.embedding.weight.grad.numpy()
        assert (
            np.abs(reached[: t + 1]).max(1) > 1e-6
        ).all()  # each token stands at its own position
        assert not reached[t + 1 :].any()


@each_half
@pytest.mark.parametrize("position", ["none", "learned", "sinusoidal", "rotary"])
def test_only_positions_tell_the_order(half, position):
    """An encoder without positions sees a bag of tokens."""
    made = config("bert", position=position, norm_eps=1e-5)
    model = twins(made)[half == "torch"]
    ids, order = np.array([[3, 1, 4, 1, 5, 9, 2, 6]]), np.array([7, 2, 5, 0, 1, 3, 6, 4])
    found = [plain(model.logits(to_half(half, Batch(x)))) for x in (ids, ids[:, order])]
    error = max_error(found[0][:, order], found[1])
    assert error < 1e-12 if position == "none" else error > 1e-3


@each_half
@pytest.mark.parametrize("pool", ["mean", "first", "last"])
def test_what_is_classified(half, pool):
    """The pooled position is a real one, wherever the padding is; or the mean of the real ones."""
    made = config("bert", n_class=3, pool=pool, norm_eps=1e-5)
    ours, _ = twins(made)
    ids = np.arange(8)[None].repeat(4, 0)
    mask = np.ones((4, 8), bool)
    mask[1, 5:] = mask[2, :2] = False
    mask[3] = False
    batch = Batch(ids, mask=mask)
    x = ours._run(ours._decoder(), ids, mask)[0]  # (B, T, C)
    pooled = {
        "mean": [row[real].mean(0) for row, real in zip(x[:3], mask[:3], strict=True)],
        "first": [x[0, 0], x[1, 0], x[2, 2]],
        "last": [x[0, 7], x[1, 4], x[2, 7]],
    }[pool] + [np.zeros(16)]
    right = np.stack(pooled) @ ours.classify.weight.data.T + ours.classify.bias.data
    model = ours if half == "numpy" else twins(made)[1]
    assert max_error(plain(model.logits(to_half(half, batch))), right) < 1e-12


# How a model starts, and that it learns.


@each_half
@pytest.mark.parametrize("preset", PRESETS)
def test_first_loss(preset, half):
    """Nothing is known yet: about the logarithm of the vocabulary's size."""
    made = config(preset, vocab_size=500, d_model=64)
    loss = float(make(half, made).loss(to_half(half, make_batch(made, B=8))))
    assert abs(loss - math.log(500)) < (0.1 if made.init_std else 0.7)  # then logits vary more


def test_starting_weights():
    """GPT-2's: 0.02, and what blocks add smaller by sqrt(2 n_layer); with zero_init, zero."""
    made = config("gpt2", d_model=128)
    model = make("numpy", made)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert not p.data.any()
        elif "norm" in name:
            assert (p.data == 1).all()
        else:
            adds = "attention.output" in name or "down" in name
            std = 0.02 / math.sqrt(4) if adds else 0.02
            assert abs(p.data.std() / std - 1) < 4 / math.sqrt(2 * p.data.size), name
    made = config("recipe")
    model, b = make("numpy", made), make_batch(made)
    blocks = [
        p.data
        for name, p in model.named_parameters()
        if "attention.output" in name or "down" in name
    ]
    assert len(blocks) == 4 and not any(p.any() for p in blocks)
    x = model.embedding.forward(b.ids)[0]
    x = model.norm.forward(model.embedding_norm.forward(x)[0])[0]
    assert max_error(model.logits(b), model.output.forward(x)[0]) < 1e-5  # blocks add nothing yet


@each_half
@pytest.mark.parametrize(
    ("preset", "options"),
    [(p, {}) for p in PRESETS] + [("gpt2", {"norm_first": False}), ("bert", {"n_class": 4})],
    ids=str,
)
def test_one_batch_is_learned_by_heart(preset, options, half):
    made = config(preset, **options)
    model, b = make(half, made), to_half(half, make_batch(made))
    optimizer = OPTIM[half].AdamW(model.parameters(), weight_decay=0.0)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss_and_grads(b)
        optimizer.step(0.01)
    assert loss < 0.1 < float(make(half, made).loss(b))


# Parameters.


def test_names_of_parameters():
    """Checkpoints are mapped to these."""

    def linear(name):
        return [f"{name}.weight", f"{name}.bias"]

    def block(name, cross=False):
        heads = ("query", "key", "value", "output")
        names = linear(f"{name}.norm1") + [
            n for h in heads for n in linear(f"{name}.attention.{h}")
        ]
        if cross:
            names += linear(f"{name}.norm_cross") + [
                n for h in heads for n in linear(f"{name}.cross.{h}")
            ]
        return (
            names
            + linear(f"{name}.norm2")
            + linear(f"{name}.feed_forward.up")
            + linear(f"{name}.feed_forward.down")
        )

    gpt2 = ["embedding.weight", "positions.weight", *block("blocks.0"), *linear("norm")]
    llama = ["embedding.weight", "blocks.0.norm1.weight"]
    llama += [f"blocks.0.attention.{h}.weight" for h in ("query", "key", "value", "output")]
    llama += ["blocks.0.norm2.weight"] + [
        f"blocks.0.feed_forward.{m}.weight" for m in ("up", "gate", "down")
    ]
    llama += ["norm.weight", "output.weight"]
    bert = ["embedding.weight", "positions.weight", *linear("embedding_norm"), *block("blocks.0")]
    bert_head = [*linear("transform"), *linear("transform_norm"), "output.bias"]
    both = [
        "embedding.weight",
        "source_embedding.weight",
        *block("encoder.0"),
        *block("blocks.0", cross=True),
    ]
    for preset, options, names in [
        ("gpt2", {}, gpt2),
        ("gpt2", {"n_class": 2}, [*gpt2, *linear("classify")]),
        ("llama", {}, llama),
        ("bert", {}, bert + bert_head),
        ("bert", {"n_class": 2}, bert + linear("classify")),
        ("original", {"source_vocab_size": 5}, both),
        ("original", {}, [n for n in both if n != "source_embedding.weight"]),
    ]:
        made = config(preset, n_layer=1, **options)
        for half in HALVES:
            assert [n for n, _ in make(half, made).named_parameters()] == names, (
                preset,
                options,
                half,
            )
    mixes = [n for n, _ in make("numpy", config("recipe")).named_parameters() if "mix" in n]
    assert mixes == ["blocks.1.attention.value_mix"]  # the first block has none


@each_half
def test_tied_weights_collect_both_gradients(half):
    """The gradient of a shared table is the sum of those of two tables with its values."""
    ours, theirs = twins(config("gpt2"))
    ours2, theirs2 = twins(config("gpt2", tied=False))
    tied, untied = (ours, ours2) if half == "numpy" else (theirs, theirs2)
    found = dict(ours.named_parameters())
    for name, p in ours2.named_parameters():
        p.data[:] = found["embedding.weight" if name == "output.weight" else name].data
    weights.copy(ours2, theirs2)
    b = to_half(half, make_batch(config("gpt2")))
    for model in (tied, untied):
        model.loss_and_grads(b)
    one, two = grads(tied), grads(untied)
    assert (
        max_error(
            one.pop("embedding.weight"), two.pop("embedding.weight") + two.pop("output.weight")
        )
        < 1e-12
    )
    assert max(max_error(one[name], two[name]) for name in one) < 1e-12


# Generation.


@each_half
@pytest.mark.parametrize("preset", ["original", "gpt2", "llama", "recipe"])
def test_generation_in_float32(preset, half):
    """Token by token up to the context's end: with a cache as without; one more is an error."""
    made = config(preset, n_head=4, n_kv_head=2 if preset != "original" else None)
    model, b = make(half, made), to_half(half, make_batch(made))
    for layer in model.blocks:  # attention that matters
        layer.attention.output.weight.data += 0.3
    right = plain(model.logits(b))
    cache = model.encode(b.source) if preset == "original" else model.new_cache(3)
    for t in range(8):
        found = model.next_logits(b.ids[:, t : t + 1], cache)
        assert max_error(plain(found), right[:, t]) < 1e-5
    assert cache.length == 8
    with pytest.raises(ValueError, match="1 positions, after 8 read before, .* context_length = 8"):
        model.next_logits(b.ids[:, :1], cache)
    assert cache.length == 8


@each_half
def test_an_error_leaves_the_cache_as_it_was(half):
    made = config("gpt2")
    model, b = make(half, made), to_half(half, make_batch(made))
    cache = model.new_cache(3)
    model.next_logits(b.ids[:, :3], cache)
    real = to_half(half, Batch(np.zeros((3, 6), int), mask=np.ones((3, 6), bool))).mask
    for wrong, mask in [(b.ids[:, :6], real), (b.ids[:, :1] + 99, None), (b.ids[:1, :1], None)]:
        with pytest.raises(ValueError, match="ids"):
            model.next_logits(wrong, cache, mask=mask)
    right = plain(model.logits(b))[:, 3]
    assert max_error(plain(model.next_logits(b.ids[:, 3:4], cache)), right) < 1e-5


# Switches of the PyTorch half.


@pytest.mark.parametrize("preset", PRESETS)
def test_checkpointing(preset):
    """Blocks run twice drop the same both times, leave the generator alike, and keep less."""
    made = config(preset, dropout=0.4)
    model, b = make("torch", made), make_batch(made).to("cpu")
    found = []
    for model.checkpointing in (False, True):
        rng, kept = generator("torch"), []
        model.zero_grad()
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda x, kept=kept: kept.append(x.numel()) or x, lambda x: x
        )
        with hooks:
            loss = torch.nn.functional.cross_entropy(
                model(b, rng=rng).flatten(0, -2), b.targets.flatten()
            )
        loss.backward()
        found.append((float(loss.detach()), grads(model), rng.get_state(), sum(kept)))
    (loss, gradients, state, kept), (loss2, gradients2, state2, kept2) = found
    assert loss == loss2 and torch.equal(state, state2)
    assert all(np.array_equal(gradients[n], gradients2[n]) for n in gradients)
    assert kept2 < kept / 3


@pytest.mark.parametrize(
    ("preset", "sdpa", "n_layer"),
    [
        ("original", True, 1),
        ("bert", False, 1),
        ("gpt2", True, 1),
        ("llama", True, 1),
        ("recipe", False, 2),
    ],
)
def test_compiles_as_one_graph(preset, sdpa, n_layer):
    """Without a break, and once more only when lengths begin to vary."""
    made = config(preset, n_layer=n_layer)
    model, graphs = make("torch", made), []
    model.sdpa = sdpa

    def backend(graph, _):
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for T in (5, 6, 7):
        b = make_batch(made, T=T).to("cpu")
        torch.testing.assert_close(compiled(b), model(b))
    assert len(graphs) == 2


# What is wrong, the call that does it (in either half), and what the message must say.
IDS = np.zeros((2, 3), int)
BAD = [
    ("too long", "gpt2", {}, lambda m, a: m.logits(a(np.zeros((2, 9), int))),
     "ids has 9 positions, after 0 read before, expected at most context_length = 8"),
    ("source too long", "original", {}, lambda m, a: m.logits(a(IDS, source=np.zeros((2, 9), int))),
     "9 positions"),
    ("id too large", "gpt2", {}, lambda m, a: m.logits(a(IDS + 11)), "ids holds 11"),
    ("id negative", "gpt2", {}, lambda m, a: m.logits(a(IDS - 1)), "ids holds -1"),
    ("source too large", "original", {"source_vocab_size": 5},
     lambda m, a: m.logits(a(IDS, source=IDS + 5)), "5, expected 0 <= id < vocab_size = 5"),
    ("no source", "original", {}, lambda m, a: m.logits(a(IDS)),
     "source is None, expected ids (B, S)"),
    ("source for a decoder", "gpt2", {}, lambda m, a: m.logits(a(IDS, source=IDS)),
     "expected none with kind = 'decoder'"),
    ("source read by a decoder", "gpt2", {}, lambda m, a: m.encode(a(IDS).ids), "kind = 'decoder'"),
    ("cache before the source", "original", {}, lambda m, a: m.new_cache(2), "expected encode"),
    ("encoder that writes", "bert", {}, lambda m, a: m.new_cache(2), "kind = 'encoder'"),
    ("encoder without cache", "bert", {}, lambda m, a: m.next_logits(a(IDS).ids, None), "kind = 'encoder'"),
    ("classes that write", "gpt2", {"n_class": 2}, lambda m, a: m.new_cache(2), "n_class = 2"),
    ("cache for others", "gpt2", {}, lambda m, a: m.next_logits(a(IDS).ids, m.new_cache(3)),
     "ids has shape (2, 3), expected (3, t)"),
    ("nothing new", "gpt2", {}, lambda m, a: m.next_logits(a(IDS[:, :0]).ids, m.new_cache(2)),
     "ids has shape (2, 0)"),
    ("too long for the cache", "gpt2", {}, lambda m, a: m.next_logits(a(np.zeros((2, 9), int)).ids, m.new_cache(2)),
     "ids has 9 positions"),
]  # fmt: skip


@each_half
@pytest.mark.parametrize(
    ("preset", "options", "do", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input(half, preset, options, do, message):
    model = make(half, config(preset, **options))

    def batch(ids, **others):
        return to_half(half, Batch(ids, **others))

    with pytest.raises(ValueError) as caught:
        do(model, batch)
    assert message in str(caught.value)


@each_half
def test_bad_activation(half):
    with pytest.raises(ValueError, match=r"activation = 'tanh', expected one of \('gelu'"):
        HALVES[half].FeedForward(8, 32, activation="tanh")


@each_half
@pytest.mark.parametrize("preset", ["original", "gpt2", "recipe"])
def test_short_texts(half, preset):
    """One token, and no text at all: there and back, and in generation."""
    made = config(preset)
    model = make(half, made)
    for B, T in ((2, 1), (0, 3), (0, 1)):
        b = make_batch(made, B=B, T=max(T, 2))
        b = to_half(half, replace(b, ids=b.ids[:, :T], targets=b.targets[:, :T]))
        cache = model.encode(b.source) if preset == "original" else model.new_cache(B)
        assert model.next_logits(b.ids, cache).shape == (B, 11)
        if half == "numpy":
            logits, kept = model.forward(b)
            model.backward(np.ones_like(logits), kept)
        else:
            logits = model(b)
            logits.sum().backward()
        assert logits.shape == (B, T, 11)
        assert all(np.isfinite(g).all() for g in grads(model).values())
