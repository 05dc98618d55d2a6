"""Whatever is wrong with what a user passes: an error that names it, its value, what was expected.

Each row says in words what is wrong, does it, and gives the exception and a regular expression
that its message must match. The first table is about what both halves share, the others about each
half. What is wrong with formulas, optimizers, weights, tokenizers and checkpoints is in the tests
of those files as well; here stands what a user is most likely to meet.
"""

import json
import pickle
import re
from types import SimpleNamespace

import numpy as np
import parity
import pytest
import torch

from minillm import weights
from minillm.batches import Batch
from minillm.config import (
    BigramConfig,
    LSTMEncoderDecoderConfig,
    MLPConfig,
    ModelConfig,
    RecurrentConfig,
    TransformerConfig,
)
from minillm.numpy_nn.models import Bigram
from minillm.safetensors import TensorFile, write
from minillm.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer

GPT = {"vocab_size": 7, "context_length": 5, "n_layer": 2, "n_head": 2, "d_model": 8}
RNN = {"vocab_size": 7, "d_model": 4, "d_hidden": 6}
IDS = np.array([[1, 2, 3], [4, 5, 6]])  # (B, T) = (2, 3)


def from_json(**values):
    return ModelConfig.from_json(json.dumps(values))


SHARED = [
    # Sizes.
    ("no tokens", lambda: BigramConfig(vocab_size=0), ValueError, "vocab_size = 0.*positive"),
    ("half a token", lambda: BigramConfig(vocab_size=6.5), TypeError, "vocab_size = 6.5.*integer"),
    ("size in words", lambda: BigramConfig(vocab_size="7"), TypeError, "vocab_size = '7'.*integer"),
    ("size is a bool", lambda: BigramConfig(vocab_size=True), TypeError, "vocab_size = True"),
    ("none at all", lambda: BigramConfig(vocab_size=None), TypeError, "vocab_size = None"),
    ("negative", lambda: MLPConfig(vocab_size=7, context_length=-1, d_model=2, d_hidden=2),
     ValueError, "context_length = -1.*positive"),
    ("size left out", lambda: MLPConfig(vocab_size=7), TypeError, "context_length"),
    ("unknown option", lambda: BigramConfig(vocab_size=7, n_head=2), TypeError, "n_head"),
    # Choices and ranges.
    ("cell", lambda: RecurrentConfig(**RNN, cell="gru"),
     ValueError, r"cell = 'gru'.*'lstm', 'rnn'"),
    ("norm", lambda: TransformerConfig(**GPT, norm="batch"), ValueError, "norm = 'batch'.*rmsnorm"),
    ("kind", lambda: TransformerConfig(**GPT, kind=None), TypeError, "kind = None, expected a str"),
    ("pool", lambda: TransformerConfig(**GPT, pool="max"), ValueError, "pool = 'max'.*'mean'"),
    ("position", lambda: TransformerConfig(**GPT, position="alibi"),
     ValueError, "position = 'alibi'"),
    ("activation", lambda: TransformerConfig(**GPT, activation="tanh"), ValueError,
     "activation = 'tanh'.*'swiglu'"),
    ("all is dropped", lambda: TransformerConfig(**GPT, dropout=1.0), ValueError,
     "dropout = 1, expected 0 <= dropout < 1"),
    ("dropout NaN", lambda: TransformerConfig(**GPT, dropout=float("nan")),
     ValueError, "dropout = nan"),
    ("eps", lambda: TransformerConfig(**GPT, norm_eps=-1e-5),
     ValueError, "norm_eps = -1e-05.*0 <="),
    ("flag", lambda: TransformerConfig(**GPT, tied="no"), TypeError, "tied = 'no'.*True or False"),
    ("number as flag", lambda: RecurrentConfig(**RNN, tied=1),
     TypeError, "tied = 1.*True or False"),
    # Options that contradict each other.
    ("heads do not divide", lambda: TransformerConfig(**GPT | {"n_head": 3}), ValueError,
     "d_model = 8.*multiple of n_head = 3"),
    ("groups do not divide", lambda: TransformerConfig(**GPT | {"n_head": 4}, n_kv_head=3),
     ValueError, "n_kv_head = 3.*divisor of n_head = 4"),
    ("more groups than heads", lambda: TransformerConfig(**GPT, n_kv_head=4), ValueError,
     "n_kv_head = 4.*divisor of n_head = 2"),
    ("odd rotation", lambda: TransformerConfig.llama(**GPT, d_head=3),
     ValueError, "d_head = 3.*even"),
    ("unweighted LayerNorm", lambda: TransformerConfig(**GPT, norm_weight=False), ValueError,
     "norm_weight = False.*LayerNorm"),
    ("classes of a pair", lambda: TransformerConfig.original(**GPT, n_class=2), ValueError,
     "n_class = 2.*None.*encoder-decoder"),
    ("source of a decoder", lambda: TransformerConfig.gpt2(**GPT, source_vocab_size=9), ValueError,
     "source_vocab_size = 9.*None.*'decoder'"),
    ("two heads", lambda: TransformerConfig.bert(**GPT, n_class=2, head_transform=True), ValueError,
     "head_transform = True.*False with n_class"),
    ("odd waves", lambda: TransformerConfig.original(**GPT | {"d_model": 9, "d_head": 4}),
     ValueError, "d_model = 9.*even"),
    ("base", lambda: TransformerConfig.llama(**GPT, rotary_base=0),
     ValueError, "rotary_base = 0.*1 <="),
    ("tied widths", lambda: RecurrentConfig(**RNN, tied=True), ValueError,
     "d_hidden = 6.*4 = d_model.*tied"),
    # JSON.
    ("no JSON", lambda: ModelConfig.from_json("GPT-2"),
     ValueError, "text = 'GPT-2', expected JSON"),
    ("cut off", lambda: ModelConfig.from_json('{"model": "Bigr'),
     ValueError, "Bigr.*expected JSON"),
    ("no object", lambda: ModelConfig.from_json("3"), ValueError, "text = '3'.*JSON object"),
    ("empty JSON", lambda: ModelConfig.from_json(""), ValueError, "text = '', expected JSON"),
    ("unknown model", lambda: from_json(model="GPT", vocab_size=7), ValueError,
     "model = 'GPT', expected one of .*'Transformer'"),
    ("no model", lambda: from_json(vocab_size=7), ValueError, "model = None.*'Bigram'"),
    ("base class", lambda: from_json(model="Model", vocab_size=7), ValueError, "model = 'Model'"),
    ("option unknown", lambda: from_json(model="Bigram", vocab_size=7, n_gram=3), ValueError,
     "n_gram = 3: Bigram has no such option"),
    ("option missing", lambda: from_json(model="MLP", vocab_size=7, d_model=2, d_hidden=2),
     ValueError, "context_length is missing.*MLP needs it"),
    ("wrong in JSON", lambda: from_json(model="Bigram", vocab_size="7"),
     TypeError, "vocab_size = '7'"),
    ("list in JSON", lambda: ModelConfig.from_json('[["model", "Bigram"]]'), ValueError,
     "text = .*JSON object"),
    ("model no name", lambda: from_json(model=["Bigram"]), ValueError, r"model = \['Bigram'\]"),
    ("None as JSON", lambda: ModelConfig.from_json(None), ValueError, "text = 'None'.*JSON"),
    # Batches.
    ("ids in a list", lambda: Batch([[1, 2]]), TypeError, "ids is a list, expected an array"),
    ("no ids", lambda: Batch(None), TypeError, "ids is None, expected an array"),
    ("targets in a list", lambda: Batch(IDS, targets=[0, 1]), TypeError, "targets is a list"),
    ("mask of nothing", lambda: Batch(IDS, source_mask=IDS > 0), ValueError,
     "source_mask without a source"),
    ("ids in a row", lambda: Batch(IDS[0]), ValueError, r"ids has shape \(3,\), expected \(B, T\)"),
    ("targets shorter", lambda: Batch(IDS, targets=IDS[:, 1:]), ValueError,
     r"targets has shape \(2, 2\), expected \(B, T\) = \(2, 3\) or \(2,\)"),
    ("a label a token", lambda: Batch(IDS, targets=IDS[0]),
     ValueError, r"targets has shape \(3,\)"),
    ("mask of numbers", lambda: Batch(IDS, mask=np.ones((2, 3))), ValueError,
     r"mask has shape \(2, 3\) and dtype float64, expected bool \(2, 3\)"),
    ("mask of a text", lambda: Batch(IDS, mask=np.ones(3, bool)), ValueError,
     r"mask has shape \(3,\).*expected bool \(2, 3\)"),
    ("mask square", lambda: Batch(IDS, mask=np.ones((3, 3), bool)), ValueError, r"mask.*\(3, 3\)"),
    ("more sources", lambda: Batch(IDS, source=IDS.T), ValueError,
     r"source has shape \(3, 2\), expected \(2, S\)"),
    ("source in a row", lambda: Batch(IDS, source=IDS[:, 0]),
     ValueError, r"source has shape \(2,\)"),
    ("source mask", lambda: Batch(IDS, source=IDS[:, :2], source_mask=np.ones((2, 3), bool)),
     ValueError, r"source_mask has shape \(2, 3\).*expected bool \(2, 2\)"),
]  # fmt: skip


def half(name):
    """What the rows below take: a half's files, arrays and calls under one name each."""
    numpy = name == "numpy"
    array = np.asarray if numpy else lambda x: torch.as_tensor(np.asarray(x))

    def make(class_name, *args, **options):
        return parity.find(name, "forward")[class_name](*args, **options)

    def run(layer, *args, **options):
        args = [a if isinstance(a, Batch) else array(a) for a in args]
        return (layer.forward if numpy else layer)(*args, **options)

    def batch(ids=IDS, **arrays):
        return Batch(array(ids), **{n: array(x) for n, x in arrays.items()})

    rng = np.random.default_rng(0) if numpy else torch.Generator()
    return SimpleNamespace(name=name, array=array, make=make, run=run, batch=batch, rng=rng)


F32 = np.float32
X = np.ones((2, 5, 8), F32)  # (B, T, C)
LOOK = np.ones((2, 3), bool)  # a mask (B, T) for IDS

ORIGINAL = TransformerConfig.original(**GPT)
LAYERS = [
    ("Linear", lambda h: h.make("Linear", 0, 3),
     ValueError, "d_in = 0, expected a positive integer"),
    ("Linear", lambda h: h.make("Linear", 3, 2.0),
     TypeError, "d_out = 2.0, expected a positive int"),
    ("Linear", lambda h: h.make("Linear", 3, 2, std=-1), ValueError, "std = -1, expected 0 <= std"),
    ("Linear", lambda h: h.make("Linear", 3, 2, std="big"),
     TypeError, "std = 'big', expected a num"),
    ("Linear", lambda h: h.run(h.make("Linear", 3, 2), X), ValueError,
     r"x has shape \(2, 5, 8\) and weight \(2, 3\), expected \(..., d_in\)"),
    ("Linear", lambda h: h.run(h.make("Linear", 3, 2), F32(1)), ValueError, r"x has shape \(\)"),
    ("Embedding", lambda h: h.make("Embedding", -7, 2), ValueError, "vocab_size = -7.*positive"),
    ("Embedding", lambda h: h.run(h.make("Embedding", 7, 2), [[0, 7]]), ValueError,
     "ids holds 7, expected 0 <= id < vocab_size = 7"),
    ("Embedding", lambda h: h.run(h.make("Embedding", 7, 2), [[-1]]), ValueError, "ids holds -1"),
    ("Embedding", lambda h: h.run(h.make("Embedding", 7, 2), [[1.0]]), TypeError,
     "ids has dtype .*float64, expected integers"),
    ("Embedding", lambda h: h.run(h.make("Embedding", 7, 2), [[True]]),
     TypeError, "bool.*integers"),
    ("LayerNorm", lambda h: h.make("LayerNorm", None),
     TypeError, "d_model = None.*positive integer"),
    ("LayerNorm", lambda h: h.make("LayerNorm", 4, eps=-1),
     ValueError, "eps = -1, expected 0 <= eps"),
    ("LayerNorm", lambda h: h.run(h.make("LayerNorm", 4), X), ValueError,
     r"x has shape \(2, 5, 8\), expected \(..., 4\)"),
    ("LayerNorm", lambda h: h.run(h.make("LayerNorm", 4), X[..., :1]), ValueError,
     r"x has shape \(2, 5, 1\), expected \(..., 4\)"),  # which would broadcast
    ("RMSNorm", lambda h: h.make("RMSNorm", 4, eps=float("inf")), ValueError, "eps = inf"),
    ("RMSNorm", lambda h: h.run(h.make("RMSNorm", 4, weight=False), X), ValueError,
     r"x has shape \(2, 5, 8\), expected \(..., 4\)"),
    ("Dropout", lambda h: h.make("Dropout", 1.0), ValueError, "p = 1, expected 0 <= p < 1"),
    ("Dropout", lambda h: h.make("Dropout", "0.5"), TypeError, "p = '0.5', expected a number"),
    ("FeedForward", lambda h: h.make("FeedForward", 4, 0), ValueError, "d_out = 0|d_ff = 0"),
    ("FeedForward", lambda h: h.make("FeedForward", 4, 8, activation="swish"), ValueError,
     "activation = 'swish', expected one of .*'silu'"),
    ("RNN", lambda h: h.make("RNN", 3, 4, n_layer=0), ValueError, "n_layer = 0.*positive"),
    ("LSTM", lambda h: h.make("LSTM", 3, 0), ValueError, "d_hidden = 0.*positive"),
    ("LSTM", lambda h: h.make("LSTM", 3, 4, dropout=1), ValueError, "dropout = 1, expected 0 <="),
    ("LSTM", lambda h: h.run(h.make("LSTM", 3, 4), X), ValueError, r"\(2, 5, 8\), expected .*3\)"),
    ("LSTM", lambda h: h.run(h.make("LSTM", 8, 4), X[0]),
     ValueError, r"x has shape \(5, 8\), expected \(B, T, 8\)"),
    ("state of others", lambda h: h.run(h.make("RNN", 8, 4), X, h.make("RNN", 8, 4).new_state(3)),
     ValueError, r"state has shape \(1, 3, 4\), expected \(1, 2, 4\)"),
    ("state of an LSTM", lambda h: h.run(h.make("RNN", 8, 4), X, h.make("LSTM", 8, 4).new_state(2)),
     ValueError, "state has 2 arrays, expected 1"),
    ("mask", lambda h: h.run(h.make("LSTM", 8, 4), X, mask=h.array(LOOK)), ValueError,
     r"mask has shape \(2, 3\), expected \(2, 5\)"),
    ("mask of floats", lambda h: h.run(h.make("LSTM", 8, 4), X, mask=h.array(X[..., 0])),
     ValueError, r"mask has .*dtype .*float32, expected bool"),
    ("heads", lambda h: h.make("MultiHeadAttention", 8, 3), ValueError, "d_model = 8.*n_head = 3"),
    ("groups", lambda h: h.make("MultiHeadAttention", 8, 4, n_kv_head=3), ValueError,
     "n_kv_head = 3.*divisor of n_head = 4"),
    ("attention", lambda h: h.run(h.make("MultiHeadAttention", 4, 2), X), ValueError,
     r"\(2, 5, 8\).* expected \(..., (d_in|4)\)"),
    ("source", lambda h: h.run(h.make("MultiHeadAttention", 8, 2), X, X[..., :4]), ValueError,
     r"\(2, 5, 4\).* expected \(..., (d_in|8)\)"),
    ("sources", lambda h: h.run(h.make("MultiHeadAttention", 8, 2), X, np.ones((3, 4, 8), F32)),
     ValueError, r"q has shape \(2, .*k \(3, .*expected \(..., T, K\), \(..., S, K\)"),
    ("look", lambda h: attend(h, LOOK), ValueError,
     r"mask has shape \(2, 3\), expected \(..., T, S\)"),
    ("look by numbers", lambda h: attend(h, np.eye(5, dtype=int)), TypeError,
     "mask has dtype .*int64, expected bool or floats"),
    ("block without a source", lambda h: h.run(h.make("Block", ORIGINAL, cross=True), X),
     ValueError,
     "source is None, expected"),
    ("a mask a text", lambda h: attend(h, np.ones((2, 5, 5), bool)), ValueError,
     r"mask has shape \(2, 5, 5\), expected"),
]  # fmt: skip


def attend(h, mask):
    """Attention over X with a mask; 2 key/value heads serve 4."""
    layer = h.make("MultiHeadAttention", 8, 4, n_kv_head=2)
    return h.run(layer, X, mask=h.array(mask))


def bigram(h):
    return h.make("Bigram", BigramConfig(vocab_size=7))


def mlp(h, **options):
    sizes = {"vocab_size": 7, "context_length": 3, "d_model": 4, "d_hidden": 5}
    return h.make("MLP", MLPConfig(**sizes | options))


def recurrent(h, **options):
    return h.make("Recurrent", RecurrentConfig(**RNN | options))


def pair(h, **options):
    return h.make(
        "LSTMEncoderDecoder", LSTMEncoderDecoderConfig(source_vocab_size=7, **RNN, **options)
    )


def gpt(h, **options):
    return h.make("Transformer", TransformerConfig.gpt2(**GPT | options))


def bert(h, **options):
    return h.make("Transformer", TransformerConfig.bert(**GPT, **options))


def original(h):
    return h.make("Transformer", ORIGINAL)


OTHER = {"numpy": "torch", "torch": "numpy"}
LONG = np.ones((2, 6), int)  # longer than the context
MODELS = [
    ("no targets", lambda h: bigram(h).loss_and_grads(h.batch()), ValueError, "targets is None"),
    ("no targets", lambda h: bigram(h).loss(h.batch()), ValueError, "targets is None, expected"),
    ("nothing to learn", lambda h: bigram(h).loss(h.batch(targets=np.full((2, 3), -100))),
     ValueError, "no position counts: of 6 targets"),
    ("no texts", lambda h: bigram(h).loss(h.batch(IDS[:0], targets=IDS[:0])), ValueError,
     "no position counts: of 0 targets"),
    ("empty texts", lambda h: gpt(h).loss(h.batch(IDS[:, :0], targets=IDS[:, :0])), ValueError,
     "no position counts: of 0 targets"),
    ("labels for tokens", lambda h: mlp(h).loss(h.batch(targets=[0, 1])), ValueError,
     r"targets has shape \(2,\), expected \(2, 3\)"),
    ("tokens for labels", lambda h: bert(h, n_class=2).loss(h.batch(targets=IDS)), ValueError,
     r"targets has shape \(2, 3\), expected \(2,\)"),
    ("label too large", lambda h: bert(h, n_class=2).loss(h.batch(targets=[0, 2])), ValueError,
     "targets holds 2, expected 0 <= id < vocab_size = 2"),
    ("target too large", lambda h: mlp(h).loss(h.batch(targets=IDS + 1)), ValueError,
     "targets holds 7, expected 0 <= id < vocab_size = 7"),
    ("id too large", lambda h: gpt(h).logits(h.batch(IDS + 1)), ValueError,
     "ids holds 7, expected 0 <= id < vocab_size = 7"),
    ("id negative", lambda h: bigram(h).logits(h.batch(IDS - 2)), ValueError, "ids holds -1"),
    ("ids of floats", lambda h: recurrent(h).logits(Batch(h.array(IDS * 1.0))), TypeError,
     "ids has dtype .*float64, expected integers"),
    ("smoothing", lambda h: bigram(h).loss_and_grads(h.batch(targets=IDS), label_smoothing=1),
     ValueError, "label_smoothing = 1, expected 0 <= label_smoothing < 1"),
    ("z-loss", lambda h: bigram(h).loss_and_grads(h.batch(targets=IDS), z_loss=-1.0),
     ValueError, "z_loss = -1, expected 0 <= z_loss"),
    ("config of another", lambda h: h.make("MLP", BigramConfig(vocab_size=7)), TypeError,
     "config is a BigramConfig, expected a MLPConfig"),
    ("no config", lambda h: h.make("Transformer", GPT), TypeError,
     "config is a dict, expected a TransformerConfig"),
    ("build", lambda h: parity.module(h.name, "models").build({"vocab_size": 7}), TypeError,
     "config is a dict, expected one of minillm.config"),
    ("ids without a batch", lambda h: gpt(h).logits(h.array(IDS)), TypeError,
     "batch is a (ndarray|Tensor), expected a Batch"),
    ("seed for a generator", lambda h: dropped(h, rng=3), TypeError,
     "rng is an? int, expected a .*Generator"),
    ("seed for a generator", lambda h: h.make("Linear", 3, 2, rng=3), TypeError,
     "rng is an? int, expected a .*Generator"),
    ("scale", lambda h: mlp(h).loss_and_grads(h.batch(targets=IDS), scale="half"), TypeError,
     "scale = 'half', expected a number"),
    ("state of a Transformer", lambda h: dropped(h, state=gpt(h).new_cache(2)), ValueError,
     "state is .*, expected None"),
    ("batch of the other half", lambda h: gpt(h).loss(half(OTHER[h.name]).batch(targets=IDS)),
     TypeError, "batch.ids is a (ndarray|Tensor), expected a (ndarray|Tensor)"),
    # Sources.
    ("no source", lambda h: pair(h).logits(h.batch()), ValueError, "source is None, expected"),
    ("no source", lambda h: original(h).logits(h.batch()), ValueError, "source is None"),
    ("source of a decoder", lambda h: gpt(h).logits(h.batch(source=IDS)), ValueError,
     "source, expected none"),
    ("source of a Bigram", lambda h: bigram(h).logits(h.batch(source=IDS)), ValueError,
     "source, expected none"),
    ("source too large", lambda h: pair(h).logits(h.batch(source=IDS + 1)), ValueError,
     "ids holds 7, expected 0 <= id < vocab_size = 7"),
    ("source empty", lambda h: pair(h).encode(h.array(IDS[:, :0])), ValueError,
     r"source .*\(2, 0\), expected .*S at least 1"),
    ("source in a row", lambda h: original(h).encode(h.array(IDS[0])), ValueError,
     r"source .*\(3,\), expected"),
    ("source too long", lambda h: original(h).encode(h.array(LONG)), ValueError,
     "6 positions.*context_length = 5"),
    ("mask of floats", lambda h: original(h).encode(h.array(IDS), h.array(IDS * 1.0)), ValueError,
     "mask has .*dtype .*float64, expected bool"),
    ("mask too short", lambda h: original(h).encode(h.array(IDS), h.array(LOOK[:, :2])), ValueError,
     r"mask has shape \(2, 2\).*expected .*\(2, 3\)"),
    ("encode by a decoder", lambda h: gpt(h).encode(h.array(IDS)), ValueError,
     "kind = 'decoder', expected 'encoder-decoder'"),
    # Contexts, states and caches.
    ("too long", lambda h: gpt(h).logits(h.batch(LONG)),
     ValueError, "6 positions.*context_length = 5"),
    ("too long at last", lambda h: next_after(h, gpt(h), LONG[:, :4], IDS), ValueError,
     "3 positions, after 4.*context_length = 5"),
    ("state of others", lambda h: read_on(h, recurrent(h).new_cache(3)),
     ValueError, r"state has shape \(1, 3, 6\), expected \(1, 2, 6\)"),
    ("state of another", lambda h: read_on(h, recurrent(h, d_hidden=5).new_cache(2)),
     ValueError, r"state has shape \(1, 2, 5\), expected \(1, 2, 6\)"),
    ("state of an RNN", lambda h: read_on(h, recurrent(h, cell="rnn").new_cache(2)),
     ValueError, "state has 1 arrays, expected 2"),
    ("no state", lambda h: read_on(h, 5), 
     TypeError, "state is .*int"),
    ("no new ids", lambda h: new(h, gpt(h), IDS[:, :0]),
     ValueError, r"ids has shape \(2, 0\).*at least 1"),
    ("no new ids", lambda h: new(h, recurrent(h), IDS[:, :0]), ValueError, r"\(2, 0\).*at least 1"),
    ("new ids in a row", lambda h: new(h, mlp(h), IDS[0]), ValueError, r"ids has shape \(3,\)"),
    ("more ids", lambda h: new(h, gpt(h), LONG.T),
     ValueError, r"ids has shape \(6, 2\), expected \(2, t\)"),
    ("more ids", lambda h: new(h, bigram(h), LONG.T),
     ValueError, r"ids has shape \(6, 2\), expected \(2, t\)"),
    ("new id too large", lambda h: new(h, gpt(h), IDS + 1), ValueError, "ids holds 7"),
    ("new mask", lambda h: new(h, gpt(h), IDS, mask=h.array(LOOK[:, :2])), ValueError,
     r"mask has shape \(2, 2\).*expected .*\(2, 3\)"),
    ("new mask", lambda h: new(h, mlp(h), IDS, mask=h.array(LOOK[:1])), ValueError,
     r"mask has shape \(1, 3\).*expected .*\(2, 3\)"),
    ("new mask of floats", lambda h: new(h, gpt(h), IDS, mask=h.array(IDS * 1.0)), ValueError,
     "mask has .*dtype .*float64, expected bool"),
    ("cache of fewer layers", lambda h: new(h, gpt(h), IDS, gpt(h, n_layer=1)),
     ValueError, "cache"),
    ("cache of more layers", lambda h: new(h, gpt(h), IDS, gpt(h, n_layer=3)), ValueError, "cache"),
    ("cache of a Bigram", lambda h: new(h, mlp(h), IDS, bigram(h)), (TypeError,
     ValueError), "cache"),
    ("cache of a longer MLP", lambda h: new(h, mlp(h), IDS, mlp(h, context_length=4)),
     ValueError, "cache"),
    ("cache of a decoder", lambda h: new(h, original(h), IDS, gpt(h)), ValueError, "cache"),
    ("no cache", lambda h: gpt(h).next_logits(h.array(IDS), None), TypeError, "cache is .*None"),
    ("no batch size", lambda h: gpt(h).new_cache(-1), ValueError, "batch_size = -1"),
    ("no batch size", lambda h: bigram(h).new_cache("2"), TypeError, "batch_size = '2'"),
    ("cache of an encoder", lambda h: bert(h).new_cache(2),
     ValueError, "kind = 'encoder'.*expected"),
    ("cache without source", lambda h: original(h).new_cache(2),
     ValueError, r"expected .*encode\(source\)"),
    ("cache without source", lambda h: pair(h).new_cache(2),
     ValueError, r"expected .*encode\(source\)"),
    ("no weights", lambda h: pair(h, attention=False).attention_weights(h.batch(source=IDS)),
     ValueError, "attention = False.*expected True"),
]  # fmt: skip


def dropped(h, **options):
    """The loss of a Transformer with dropout, and its gradients."""
    return gpt(h, dropout=0.5).loss_and_grads(h.batch(targets=IDS), **options)


def read_on(h, state):
    """The loss of a recurrent model that starts from a state."""
    return recurrent(h).loss(h.batch(targets=IDS), state=state)


def new(h, model, ids, other=None, **options):
    """The next logits, with a new cache for two texts, of the model or of another."""
    return model.next_logits(h.array(ids), (other or model).new_cache(2), **options)


def next_after(h, model, *pieces):
    """The next logits after several pieces."""
    cache = model.new_cache(2)
    return [model.next_logits(h.array(ids), cache) for ids in pieces]


def damaged(folder, change):
    """A file that `weights.save` wrote, with its bytes changed."""
    weights.save(Bigram(BigramConfig(vocab_size=7)), folder / "model")
    (folder / "model").write_bytes(change((folder / "model").read_bytes()))
    return weights.load(folder / "model")


def relabeled(folder, config):
    """A file that `weights.save` wrote, with the record of another model."""
    path = folder / "model"
    weights.save(Bigram(BigramConfig(vocab_size=7)), path)
    file = TensorFile(path)
    write(path, dict(file), metadata={**file.metadata, "config": config.to_json()})
    return weights.load(path)


def damaged_tokenizer(folder, change):
    """A file that `save` of a tokenizer wrote, with its text changed."""
    CharTokenizer("abc").save(folder / "tokenizer")
    (folder / "tokenizer").write_text(change((folder / "tokenizer").read_text()))
    return Tokenizer.load(folder / "tokenizer")


FILES = [
    ("no file", lambda d: weights.load(d / "none"), FileNotFoundError, "none"),
    ("folder", lambda d: weights.load(d), ValueError, "is a folder, expected a file"),
    ("empty", lambda d: damaged(d, lambda raw: b""),
     ValueError, "model is no whole safetensors file"),
    ("cut off", lambda d: damaged(d, lambda raw: raw[:-1]),
     ValueError, "model is no whole safetensors"),
    ("longer", lambda d: damaged(d, lambda raw: raw + b"\0"),
     ValueError, "model is no whole safetensors"),
    ("one bit", lambda d: damaged(d, lambda raw: raw[:-1] + b"\1"),
     ValueError, "model is damaged.*checksum"),
    ("pickle", lambda d: damaged(d, lambda raw: pickle.dumps(raw)),
     ValueError, "pickle.*never opened"),
    ("another model", lambda d: relabeled(d, MLPConfig(**RNN, context_length=3)), ValueError,
     "does not fit its own config: embedding.weight is missing"),
    ("another size", lambda d: relabeled(d, BigramConfig(vocab_size=8)), ValueError,
     r"table.weight has shape \(7, 7\), expected \(8, 8\)"),
    ("no such model", lambda d: relabeled(d, ModelConfig(vocab_size=7)), ValueError,
     "model = 'Model', expected one of .*'Bigram'"),
    ("copy", lambda d: weights.copy(Bigram(BigramConfig(vocab_size=7)), object()), TypeError,
     "target is a object, expected a layer or model"),
    ("half", lambda d: weights.load(d / "none", half="jax"),
     ValueError, "half = 'jax', expected 'numpy'"),
    ("no model", lambda d: weights.save({}, d / "model"),
     TypeError, "model is a dict, expected a model"),
    ("empty text", lambda d: CharTokenizer.train(""),
     ValueError, "source = ''.*expected at least one"),
    ("empty text", lambda d: WordTokenizer.train(" "),
     ValueError, "source = ' '.*expected at least one"),
    ("empty text", lambda d: BPETokenizer.train([], 300),
     ValueError, r"source = \[\].*expected at least"),
    ("no text", lambda d: CharTokenizer.train(5),
     TypeError, "source = 5, expected a str, a pathlib.Path"),
    ("few tokens", lambda d: BPETokenizer.train("abc", 100),
     ValueError, "vocab_size = 100.*expected 256"),
    ("unknown", lambda d: CharTokenizer("abc").encode("abd"),
     ValueError, "text holds 'd', expected one of"),
    ("bytes", lambda d: CharTokenizer("abc").encode(b"abc"),
     TypeError, "text is b'abc', expected str"),
    ("id", lambda d: CharTokenizer("abc").decode([3]),
     ValueError, "ids holds 3, expected 0 <= id < vocab_size = 3"),
    ("id negative", lambda d: CharTokenizer("abc").decode([-1]), ValueError, "ids holds -1"),
    ("id of floats", lambda d: CharTokenizer("abc").decode([1.0]),
     TypeError, r"ids = \[1.0\], expected .*integers"),
    ("cut off", lambda d: damaged_tokenizer(d, lambda text: text[:-3]),
     ValueError, "expected a whole file"),
    ("no tokenizer", lambda d: damaged_tokenizer(d, lambda text: "{}"),
     ValueError, "expected a whole file"),
    ("another kind", lambda d: damaged_tokenizer(d, lambda text: text.replace("CharT", "WordT")),
     ValueError, "expected a whole file"),
]  # fmt: skip


def check(call, error, message):
    """Raise unless `call` raises such an error with such a message."""
    with pytest.raises(error) as caught:
        call()
    assert re.search(message, str(caught.value)), str(caught.value)


def rows(table):
    """What pytest is given: every row but its title, under that."""
    return pytest.mark.parametrize(
        ("call", "error", "message"), [row[1:] for row in table], ids=[row[0] for row in table]
    )


@rows(SHARED)
def test_records_and_batches(call, error, message):
    check(call, error, message)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@rows(LAYERS)
def test_layers(name, call, error, message):
    check(lambda: call(half(name)), error, message)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@rows(MODELS)
def test_models(name, call, error, message):
    check(lambda: call(half(name)), error, message)


@rows(FILES)
def test_files(tmp_path, call, error, message):
    check(lambda: call(tmp_path), error, message)
