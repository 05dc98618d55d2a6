"""What a model is made of, or a run: a frozen record for each, checked when made, kept as JSON.

``Transformer(TransformerConfig.gpt2(vocab_size=65, context_length=64, n_layer=4, n_head=4,
d_model=128), rng=rng)`` builds the same model in either half.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass
from functools import partial
from numbers import Integral

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
        values = _json_object(text)
        kinds = {
            kind.__name__.removesuffix("Config"): kind for kind in ModelConfig.__subclasses__()
        }
        name = values.pop("model", None)
        if not isinstance(name, str) or name not in kinds:
            raise ValueError(f"model = {name!r}, expected one of {sorted(kinds)}")
        fields = {field.name: field for field in dataclasses.fields(kinds[name])}
        for option, value in values.items():
            if option not in fields:
                raise ValueError(f"{option} = {value!r}: {name} has no such option")
        for option, field in fields.items():
            if option not in values and field.default is dataclasses.MISSING:
                raise ValueError(f"{option} is missing, expected a value: {name} needs it")
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
    n_layer: int = 1  # layers, one after another
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
    n_layer: int  # blocks, one after another
    n_head: int  # of queries, in each block
    d_model: int  # width of the residual stream
    kind: str = "decoder"  # "decoder" (causal), "encoder", or "encoder-decoder"
    n_kv_head: int | None = None  # key/value heads, shared by groups of query heads; None: n_head
    d_head: int | None = None  # width of a head; None: d_model / n_head
    d_ff: int | None = None  # hidden width of the feed-forward layer; None: 4, or 8/3, d_model
    activation: str = "gelu"  # in the feed-forward layer; "swiglu" has a third matrix, the gate
    norm: str = "layernorm"  # or "rmsnorm", which does not center
    norm_first: bool = True  # before each sublayer (pre-norm); False: after its sum (post-norm)
    norm_weight: bool = True  # False: "rmsnorm" without a weight
    norm_eps: float = 1e-5  # keeps the norm's division finite
    n_gram: int = 1  # tokens whose embeddings are summed, each one's own and those before it
    position: str = "learned"  # how it tells positions apart; or "sinusoidal", "rotary", "none"
    rotary_base: float = 10_000.0  # the longest wavelength is about 2 pi times this
    rotary_factor: float = 1.0  # makes slow rotations slower yet, for a longer context
    rotary_context: int | None = None  # with a factor above 1: the context before
    bias: bool = True  # in every linear map and LayerNorm
    dropout: float = 0.0  # on embeddings, attention weights and what each sublayer adds
    tied: bool = True  # output weights are the embedding
    embedding_scale: bool = False  # embeddings times sqrt(d_model)
    embedding_norm: bool = False  # a norm right after the embeddings
    qk_norm: bool = False  # RMSNorm without weights on every query and key, after their rotation
    qk_scale: float = 1.0  # with qk_norm, a factor on all scores: how sharp attention can be
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
            (self.qk_norm or self.qk_scale == 1, "qk_scale", "1 without qk_norm"),
            (self.n_gram == 1 or self.kind == "decoder", "n_gram", f"1 with kind = {self.kind!r}"),
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


MODELS = {  # those that can be trained to predict the next token: their record, and how to make it
    "bigram": (BigramConfig, BigramConfig),
    "mlp": (MLPConfig, MLPConfig),
    "rnn": (RecurrentConfig, partial(RecurrentConfig, cell="rnn")),
    "lstm": (RecurrentConfig, partial(RecurrentConfig, cell="lstm")),
    "gpt2": (TransformerConfig, TransformerConfig.gpt2),
    "llama": (TransformerConfig, TransformerConfig.llama),
    "recipe": (TransformerConfig, TransformerConfig.recipe),
}
SIZES = {"n_layer": 4, "n_head": 4, "d_model": 128, "d_hidden": 256}  # where a record has none
RATES = {"adamw": 1e-3, "muon": 0.04, "sgd": 0.1}
NOT_TRAINED = {  # options of a record that do not go with the next token, or are known otherwise
    "vocab_size", "context_length", "cell", "kind", "source_vocab_size", "head_transform",
    "n_class", "pool",
}  # fmt: skip
OPTIMIZER_ONLY = {
    "momentum": ("muon", "sgd"),
    "by_head": ("muon",),
    "beta1": ("adamw", "muon"),
    "beta2": ("adamw", "muon"),
}
TORCH_ONLY = ("device", "precision", "compile", "checkpointing", "sdpa", "fused", "parallel")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run: the text, the model, how it is trained, and where that is written down.

    The model's own options, those of its record, are collected in `options`; `make`, JSON and the
    command line have them side by side with the others. None means what a comment says.

    Raises
    ------
    TypeError, ValueError
        If an option is unknown, of the wrong type, out of range, or contradicts another.

    Examples
    --------
    >>> config = TrainConfig.make(data="tinyshakespeare", model="gpt2", n_layer=2, n_steps=100)
    >>> config.options, config.lr
    ({'n_layer': 2}, 0.001)
    >>> config.model_config(vocab_size=65).d_model
    128
    >>> TrainConfig.from_json(config.to_json()) == config
    True
    >>> TrainConfig.make(data="tinyshakespeare", model="lstm", n_head=4)
    Traceback (most recent call last):
        ...
    ValueError: n_head = 4: model = 'lstm' has no such option
    """

    # the text
    data: str  # a set of minillm.data, a text file, or a file NAME.tokens of minillm.tokens
    tokenizer: str = "char"  # "char", "word", "gpt2", or "bpe:1000" to learn 1000 tokens
    held_out: float = 0.1  # share of the text, its end, on which the model is evaluated
    context_length: int = 64  # the most positions that the model looks back on
    window: int | None = None  # positions in a training window; None: context_length
    # the model
    model: str = "gpt2"  # recipe is ours: fast on a small budget, with muon
    half: str = "torch"  # PyTorch, or NumPy by hand
    options: dict = dataclasses.field(default_factory=dict)  # the model's own
    # training
    n_steps: int = 2000  # batches, each of which is one step of the optimizer
    batch_size: int = 12  # windows in a step, on all devices together
    accumulate: int = 1  # parts of a batch, one after another: less memory, the same result
    optimizer: str = "adamw"  # muon is for inner matrices, with AdamW for the rest
    lr: float | None = None  # learning rate, at its peak; None: adamw 0.001, muon 0.04, sgd 0.1
    adam_lr: float | None = None  # with muon, that of the rest; None: a fifth of lr
    output_lr: float | None = None  # with muon, that of the output matrix; None: 3 adam_lr
    schedule: str = "cosine"  # of the learning rate down to the floor; wsd: stable, then a line
    n_warmup: int = 0  # steps below the peak at the beginning
    n_decay: int | None = None  # with wsd, steps of decay; None: a fifth of n_steps
    floor: float = 0.0  # share of the peak at the end
    momentum: float = 0.95  # of muon and sgd
    by_head: bool = False  # with muon, each head's part of attention is orthogonal by itself
    beta1: float = 0.9  # of AdamW
    beta2: float = 0.95  # of AdamW
    weight_decay: float = 0.1  # of matrices only
    clip: float | None = 1.0  # the longest that the gradient may be; None: any
    label_smoothing: float = 0.0  # share of the target that is spread over all tokens
    z_loss: float = 0.0  # weight of log(Z)**2 in the loss, which keeps logits small
    seed: int = 0  # of starting weights, the order of windows, and dropout
    # how it runs (with the same result, but for rounding)
    device: str = "auto"  # cpu, cuda, cuda:1, mps, or the best that is there
    precision: str = "float32"  # of products; weights stay in float32
    compile: bool = False  # make one program of the model: slow to begin, then faster
    checkpointing: bool = False  # keep less for the backward pass, compute it again
    sdpa: bool = True  # PyTorch's own attention kernels
    fused: bool = False  # PyTorch's own optimizer kernels
    parallel: str = "ddp"  # with torchrun: each device has the whole model, or (fsdp) a share
    # what is written down
    out: str | None = None  # folder for checkpoints and log; None: nothing is written
    log_every: int = 10  # steps between two lines of the log
    eval_every: int = 250  # steps between two evaluations on the whole held-out text
    save_every: int = 250  # steps between two checkpoints
    tensorboard: bool = False  # write events for TensorBoard too

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.name != "options":
                value = _checked(field, getattr(self, field.name))
                object.__setattr__(self, field.name, value)
        lr = self.lr or RATES[self.optimizer]
        muon, wsd = self.optimizer == "muon", self.schedule == "wsd"
        for name, applies, where in (
            ("adam_lr", muon, "optimizer = 'muon'"),
            ("output_lr", muon, "optimizer = 'muon'"),
            ("n_decay", wsd, "schedule = 'wsd'"),
        ):
            value = getattr(self, name)
            _expect(applies or value is None, name, value, f"None unless {where}")
        adam_lr = (lr / 5 if self.adam_lr is None else self.adam_lr) if muon else None
        defaults = {
            "lr": lr,
            "window": self.context_length,
            "adam_lr": adam_lr,
            "output_lr": 3 * adam_lr if muon else None,
            "n_decay": max(1, self.n_steps // 5) if wsd else None,
        }
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        self._check_together()

    def _check_together(self):
        """Raise for options that contradict each other."""
        transformer = MODELS[self.model][0] is TransformerConfig
        room = self.n_steps - self.n_warmup
        for ok, name, expected in [
            (0 < self.held_out < 1, "held_out", "more than 0 and less than 1"),
            (self.lr > 0, "lr", "more than 0"),
            (self.clip is None or self.clip > 0, "clip", "more than 0, or None"),
            (transformer or not self.by_head, "by_head", f"False with model = {self.model!r}"),
            (room > 0, "n_warmup", f"less than n_steps = {self.n_steps}"),
            (not self.n_decay or self.n_decay <= room, "n_decay", f"at most {room} = n_steps - n_warmup"),
            (self.batch_size % self.accumulate == 0, "accumulate", f"a divisor of batch_size = {self.batch_size}"),
            (not transformer or self.window <= self.context_length, "window",
             f"at most context_length = {self.context_length}"),
        ]:  # fmt: skip
            _expect(ok, name, getattr(self, name), expected)
        for field in dataclasses.fields(self):
            value, usual = getattr(self, field.name), field.default
            alone = self.half == "numpy" and field.name in TORCH_ONLY
            usual = ("auto", "cpu") if field.name == "device" else (usual,)
            _expect(not alone or value in usual, field.name, value, "half = 'torch' with it")
            having = OPTIMIZER_ONLY.get(field.name, (self.optimizer,))
            _expect(self.optimizer in having or value in usual, field.name, value,
                    f"optimizer = {' or '.join(map(repr, having))} with it")  # fmt: skip
        self.model_config(vocab_size=2)  # which checks its options

    @classmethod
    def make(cls, **options):
        """The record, from its options and its model's side by side, as in JSON."""
        if "data" not in options:
            raise ValueError("data is missing, expected a data set, a text file or a token file")
        names = {field.name for field in dataclasses.fields(cls)} - {"options"}
        own = {name: options.pop(name) for name in names & options.keys()}
        return cls(**own, options=options)

    def flat(self):
        """All options by name, those of the model among them: what `make` takes."""
        values = dataclasses.asdict(self)
        return values.pop("options") | values

    def model_config(self, vocab_size):
        """The record of the model, for a vocabulary of this size."""
        record, preset = MODELS[self.model]
        fields = {field.name: field for field in dataclasses.fields(record)}
        for name, value in self.options.items():
            if name not in fields or name in NOT_TRAINED:
                raise ValueError(f"{name} = {value!r}: model = {self.model!r} has no such option")
        needed = {n for n, field in fields.items() if field.default is dataclasses.MISSING}
        sizes = {name: size for name, size in SIZES.items() if name in needed}
        if "context_length" in fields:
            sizes["context_length"] = self.context_length
        return preset(vocab_size=vocab_size, **sizes | self.options)

    def to_json(self):
        """One JSON object with every option, the model's own among them."""
        return json.dumps(self.flat(), indent=1)

    @classmethod
    def from_json(cls, text):
        """The record that `to_json` wrote, or anyone; what is not said has its default.

        Raises
        ------
        TypeError, ValueError
            If `text` is no JSON object, or an option is wrong.
        """
        return cls.make(**_json_object(text))


CHOICES = {
    "activation": ("gelu", "gelu_exact", "relu", "relu2", "silu", "swiglu"),
    "cell": ("lstm", "rnn"),
    "half": ("torch", "numpy"),
    "kind": ("decoder", "encoder", "encoder-decoder"),
    "model": tuple(MODELS),
    "norm": ("layernorm", "rmsnorm"),
    "optimizer": ("adamw", "muon", "sgd"),
    "parallel": ("ddp", "fsdp"),
    "pool": ("mean", "first", "last"),
    "position": ("learned", "sinusoidal", "rotary", "none"),
    "precision": ("float32", "bfloat16", "float16"),
    "schedule": ("cosine", "linear", "wsd"),
}
SHARES = ("dropout", "held_out", "floor", "momentum", "beta1", "beta2", "label_smoothing")
RANGES = {name: {"high": 1} for name in SHARES} | {"rotary_base": {"low": 1}}
MAY_BE_ZERO = ("n_warmup", "seed")  # of the integers


def _json_object(text):
    """A dict from JSON."""
    try:
        values = json.loads(text)
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"text = {str(text)[:40]!r}, expected JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"text = {text[:40]!r}, expected a JSON object of options")  # noqa: TRY004
    return values


def _expect(ok, name, value, expected):
    if not ok:
        raise ValueError(f"{name} = {value!r}, expected {expected}")


def _checked(field, value):
    """The value of one field; raise unless it has the field's type and lies in its range."""
    if value is None and type(None) in typing.get_args(field.type):
        return None
    kind = (typing.get_args(field.type) or [field.type])[0]  # int | None -> int
    if kind is str:
        if not isinstance(value, str):
            raise TypeError(f"{field.name} = {value!r}, expected a str")
        choices = CHOICES.get(field.name, (value,))
        _expect(value in choices, field.name, value, f"one of {choices}")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError(f"{field.name} = {value!r}, expected True or False")
        return value
    if kind is float:
        return check_range(field.name, value, **RANGES.get(field.name, {}))
    if field.name in MAY_BE_ZERO and isinstance(value, Integral):
        check_range(field.name, value)
        return int(value)
    check_sizes(**{field.name: value})
    return int(value)


__all__ = [
    "BigramConfig", "LSTMEncoderDecoderConfig", "MLPConfig", "ModelConfig", "RecurrentConfig",
    "TrainConfig", "TransformerConfig",
]  # fmt: skip
