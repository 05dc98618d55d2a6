"""What holds for every model, whatever its options and whatever it reads: drawn by hypothesis."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import parity
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minillm import config
from minillm.batches import Batch

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 4)
FLAGS = st.booleans()
EXACT = 1e-10
properties = settings(deadline=None, max_examples=40, derandomize=True, database=None)


@st.composite
def transformers(draw):
    """Any options that do not contradict each other."""
    n_head = draw(SIZES, label="n_head")
    position = draw(st.sampled_from(["learned", "sinusoidal", "rotary", "none"]))
    norm = draw(st.sampled_from(["layernorm", "rmsnorm"]))
    kind = draw(st.sampled_from(["decoder", "encoder", "encoder-decoder"]))
    one_text = kind != "encoder-decoder"
    n_class = draw(st.sampled_from([None, 1, 3])) if one_text else None
    even = st.sampled_from([2, 4])
    return {
        "vocab_size": draw(st.integers(1, 7)),
        "context_length": draw(st.integers(1, 6)),
        "n_layer": draw(st.integers(1, 2)),
        "n_head": n_head,
        "n_kv_head": draw(st.sampled_from([n for n in range(1, 5) if n_head % n == 0])),
        "d_model": draw(even if position == "sinusoidal" else SIZES),
        "d_head": draw(even if position == "rotary" else SIZES),
        "d_ff": draw(SIZES),
        "kind": kind,
        "activation": draw(st.sampled_from(config.CHOICES["activation"])),
        "norm": norm,
        "norm_first": draw(FLAGS),
        "norm_weight": norm == "layernorm" or draw(FLAGS),
        "norm_eps": draw(st.sampled_from([1e-5, 0.1])),
        "n_gram": draw(st.sampled_from([1, 2, 4])) if kind == "decoder" else 1,
        "position": position,
        "rotary_base": draw(st.sampled_from([2.0, 10_000.0])),
        "rotary_factor": draw(st.sampled_from([1.0, 4.0])),
        "rotary_context": draw(st.sampled_from([1, 8])),
        "bias": draw(FLAGS),
        "tied": draw(FLAGS),
        "embedding_scale": draw(FLAGS),
        "embedding_norm": draw(FLAGS),
        "qk_norm": (qk_norm := draw(FLAGS)),
        "qk_scale": draw(st.sampled_from([1.0, 2.0])) if qk_norm else 1.0,
        "value_residual": draw(FLAGS),
        "source_vocab_size": None if one_text else draw(st.sampled_from([None, 5])),
        "head_transform": n_class is None and draw(FLAGS),
        "n_class": n_class,
        "pool": draw(st.sampled_from(["mean", "first", "last"])),
    }


@st.composite
def recurrents(draw):
    """Both cells, and widths that may be tied."""
    d_model, tied = draw(SIZES), draw(FLAGS)
    return {
        "vocab_size": draw(st.integers(1, 7)),
        "d_model": d_model,
        "d_hidden": d_model if tied else draw(SIZES),
        "n_layer": draw(st.integers(1, 3)),
        "cell": draw(st.sampled_from(["lstm", "rnn"])),
        "variational": draw(FLAGS),
        "tied": tied,
    }


# How the options of each model are drawn.
OPTIONS = {
    "Bigram": st.fixed_dictionaries({"vocab_size": st.integers(1, 7)}),
    "MLP": st.fixed_dictionaries(
        {"vocab_size": st.integers(1, 7), "context_length": st.integers(1, 6)}
        | {"d_model": SIZES, "d_hidden": SIZES}
    ),
    "Recurrent": recurrents(),
    "LSTMEncoderDecoder": st.fixed_dictionaries(
        {"vocab_size": st.integers(1, 7), "source_vocab_size": st.integers(1, 5)}
        | {"d_model": SIZES, "d_hidden": SIZES, "n_layer": st.integers(1, 2), "attention": FLAGS}
    ),
    "Transformer": transformers(),
}
MADE = [name for name in OPTIONS if name in parity.find("numpy", "loss_and_grads")]
each_model = pytest.mark.parametrize("name", MADE)


def draw_twins(name, data):
    """A model with options of its kind in both halves, with the same random weights."""
    options = data.draw(OPTIONS[name], label="options")
    made = getattr(config, f"{name}Config")(**options)
    return parity.Row(name, (made,), {}, {}).twins()


def draw_batch(made, data, *, B=None, padding=("none", "right", "left", "anywhere")):
    """A batch that a model with the config `made` can read, with a target for every real token."""
    rng = np.random.default_rng(data.draw(SEEDS, label="seed"))
    B = data.draw(st.integers(1, 3), label="B") if B is None else B
    padding = data.draw(st.sampled_from(padding), label="padding")
    longest = made.context_length if made.model == "Transformer" else 6

    def text(vocab_size):
        T = data.draw(st.integers(1, longest), label="length")
        mask = np.arange(T) < rng.integers(0, T + 1, size=(B, 1))
        mask[:1, 0] = True  # so that at least one target counts
        mask = rng.permuted(mask, axis=1) if padding == "anywhere" else mask
        mask = mask[:, ::-1].copy() if padding == "left" else mask
        return rng.integers(vocab_size, size=(B, T)), None if padding == "none" else mask

    ids, mask = text(made.vocab_size)
    source, source_mask = text(source_size(made)) if source_size(made) else (None, None)
    n_class = getattr(made, "n_class", None)
    targets = rng.integers(n_class or made.vocab_size, size=(B,) if n_class else ids.shape)
    if mask is not None and not n_class:
        targets[~mask] = -100
    return Batch(ids, targets=targets, mask=mask, source=source, source_mask=source_mask)


def source_size(made):
    """How many different tokens the source has; None where a model reads one text."""
    if made.model == "Transformer" and made.kind == "encoder-decoder":
        return made.source_vocab_size or made.vocab_size
    return made.source_vocab_size if made.model == "LSTMEncoderDecoder" else None


def is_causal(made):
    """Whether what a model answers at a position depends on no later one."""
    return made.model != "Transformer" or (made.kind != "encoder" and not made.n_class)


def gradients(model):
    """What has been collected, by name."""
    return {f"d {n}": parity.plain(parity.grad(p)).copy() for n, p in model.named_parameters()}


@each_model
@properties
@given(data=st.data())
def test_halves_agree(name, data):
    ours, theirs = draw_twins(name, data)
    batch = draw_batch(ours.config, data)
    options = {"label_smoothing": 0.1, "z_loss": 0.1, "scale": 0.5}
    loss = ours.loss_and_grads(batch, **options)
    other = theirs.loss_and_grads(batch.to("cpu"), **options)
    parity.compare(
        {"loss": loss, "logits": ours.logits(batch), **gradients(ours)},
        {"loss": other, "logits": theirs.logits(batch.to("cpu")), **gradients(theirs)},
        EXACT,
    )


@each_model
@properties
@given(data=st.data())
def test_no_texts(name, data):
    """An empty batch has empty logits; a loss over nothing is no number, and says so."""
    for model, half in zip(draw_twins(name, data), ("numpy", "torch"), strict=True):
        batch = draw_batch(model.config, data, B=0)
        batch = batch.to("cpu") if half == "torch" else batch
        assert len(model.logits(batch)) == 0
        with pytest.raises(ValueError, match="no position counts: of 0 targets"):
            model.loss_and_grads(batch)
        assert not any(g.any() for g in gradients(model).values())


def real(ids, mask, i):
    """The real tokens of one text: (1, length)."""
    return ids[i : i + 1] if mask is None else ids[i : i + 1, mask[i]]


@each_model
@properties
@given(data=st.data())
def test_each_text_for_itself(name, data):
    """Neither the texts beside it nor padding change what is answered for a text.

    Padding may stand before, behind and, but for a model that looks through a window, between.
    """
    model, _ = draw_twins(name, data)
    ends = ("none", "right", "left")
    batch = draw_batch(model.config, data, padding=ends if name == "MLP" else (*ends, "anywhere"))
    together = model.logits(batch)
    model.loss_and_grads(batch)
    assert np.isfinite(together).all()
    assert all(np.isfinite(g).all() for g in gradients(model).values())
    for i in range(len(batch.ids)):
        ids, source = real(batch.ids, batch.mask, i), None
        if batch.source is not None:
            source = real(batch.source, batch.source_mask, i)
        if ids.size and (source is None or source.size):
            answered = together[i : i + 1]
            answered = answered if together.ndim == 2 else real(together, batch.mask, i)
            assert parity.max_error(model.logits(Batch(ids, source=source)), answered) < EXACT


@each_model
@properties
@given(data=st.data())
def test_which_tokens_fill_up_does_not_matter(name, data):
    model, _ = draw_twins(name, data)
    batch = draw_batch(model.config, data, padding=("right", "left", "anywhere"))
    model.loss_and_grads(batch)
    found = {"loss": model.loss(batch), **gradients(model)}
    other = replace(batch, ids=other_tokens(batch.ids, ~batch.mask, model.config.vocab_size))
    if batch.source is not None:
        source = other_tokens(batch.source, ~batch.source_mask, source_size(model.config))
        other = replace(other, source=source)
    model.zero_grad()
    model.loss_and_grads(other)
    parity.compare({"loss": model.loss(other), **gradients(model)}, found, EXACT)


def other_tokens(ids, where, vocab_size):
    """Every token at some places is replaced by the next one."""
    return np.where(where, (ids + 1) % vocab_size, ids)


@each_model
@properties
@given(data=st.data())
def test_later_tokens_change_nothing_before(name, data):
    model, _ = draw_twins(name, data)
    assume(is_causal(model.config))
    batch = draw_batch(model.config, data)
    t = data.draw(st.integers(0, batch.ids.shape[1]), label="t")
    later = np.arange(batch.ids.shape[1]) >= t
    changed = replace(batch, ids=other_tokens(batch.ids, later, model.config.vocab_size))
    before, after = model.logits(batch), model.logits(changed)
    assert parity.max_error(before[:, :t], after[:, :t]) < EXACT


@each_model
@properties
@given(data=st.data())
def test_reading_piece_by_piece(name, data):
    """With a cache, the logits after each piece of a text are those of the whole text there."""
    ours, theirs = draw_twins(name, data)
    assume(is_causal(ours.config))
    batch = draw_batch(ours.config, data, padding=("none", "left"))
    B, T = batch.ids.shape
    ends = sorted(data.draw(st.sets(st.integers(1, T)), label="ends") | {T})
    for model, b in ((ours, batch), (theirs, batch.to("cpu"))):
        logits = parity.plain(model.logits(b))
        if b.source is None:
            cache = model.new_cache(B)
        else:
            cache = model.encode(b.source, b.source_mask)
        for start, end in pairwise([0, *ends]):
            mask = None if b.mask is None else b.mask[:, start:end]
            found = parity.plain(model.next_logits(b.ids[:, start:end], cache, mask=mask))
            read = slice(None) if batch.mask is None else batch.mask[:, end - 1]
            assert parity.max_error(found[read], logits[read, end - 1]) < EXACT
