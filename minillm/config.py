"""What a model is made of, as a frozen record for each kind: checked when it is made, kept as JSON.

``Transformer(TransformerConfig.gpt2(vocab_size=65, context_length=64, n_layer=4, n_head=4,
d_model=128), rng=rng)`` builds the same model in either half.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass

from minillm.checks import check_range, check_sizes


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What all records share: the vocabulary, the checks, and the way to JSON and back.

    Examples
    --------
    >>> text = BigramConfig(vocab_size=65).to_json()
    >>> print(text)
    {"model": "Bigram", "vocab_size": 65}
    >>> ModelConfig.from_json(text)
    BigramConfig(vocab_size=65)
    """

    vocab_size: int

    def __post_init__(self):
        for field in dataclasses.fields(self):  # a NumPy number becomes a plain one, for JSON
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))

    @property
    def model(self):
        """The name of the class that this record describes."""
        return type(self).__name__.removesuffix("Config")

    def to_json(self):
        """One JSON object with the model's name and every field."""
        return json.dumps({"model": self.model, **dataclasses.asdict(self)})

    @staticmethod
    def from_json(text):
        """The record that `to_json` wrote.

        Raises
        ------
        ValueError
            If `text` is not JSON, names no model of ours, or a field is missing, unknown or wrong.
        TypeError
            If a field's type is wrong.
        """
        try:
            values = json.loads(text)
        except (TypeError, ValueError) as error:
            raise ValueError(f"text = {str(text)[:40]!r}, expected JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"text = {text[:40]!r}, expected a JSON object of options")  # noqa: TRY004
        kinds = {
            kind.__name__.removesuffix("Config"): kind for kind in ModelConfig.__subclasses__()
        }
        name = values.pop("model", None)
        if not isinstance(name, str) or name not in kinds:
            raise ValueError(f"model = {name!r}, expected one of {sorted(kinds)}")
        fields = {field.name: field for field in dataclasses.fields(kinds[name])}
        unknown = sorted(values.keys() - fields)
        if unknown:
            raise ValueError(f"{unknown[0]} = {values[unknown[0]]!r}: {name} has no such option")
        needed = {n for n, field in fields.items() if field.default is dataclasses.MISSING}
        missing = sorted(needed - values.keys())
        if missing:
            raise ValueError(f"{missing[0]} is missing, expected a value: {name} needs it")
        return kinds[name](**values)


@dataclass(frozen=True, kw_only=True)
class BigramConfig(ModelConfig):
    """A table with one row of logits for each last token."""


@dataclass(frozen=True, kw_only=True)
class MLPConfig(ModelConfig):
    """The last `context_length` tokens' vectors, side by side, through one hidden layer."""

    context_length: int
    d_model: int  # width of a token's vector
    d_hidden: int  # width of the hidden layer


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(ModelConfig):
    """A recurrent language model."""

    d_model: int  # width of a token's vector
    d_hidden: int  # width of the state
    n_layer: int = 1
    cell: str = "lstm"  # or "rnn"
    dropout: float = 0.0  # on what enters each layer and leaves the last
    variational: bool = False  # one dropout mask for all positions, and on the state too
    tied: bool = False  # output weights are the embedding: needs d_hidden = d_model

    def __post_init__(self):
        super().__post_init__()
        same = f"{self.d_model} = d_model, with tied = True"
        _expect(not self.tied or self.d_hidden == self.d_model, "d_hidden", self.d_hidden, same)


@dataclass(frozen=True, kw_only=True)
class LSTMEncoderDecoderConfig(ModelConfig):
    """One LSTM reads the source, another writes the target."""

    source_vocab_size: int
    d_model: int  # width of a token's vector
    d_hidden: int  # width of the states
    n_layer: int = 1
    attention: bool = True  # the decoder looks at all the encoder's states, not the last alone
    dropout: float = 0.0  # on what enters each layer and leaves the last


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(ModelConfig):
    """A Transformer; every option is one line below. None means what its comment says."""

    context_length: int  # the most positions that it can read
    n_layer: int
    n_head: int
    d_model: int  # width of the residual stream
    kind: str = "decoder"  # "decoder" (causal), "encoder", or "encoder-decoder"
    n_kv_head: int | None = None  # key/value heads, shared by groups of query heads; None: n_head
    d_head: int | None = None  # None: d_model / n_head
    d_ff: int | None = None  # hidden width of the feed-forward layer; None: 4, or 8/3, d_model
    activation: str = "gelu"  # in the feed-forward layer; "swiglu" has a third matrix, the gate
    norm: str = "layernorm"  # or "rmsnorm"
    norm_first: bool = True  # before each sublayer (pre-norm); False: after its sum (post-norm)
    norm_weight: bool = True  # False: "rmsnorm" without a weight
    norm_eps: float = 1e-5
    position: str = "learned"  # or "sinusoidal", "rotary", "none"
    rotary_base: float = 10_000.0  # the longest wavelength is about 2 pi times this
    rotary_factor: float = 1.0  # makes slow rotations slower yet, for a longer context
    rotary_context: int | None = None  # with a factor above 1: the context before
    bias: bool = True  # in every linear map and LayerNorm
    dropout: float = 0.0  # on embeddings, attention weights and what each sublayer adds
    tied: bool = True  # output weights are the embedding
    embedding_scale: bool = False  # embeddings times sqrt(d_model)
    embedding_norm: bool = False  # a norm right after the embeddings
    qk_norm: bool = False  # RMSNorm without weights on every query and key, after their rotation
    value_residual: bool = False  # each layer mixes the first layer's values into its own
    zero_init: bool = False  # what each sublayer adds starts at zero
    init_std: float | None = 0.02  # of starting weights; None: 1 / sqrt(d_in)
    source_vocab_size: int | None = None  # encoder-decoder: None: one embedding for both texts
    head_transform: bool = False  # BERT's: linear, activation, norm before the output, and its bias
    n_class: int | None = None  # classify the whole text instead of predicting tokens
    pool: str = "mean"  # what is classified: the "mean" of all positions, the "first", or "last"

    def __post_init__(self):
        super().__post_init__()
        if self.d_head is None:
            whole = self.d_model % self.n_head == 0
            _expect(whole, "d_model", self.d_model, f"a multiple of n_head = {self.n_head}")
        gated = self.activation == "swiglu"
        defaults = {
            "n_kv_head": self.n_head,
            "d_head": self.d_model // self.n_head,
            "d_ff": 8 * -(-self.d_model // 3) if gated else 4 * self.d_model,
        }
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)  # the one way into a frozen record
        self._check_together()

    def _check_together(self):
        """Raise for options that contradict each other."""
        both = self.kind == "encoder-decoder"
        kind = f"None with kind = {self.kind!r}"
        for ok, name, expected in [
            (self.n_head % self.n_kv_head == 0, "n_kv_head", f"a divisor of n_head = {self.n_head}"),
            (self.position != "rotary" or self.d_head % 2 == 0, "d_head", "an even number, for rotation"),
            (self.position != "sinusoidal" or self.d_model % 2 == 0, "d_model", "an even number, for waves"),
            (self.rotary_factor >= 1, "rotary_factor", "at least 1"),
            (self.rotary_factor == 1 or self.rotary_context, "rotary_context", "a number of positions"),
            (self.norm_weight or self.norm == "rmsnorm", "norm_weight", "True with a LayerNorm"),
            (not (both and self.n_class), "n_class", kind),
            (both or not self.source_vocab_size, "source_vocab_size", kind),
            (not (self.head_transform and self.n_class), "head_transform", "False with n_class"),
        ]:  # fmt: skip
            _expect(ok, name, getattr(self, name), expected)

    @classmethod
    def original(cls, **options):
        """The Transformer of Vaswani et al. 2017, an encoder and a decoder."""
        defaults = {
            "kind": "encoder-decoder", "activation": "relu", "norm_first": False,
            "position": "sinusoidal", "embedding_scale": True, "init_std": None,
        }  # fmt: skip
        return cls(**defaults | options)

    @classmethod
    def bert(cls, **options):
        """Devlin et al. 2019, without its second-sentence embedding: tokens hidden in a text."""
        defaults = {
            "kind": "encoder", "activation": "gelu_exact", "norm_first": False,
            "norm_eps": 1e-12, "embedding_norm": True, "head_transform": True, "pool": "first",
        }  # fmt: skip
        if options.get("n_class"):
            defaults["head_transform"] = False
        return cls(**defaults | options)

    @classmethod
    def gpt2(cls, **options):
        """Radford et al. 2019: what the options are when nothing is said."""
        return cls(**options)

    @classmethod
    def llama(cls, **options):
        """Touvron et al. 2023: RMSNorm, rotary positions, SwiGLU, no biases, untied."""
        defaults = {
            "activation": "swiglu", "norm": "rmsnorm", "position": "rotary", "bias": False,
            "tied": False,
        }  # fmt: skip
        return cls(**defaults | options)

    @classmethod
    def recipe(cls, **options):
        """Ours, the fastest that we know on a small budget, trained with Muon."""
        defaults = {
            "activation": "relu2", "norm": "rmsnorm", "norm_weight": False, "position": "rotary",
            "bias": False, "tied": False, "qk_norm": True, "value_residual": True,
            "zero_init": True, "embedding_norm": True, "init_std": None,
        }  # fmt: skip
        return cls(**defaults | options)


CHOICES = {
    "activation": ("gelu", "gelu_exact", "relu", "relu2", "silu", "swiglu"),
    "cell": ("lstm", "rnn"),
    "kind": ("decoder", "encoder", "encoder-decoder"),
    "norm": ("layernorm", "rmsnorm"),
    "pool": ("mean", "first", "last"),
    "position": ("learned", "sinusoidal", "rotary", "none"),
}
RANGES = {"dropout": {"high": 1}, "rotary_base": {"low": 1}}


def _expect(ok, name, value, expected):
    if not ok:
        raise ValueError(f"{name} = {value!r}, expected {expected}")


def _checked(field, value):
    """The value of one field; raise unless it has the field's type and lies in its range."""
    if value is None and type(None) in typing.get_args(field.type):
        return None
    kind = (typing.get_args(field.type) or [field.type])[0]  # int | None -> int
    if kind is str:
        _expect(value in CHOICES[field.name], field.name, value, f"one of {CHOICES[field.name]}")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError(f"{field.name} = {value!r}, expected True or False")
        return value
    if kind is float:
        return check_range(field.name, value, **RANGES.get(field.name, {}))
    check_sizes(**{field.name: value})
    return int(value)


__all__ = [
    "BigramConfig", "LSTMEncoderDecoderConfig", "MLPConfig", "ModelConfig", "RecurrentConfig",
    "TransformerConfig",
]  # fmt: skip
