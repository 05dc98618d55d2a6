"""GPT-2's and Llama's weights, as Hugging Face keeps them, in models of either half.

A checkpoint is a folder: `config.json` says what the model is, `model.safetensors` holds its
weights, or several files do that `model.safetensors.index.json` lists. To know a kind of model is
to know which of our options its config means, and where each of our weights stands among its own:
one class each. The `transformers` library is not needed.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minillm import weights
from minillm.checks import check_fit
from minillm.config import TransformerConfig
from minillm.safetensors import NO_PICKLES, TensorFile


def load(folder, *, half="numpy", dtype=None):
    """Make the model that a folder of Hugging Face's describes, with its weights.

    Parameters
    ----------
    folder : str or path
        Whose `model_type` is "gpt2" or "llama" (1 to 3, with or without the longer context of
        3.1; and what is built alike).
    half : str
        "numpy" or "torch".
    dtype : str, optional
        By default "float32", whatever the weights are kept in, or "float64" if they are that.
        "bfloat16" and "float16" halve the memory, in PyTorch.

    Returns
    -------
    Transformer
        Of PyTorch on the CPU. Its dropout is the checkpoint's if that has one rate for all
        places, else 0.

    Raises
    ------
    ValueError
        If it is a checkpoint of another kind, or has an option that we have not; if a weight is
        missing, unknown or of another shape than `config.json` says; if a file is damaged or cut
        off; if there are only pickles; or if an argument is none of the above.
    OSError
        If there is no such folder, or a file in it is missing or cannot be read.

    References
    ----------
    Radford et al. 2019; Touvron et al. 2023.

    Examples
    --------
    >>> load("gpt2", half="jax")
    Traceback (most recent call last):
        ...
    ValueError: half = 'jax', expected 'numpy' or 'torch'
    """
    weights.check_target(half, dtype)
    folder = Path(folder)
    kind = _read_config(folder)
    tensors = _open(folder, kind)
    head = tensors.pop("lm_head.weight", None) if kind.config.tied else None
    kept = ["float32", *(file.dtypes[name] for file, name in tensors.values())]
    saved = weights.widest(kept, path_in_message=folder)
    model = weights.new_model(kind.config, half, dtype or saved)

    places = [(p, kind.find(name, tuple(p.shape))) for name, p in model.named_parameters()]
    places = [(p, place) for p, place in places if place]  # the others stay at zero
    shapes = {theirs: file.shapes[name] for theirs, (file, name) in tensors.items()}
    expected = {place.name: place.shape for _, place in places}
    check_fit(f"{folder} does not fit its config.json", shapes, expected)
    for parameter, place in places:
        file, name = tensors[place.name]
        weights.assign(parameter, place.take(file[name]))
    if head:  # some write a tied weight twice
        file, name = tensors[kind.names["embedding"] + ".weight"]
        if not np.array_equal(head[0][head[1]], file[name]):
            raise ValueError(f"{folder}: lm_head.weight differs from {name}, expected them tied")
    return model


# Where our weights stand: the names of modules, ours and theirs.
GPT2 = {
    "embedding": "transformer.wte", "positions": "transformer.wpe", "blocks": "transformer.h",
    "norm1": "ln_1", "norm2": "ln_2", "attention.query": "attn.c_attn",
    "attention.key": "attn.c_attn", "attention.value": "attn.c_attn",
    "attention.output": "attn.c_proj", "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj", "norm": "transformer.ln_f", "output": "lm_head",
}  # fmt: skip
LLAMA = {
    "embedding": "model.embed_tokens", "blocks": "model.layers", "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm", "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj", "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj", "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj", "feed_forward.down": "mlp.down_proj",
    "norm": "model.norm", "output": "lm_head",
}  # fmt: skip
ACTIVATIONS = {
    "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu_exact", "relu": "relu",
    "relu2": "relu2", "silu": "silu", "swish": "silu",
}  # fmt: skip


class Place(NamedTuple):
    """Where one of our weights is kept."""

    name: str  # theirs
    shape: tuple  # theirs
    take: Callable  # from their array to ours


class _GPT2:
    """Matrices of blocks are kept transposed, and query, key and value side by side."""

    names = GPT2
    prefix = "transformer."
    no_weight = r"\.attn\.(masked_)?bias$"  # causal masks

    def __init__(self, given):
        _expect(given, "scale_attn_weights", True)
        _expect(given, "scale_attn_by_inverse_layer_idx", False)
        _expect(given, "reorder_and_upcast_attn", False)
        _expect(given, "add_cross_attention", False)
        activation = given.get("activation_function") or "gelu_new"
        _expect(given, "activation_function", *ACTIVATIONS)
        dropout_rates = {given.get(f"{place}_pdrop", 0.1) for place in ("embd", "attn", "resid")}
        self.config = TransformerConfig.gpt2(
            vocab_size=given["vocab_size"],
            context_length=given["n_positions"],
            n_layer=given["n_layer"],
            n_head=given["n_head"],
            d_model=given["n_embd"],
            d_ff=given.get("n_inner"),
            activation=ACTIVATIONS[activation],
            norm_eps=given.get("layer_norm_epsilon", 1e-5),
            dropout=dropout_rates.pop() if len(dropout_rates) == 1 else 0.0,
            tied=given.get("tie_word_embeddings", True),
        )

    def find(self, name, shape):
        """The `Place` of one of our weights."""
        theirs = _rename(name, self.names)
        if ".c_attn." in theirs:
            third = ("query", "key", "value").index(name.split(".")[-2])
            side_by_side = *shape[1:], 3 * shape[0]
            return Place(theirs, side_by_side, lambda x: np.split(x, 3, -1)[third].T)
        if name.startswith("blocks."):
            return Place(theirs, shape[::-1], np.transpose)
        return Place(theirs, shape, np.asarray)


class _Llama:
    """Weights are kept as ours are."""

    names = LLAMA
    prefix = "model."
    no_weight = r"\.rotary_emb\.inv_freq$"

    def __init__(self, given):
        _expect(given, "hidden_act", "silu")
        rope = given.get("rope_parameters") or {}
        theta = rope.get("rope_theta", given.get("rope_theta", 10_000.0))
        rope = given.get("rope_scaling") or rope  # its older name, which goes first
        rope = {"rope_type": rope.get("type"), **rope}
        _expect(rope, "rope_type", "default", "llama3")
        _expect(rope, "partial_rotary_factor", 1.0)
        longer = {}
        if rope["rope_type"] == "llama3":
            _expect(rope, "low_freq_factor", 1.0)
            _expect(rope, "high_freq_factor", 4.0)
            longer["rotary_factor"] = rope["factor"]
            before = "original_max_position_embeddings"
            longer["rotary_context"] = rope[before] if before in rope else given[before]
        self.has_bias = {
            "attention": given.get("attention_bias", False),
            "feed_forward": given.get("mlp_bias", False),
        }
        self.config = TransformerConfig.llama(
            vocab_size=given["vocab_size"],
            context_length=given["max_position_embeddings"],
            n_layer=given["num_hidden_layers"],
            n_head=given["num_attention_heads"],
            n_kv_head=given.get("num_key_value_heads"),
            d_model=given["hidden_size"],
            d_head=given.get("head_dim"),
            d_ff=given["intermediate_size"],
            norm_eps=given.get("rms_norm_eps", 1e-6),
            rotary_base=rope.get("rope_theta", theta),
            **longer,
            bias=True in self.has_bias.values(),
            tied=given.get("tie_word_embeddings", False),
        )

    def find(self, name, shape):
        """As for GPT-2; None for a bias that only our model has, which then stays at zero."""
        if name.endswith(".bias") and not self.has_bias[name.split(".")[2]]:
            return None
        return Place(_rename(name, self.names), shape, np.asarray)


KINDS = {"gpt2": _GPT2, "llama": _Llama}
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def _rename(name, names):
    """The name of one of our weights there: "blocks.3.norm1.weight" -> "h.3.ln_1.weight"."""
    place, _, end = name.rpartition(".")
    if not name.startswith("blocks."):
        return f"{names[place]}.{end}"
    blocks, i, module = place.split(".", 2)
    return f"{names[blocks]}.{i}.{names[module]}.{end}"


def _expect(given, name, *values):
    """Raise if an option is given that is none of these values."""
    value = given.get(name)
    if value is not None and value not in values:
        raise ValueError(f"{name} = {value!r}, expected {' or '.join(map(repr, values))}")


def _read_config(folder):
    """What `config.json` says, as the class of its kind understands it."""
    if folder.is_file():
        raise ValueError(f"folder = {str(folder)!r} is a file, expected a folder with config.json")
    path = folder / "config.json"
    given = _read_json(path)
    try:
        _expect(given, "model_type", *KINDS)
        _expect(given, "quantization_config", None)
        return KINDS[given["model_type"]](given)
    except KeyError as error:
        raise ValueError(f"{path}: {error} is missing, expected a value") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _read_json(path):
    """The JSON object in a file."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no JSON object: {error}") from None


def _open(folder, kind):
    """Every weight, under its full name: (the file that it is in, its name there)."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists():
        names = ["model.safetensors"]
    elif index.exists():
        listed = _read_json(index).get("weight_map")
        listed = listed.values() if isinstance(listed, dict) else ()
        names = sorted({str(name) for name in listed})
        if not names or any(Path(name).name != name for name in names):
            raise ValueError(f"{index}: weight_map names {names}, expected files of this folder")
    else:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        if pickles:
            raise ValueError(f"{folder} has no model.safetensors, but {pickles[0]}. {NO_PICKLES}")
        raise FileNotFoundError(f"{folder} has no model.safetensors, expected one")
    files = [TensorFile(folder / name) for name in names]
    tensors = {n: (file, n) for file in files for n in file if not re.search(kind.no_weight, n)}
    if not any(name.startswith(kind.prefix) for name in tensors):  # saved without a head
        tensors = {kind.prefix + name: place for name, place in tensors.items()}
    return tensors


__all__ = ["load"]
