"""Weights: copied between models of either half, saved, and loaded again into either.

A saved model is one file: its weights in the safetensors format, its record of options as JSON in
that file's header. Nothing is ever unpickled. `minillm.checkpoints` loads what others saved.
"""

import importlib
import json
from pathlib import Path

from minillm.checks import check_fit, shapes_of
from minillm.compare import plain
from minillm.config import ModelConfig
from minillm.safetensors import TensorFile, write

EXTRA = "extra."  # begins the names of tensors that are not the model's
FLOATS = ("float32", "float64", "float16", "bfloat16")  # models of NumPy have the first two


def copy(source, target):
    """Give `target` the weights of `source`: layers or models, of NumPy or PyTorch each.

    Parameters
    ----------
    source : Module or torch.nn.Module
    target : Module or torch.nn.Module
        Keeps its dtype (and device); gradients and all else stay.

    Raises
    ------
    TypeError
        If one of them is neither.
    ValueError
        If names or shapes of the parameters differ; then nothing is changed.

    Examples
    --------
    >>> from minillm.numpy_nn.layers import Linear
    >>> from minillm.torch_nn.layers import Linear as Twin
    >>> layer, twin = Linear(3, 2, bias=False), Twin(3, 2, bias=False)
    >>> copy(layer, twin)
    >>> bool((twin.weight.detach().numpy() == layer.weight.data).all())
    True
    >>> copy(layer, Linear(3, 4, bias=False))
    Traceback (most recent call last):
        ...
    ValueError: source does not fit target: weight has shape (2, 3), expected (4, 3)
    """
    found, parameters = _named("source", source), _named("target", target)
    check_fit("source does not fit target", shapes_of(found), shapes_of(parameters))
    for name, parameter in parameters.items():
        assign(parameter, plain(found[name].data))


def save(model, path, *, extra=None):
    """Write a model to one file, which appears (or replaces an older one) whole or not at all.

    Parameters
    ----------
    model : LanguageModel
        Of either half; each weight once, in its dtype, without its gradient.
    path : str or path
        Such as "bigram.safetensors".
    extra : dict, optional
        What else should be there to go on later, by name: arrays, tensors, or values for JSON.

    Raises
    ------
    TypeError
        If `model` is no model, or a value of `extra` can be kept in neither way.
    OSError
        If the file cannot be written; then an older one under its name is as it was.

    Examples
    --------
    >>> import tempfile
    >>> from minillm.config import BigramConfig
    >>> from minillm.numpy_nn.models import Bigram
    >>> path = Path(tempfile.mkdtemp()) / "bigram.safetensors"
    >>> save(Bigram(BigramConfig(vocab_size=65)), path, extra={"step": 100})
    >>> load(path, half="torch").config, load_extra(path)
    (BigramConfig(vocab_size=65), {'step': 100})
    """
    config = getattr(model, "config", None)
    if not isinstance(config, ModelConfig):
        raise TypeError(f"model is a {type(model).__name__}, expected a model with a config")
    tensors = {name: p.data for name, p in _named("model", model).items()}
    notes = {}
    for name, value in (extra or {}).items():
        if hasattr(value, "dtype"):
            tensors[EXTRA + name] = value
        else:
            notes[name] = value
    write(path, tensors, metadata={"config": config.to_json(), "extra": json.dumps(notes)})


def load(path, *, half="numpy", dtype=None):
    """Make the model that `save` wrote, in the half that is wanted, whichever it came from.

    Parameters
    ----------
    path : str or path
    half : str
        "numpy" or "torch".
    dtype : str, optional
        By default that of the saved weights; but "float32" in NumPy if they are of half
        precision, "float16" or "bfloat16".

    Returns
    -------
    LanguageModel
        Of PyTorch on the CPU.

    Raises
    ------
    ValueError
        If the file is damaged or was not written by `save`, if its weights are not those that its
        record of options asks for, or an argument is none of the above.
    OSError
        If there is no such file, or it cannot be read.

    Examples
    --------
    See `save`.

    >>> load("bigram.bin", half="jax")
    Traceback (most recent call last):
        ...
    ValueError: half = 'jax', expected 'numpy' or 'torch'
    """
    check_target(half, dtype)
    file = _open(path)
    names = [name for name in file if not name.startswith(EXTRA)]
    try:
        config = ModelConfig.from_json(file.metadata["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    saved = widest((file.dtypes[name] for name in names), path_in_message=path)
    if half == "numpy" and saved not in FLOATS[:2]:
        saved = "float32"
    model = new_model(config, half, dtype or saved)
    parameters = _named("model", model)
    found = {name: file.shapes[name] for name in names}
    check_fit(f"{path} does not fit its own config", found, shapes_of(parameters))
    for name, parameter in parameters.items():
        assign(parameter, file[name])
    return model


def load_extra(path):
    """What `save` was given as `extra`: a dict of arrays (of NumPy, always) and JSON's values.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    ValueError
        If the file is damaged or was not written by `save`.
    OSError
        If there is no such file, or it cannot be read.

    Examples
    --------
    See `save`.

    >>> load_extra("nowhere.safetensors")
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.safetensors'
    """
    file = _open(path)
    arrays = {n.removeprefix(EXTRA): file[n].copy() for n in file if n.startswith(EXTRA)}
    return {**json.loads(file.metadata["extra"]), **arrays}


def _open(path):
    """The file, if `save` wrote it."""
    if Path(path).is_dir():
        raise ValueError(
            f"path = {str(path)!r} is a folder, expected a file; for a folder of Hugging Face's, "
            "use minillm.checkpoints.load"
        )
    file = TensorFile(path)
    if not {"config", "extra"} <= file.metadata.keys():
        raise ValueError(
            f"{path} holds no record of a model's options, expected a file that `save` wrote; for "
            "a checkpoint of Hugging Face's, give its folder to minillm.checkpoints.load"
        )
    return file


# For both this module and `minillm.checkpoints`.


def check_target(half, dtype):
    """Raise unless `half` and `dtype` are known and go together."""
    if half not in ("numpy", "torch"):
        raise ValueError(f"half = {half!r}, expected 'numpy' or 'torch'")
    known = FLOATS if half == "torch" else FLOATS[:2]
    if dtype not in (None, *known):
        raise ValueError(f"dtype = {dtype!r}, expected one of {known} with half = {half!r}")


def new_model(config, half, dtype):
    """The model that a record describes, its weights still to come."""
    model = importlib.import_module(f"minillm.{half}_nn.models").build(config)
    if half == "torch":
        import torch

        dtype = getattr(torch, dtype)
    return model.to(dtype)


def widest(dtypes, *, path_in_message):
    """The dtype that holds numbers of all these: of several, float32 or float64."""
    dtypes = set(dtypes)
    if dtypes - set(FLOATS):
        found = f"{path_in_message}: weights have dtypes {sorted(dtypes)}"
        raise ValueError(f"{found}, expected any of {FLOATS}")
    if len(dtypes) == 1:
        return dtypes.pop()
    return "float64" if "float64" in dtypes else "float32"


def assign(parameter, array):
    """Fill a parameter of either half with the numbers of a NumPy array of its shape."""
    if hasattr(parameter, "detach"):
        import torch

        array = torch.from_numpy(array)
        parameter.data.copy_(array)
    else:
        parameter.data[...] = array


def _named(name, layer):
    """The parameters of a layer or model of either half, by name."""
    if not hasattr(layer, "named_parameters"):
        raise TypeError(f"{name} is a {type(layer).__name__}, expected a layer or model")
    return {n.replace("_orig_mod.", ""): p for n, p in layer.named_parameters()}  # if compiled


__all__ = ["copy", "load", "load_extra", "save"]
