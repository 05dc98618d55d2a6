"""Several processes that train one model, each with its share of every batch, on its own device.

`torchrun` starts them, on one machine or many; here they find each other, by PyTorch's own
communication (`gloo` between CPUs, `nccl` between GPUs). What a model needs for that is one call::

    world = start()
    ...                              # each process makes the model, from the same seed
    world.wrap(model, "ddp")         # each has all of it, and gradients are averaged
    ...                              # `loss_and_grads` as ever, on rows rank, rank + size, ...
    if world.is_main: ...            # one of them writes

Without `torchrun` it is the same with one process, and all of this does nothing.
"""

import os
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace

import torch
from torch import distributed, nn

from minillm.checks import check_range


def start(device="auto", *, timeout=600.0):
    """Find the other processes that `torchrun` has started: -> the World of them.

    Parameters
    ----------
    device : str
        "cpu", "cuda", or "auto": a GPU where there are some, each process its own.
    timeout : float
        Seconds after which a process that waits for another fails.

    Returns
    -------
    World
        With one process, if `torchrun` has started none.

    Raises
    ------
    ValueError
        If there are fewer GPUs than processes on this machine, or processes on such a device
        cannot talk to each other.

    Examples
    --------
    >>> world = start("cpu")
    >>> world.rank, world.size, world.is_main, world.device
    (0, 1, True, 'cpu')
    """
    timeout = check_range("timeout", timeout, low=1)
    size, local = (
        int(os.environ.get(name) or alone) for name, alone in [("WORLD_SIZE", 1), ("LOCAL_RANK", 0)]
    )
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if size == 1:
        return World(kind)
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device = {device!r} with {size} processes, expected 'cpu' or 'cuda'")
    if kind == "cuda":
        n = torch.cuda.device_count()
        if local >= n:
            raise ValueError(f"LOCAL_RANK = {local}, expected less than the number of GPUs, {n}")
        torch.cuda.set_device(local)
    backend = "nccl" if kind == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(seconds=timeout))
    device = f"cuda:{local}" if kind == "cuda" else "cpu"
    return World(device, distributed.get_rank(), distributed.get_world_size())


class World:
    """The processes that train together, seen from one of them; `start` makes it.

    Whatever waits for the others (`wrap`, `sum`, `full`, ...) must be called by all of them.

    Parameters
    ----------
    device : str
        This process's, such as "cuda:1".
    rank, size : int
        Its number, from 0, and how many there are.

    Attributes
    ----------
    is_main : bool
        Whether it is process 0, who writes what all have.

    Examples
    --------
    >>> from minillm.config import BigramConfig
    >>> from minillm.torch_nn.models import Bigram
    >>> world = World("cpu")
    >>> model = world.wrap(Bigram(BigramConfig(vocab_size=65)), "ddp")
    >>> world.sum(2.5, 1), world.mean(3.0)
    ([2.5, 1.0], 3.0)
    """

    def __init__(self, device, rank=0, size=1):
        self.device, self.rank, self.size, self.is_main = device, rank, size, rank == 0

    def wrap(self, model, kind="ddp", **options):
        """Let `model` be trained by all; `options` are those of `speed_up`.

        With "ddp" (Li et al. 2020) each process has the whole model, and gradients are averaged
        as they come. With "fsdp" (Rajbhandari et al. 2020, stage 3) each has a share of all
        weights, gradients and optimizer states, and the weights of a block are fetched when they
        are needed. Make the optimizer afterwards.

        Raises
        ------
        ValueError
            If there is no such kind, or not in this PyTorch.
        """
        if kind not in ("ddp", "fsdp"):
            raise ValueError(f"kind = {kind!r}, expected 'ddp' or 'fsdp'")
        if self.size == 1:
            return model.speed_up(**options)
        if kind == "ddp":
            ids = [torch.device(self.device).index] if self.device != "cpu" else None
            through = nn.parallel.DistributedDataParallel(model, device_ids=ids)
            return model.speed_up(**options, through=through)
        try:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
        except ImportError:
            need = f"expected 'ddp': PyTorch {torch.__version__} has no fully_shard, 2.6 has"
            raise ValueError(f"kind = 'fsdp', {need}") from None
        mesh = init_device_mesh(torch.device(self.device).type, (self.size,))
        for block in [*getattr(model, "encoder", ()), *getattr(model, "blocks", ())]:
            fully_shard(block, mesh=mesh)
            register_fsdp_forward_method(block, "values")  # which is called from outside, too
        return fully_shard(model, mesh=mesh).speed_up(**options)

    def accumulating(self, model):
        """A context for all parts of a batch but the last, in which no gradients are exchanged.

        For a model that is shared out they are: whole gradients would need its memory.
        """
        through = model._through if self.size > 1 else None
        return through.no_sync() if hasattr(through, "no_sync") else nullcontext()

    def sum(self, *values):
        """The sum of each number over all processes, the same in each of them: -> list of float."""
        total = torch.tensor([float(value) for value in values], dtype=torch.float64)
        if self.size > 1:
            total = total.to(self.device)
            distributed.all_reduce(total)
        return total.tolist()

    def mean(self, value):
        """The mean of a number over all processes, the same in each of them: -> float."""
        return self.sum(value)[0] / self.size

    def barrier(self):
        """Wait until all are here."""
        self.sum(0)

    def full(self, model):
        """The model as `weights.save` takes it, with whole weights, also where each has a share.

        In other processes than the main one it is empty.
        """
        if self.size == 1:
            return model
        if hasattr(model, "reshard"):  # FSDP2: back to the shares, whose names these are
            model.reshard()
        named = self._whole(dict(model.named_parameters()))
        return SimpleNamespace(config=model.config, named_parameters=lambda: iter(named.items()))

    def state(self, optimizer):
        """The state of an optimizer, whole; in other processes than the main one it is empty."""
        return self._whole(optimizer.state())

    def load_state(self, optimizer, state):
        """Let an optimizer go on from a whole state, which each process has read."""
        parts = dict(state)
        for name, share in optimizer.state().items():
            if name in parts and hasattr(share, "full_tensor"):
                from torch.distributed.tensor import distribute_tensor

                whole = torch.as_tensor(parts[name]).to(share.device, share.dtype)
                parts[name] = distribute_tensor(whole, share.device_mesh, share.placements)
        optimizer.load_state(parts)

    def close(self):
        """Part from the others."""
        if self.size > 1:
            distributed.destroy_process_group()

    def _whole(self, tensors):
        """Tensors, by name, gathered from their shares one by one, on the CPU of the main one."""
        whole = {}
        for name, x in tensors.items():
            x = x.detach().full_tensor() if hasattr(x, "full_tensor") else x.detach()
            if self.is_main:
                whole[name] = x.cpu() if self.size > 1 else x
        return whole


__all__ = ["World", "start"]
