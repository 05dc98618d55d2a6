"""Tensors on disk in the safetensors format: a JSON header that says where each lies, then the bytes.

    8 bytes: the header's length | header, JSON | the tensors' bytes, one after another

A file holds numbers and text, never a program, so reading one is safe, which reading a pickle
(``torch.load``) is not. The format is Hugging Face's; files go both ways. What is written here
also has a checksum, so that a damaged file is noticed.
"""

import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minillm.files import replacing

CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32",
    "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
DTYPES = {code: name for name, code in CODES.items()}
NO_CRC = b"00000000"  # where a header will have its checksum
MAX_HEADER = 100_000_000  # bytes, a limit of the format
PICKLES = tuple(b"\x80" + bytes([version]) for version in range(2, 6))  # how they begin
NO_PICKLES = (
    "Pickles are never opened here: one can run any program. Ask its author for safetensors, or "
    "convert it, where no harm can be done, by transformers' `save_pretrained`"
)


class TensorFile(Mapping):
    """The tensors of one file by name, each read from the disk when it is asked for.

    They are arrays of NumPy that look into the file (memory-mapped), so that a large file needs
    little memory. NumPy has no bfloat16: such tensors come as float32, which holds them exactly.

    Parameters
    ----------
    path : str or path

    Attributes
    ----------
    metadata : dict of str
        The text beside the tensors.
    shapes, dtypes : dict
        Of every tensor by name: a tuple of int, and "float32", "bfloat16" and so on.

    Raises
    ------
    ValueError
        If the file is none in the format, is cut off, or is damaged.
    OSError
        If there is no such file, or it cannot be read.

    References
    ----------
    https://huggingface.co/docs/safetensors

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.safetensors"
    >>> write(path, {"weight": np.ones((2, 3))}, metadata={"made by": "hand"})
    >>> file = TensorFile(path)
    >>> list(file), file.shapes["weight"], file.dtypes["weight"], file.metadata["made by"]
    (['weight'], (2, 3), 'float64', 'hand')
    >>> file["weight"]
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """

    def __init__(self, path):
        self.path = Path(path)
        self.shapes, self.dtypes, self._places = {}, {}, {}
        with open(self.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(8)
            start = 8 + int.from_bytes(first, "little")
            try:
                if not 8 < start <= min(size, MAX_HEADER):
                    raise ValueError(f"no header fits in its {size:,} bytes")
                text = file.read(start - 8)
                self._read_header(json.loads(text), size - start)
            except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
                pickle = first[:4] == b"PK\3\4" or first[:2] in PICKLES
                more = f". It looks like a pickle. {NO_PICKLES}" if pickle else ""
                raise ValueError(f"{path} is no whole safetensors file: {error}{more}") from None
        self._bytes = np.zeros(0, np.uint8)
        if size > start:  # "c", copy-on-write: who changes an array does not change the file
            self._bytes = np.memmap(self.path, np.uint8, mode="c", offset=start)
        crc = str(self.metadata.pop("crc32", ""))  # computed with zeros in its own place
        if crc and crc != _checksum([text.replace(crc.encode(), NO_CRC, 1), self._bytes]):
            raise ValueError(
                f"{path} is damaged, or was changed by another program: its checksum is not {crc}"
            )

    def _read_header(self, header, size):
        """Note where each tensor lies: one after another, from the first byte to the last."""
        self.metadata = dict(header.pop("__metadata__", {}))
        at = 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            dtype, shape = DTYPES.get(entry["dtype"]), entry["shape"]
            if dtype is None:
                raise ValueError(f"{name} has dtype {entry['dtype']}, expected one of {[*DTYPES]}")
            end = at + math.prod(shape) * _storage(dtype).itemsize
            counts = all(type(n) is int and n >= 0 for n in shape)
            if entry["data_offsets"] != [at, end] or not counts:
                place = f"lies at {entry['data_offsets']} after byte {at}"
                raise ValueError(f"{name} has dtype {dtype}, shape {shape}, but {place}")
            self.shapes[name], self.dtypes[name] = tuple(shape), dtype
            self._places[name] = slice(at, end)
            at = end
        if at != size:
            raise ValueError(f"its tensors have {at:,} bytes, but {size:,} follow the header")

    def __getitem__(self, name):
        dtype = self.dtypes[name]
        x = np.asarray(self._bytes[self._places[name]]).view(_storage(dtype))
        if dtype == "bfloat16":  # the upper half of a float32
            x = (x.astype(np.uint32) << 16).view(np.float32)
        return x.reshape(self.shapes[name])

    def __iter__(self):
        return iter(self._places)

    def __len__(self):
        return len(self._places)


def write(path, tensors, *, metadata=None):
    """Write tensors to a file, which appears (or replaces an older one) whole or not at all.

    Parameters
    ----------
    path : str or path
    tensors : dict of array or tensor, any shape
        Of NumPy or PyTorch, by name; the dtype is kept.
    metadata : dict of str, optional
        Text to be kept beside them.

    Raises
    ------
    TypeError
        If a value is neither array nor tensor, or has a dtype that the format does not know; or
        one of the metadata is no text.
    ValueError
        If a name is "__metadata__", or "crc32" among the metadata.
    OSError
        If the file cannot be written; then an older one under its name is as it was.

    Examples
    --------
    See `TensorFile`.

    >>> import tempfile
    >>> write(Path(tempfile.mkdtemp()) / "empty.safetensors", {})
    """
    reserved = {"__metadata__"} & tensors.keys() | {"crc32"} & (metadata or {}).keys()
    if reserved:
        raise ValueError(f"{reserved.pop()!r} is a name of the format's own, expected another")
    wrong = {name: value for name, value in (metadata or {}).items() if not isinstance(value, str)}
    if wrong:
        raise TypeError(f"metadata = {wrong}, expected text for each name")
    raw = {name: _raw(name, x) for name, x in tensors.items()}
    names = sorted(raw, key=lambda name: -raw[name][1].itemsize)  # so each lies aligned
    header, end = {"__metadata__": {"crc32": NO_CRC.decode(), **(metadata or {})}}, 0
    for name in names:
        dtype, x = raw[name]
        begin, end = end, end + x.nbytes
        place = {"shape": list(x.shape), "data_offsets": [begin, end]}
        header[name] = {"dtype": CODES[dtype], **place}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    arrays = [raw[name][1] for name in names]
    text = text.replace(NO_CRC, _checksum([text, *arrays]).encode(), 1)

    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for x in arrays:
            file.write(x)


def _raw(name, x):
    """The dtype's name and the bytes of an array or tensor, as an array in C order."""
    dtype = str(getattr(x, "dtype", type(x).__name__)).removeprefix("torch.")
    if hasattr(x, "detach"):
        x = x.detach().cpu().contiguous()
        if dtype == "bfloat16":
            import torch

            x = x.view(torch.int16)
        x = x.numpy()
    if dtype not in CODES:
        raise TypeError(f"{name} is {dtype}, expected an array or tensor of {', '.join(CODES)}")
    return dtype, np.asarray(x, x.dtype.newbyteorder("<"), order="C")


def _checksum(parts):
    """Of a header, in which it will replace `NO_CRC`, and of the bytes after it."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return f"{crc:08x}"


def _storage(dtype):
    """How NumPy reads numbers of this dtype from a file."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")


__all__ = ["TensorFile", "write"]
