"""One training over several processes, on one machine or more, as `accelerate launch` and `torchrun` start them.

Each process holds the whole base and the same adapter. The first reads and writes the store, makes the
rows and judges; the others help it with the steps (`learner.training.follower`). In a step each computes
the log-probabilities of its share of the texts; these are exchanged, every process evaluates the plugin's
loss on all of them, and the gradients are summed. So a step is that of one process, whatever the loss does
with its batch; a mean over tokens, for one, is no mean of the processes' means.

trl and transformers see one process each: what is exchanged is exchanged here, by gloo, on CPUs.

Errors: every exchange begins with a word on whether all are well. Who fails says so at its next (`together`),
so all leave the same step at the same place. Who is interrupted or dies closes its connections, which ends
the exchanges of the others.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from learner.exceptions import RedraftError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

MEETING = timedelta(minutes=10)
"""Most time between the first process and the last."""
PATIENCE = timedelta(hours=6)
"""Most time that one waits for another that still lives: the first samples and prepares alone."""
RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
SIZE = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
LOCAL_RANK = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")
INTERFACE = "GLOO_SOCKET_IFNAME"
_HIDDEN = ("TORCHELASTIC_", "LOCAL_WORLD_SIZE", "GROUP_", "ROLE_", "ACCELERATE_MIXED_PRECISION")
"""With the above, what would have accelerate (and our children) take part in the exchange."""


class PeerError(TrainingError):
    """Another process of this training failed; the message says which, and how."""


class ProcessLostError(TrainingError):
    """Another process of this training is gone: nothing can be exchanged any more."""


class World:
    """The processes of one training: `rank` of `size`. Alone, every method does at once what it says."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.lost = False
        """Whether another process is gone, so that nothing can go on."""
        self._group: Any = None
        self._agreed: BaseException | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that reads, writes and tells."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether nobody else takes part, or no more."""
        return self.size == 1

    def join(self) -> None:
        """Meet the others, at the address that the launcher put into the environment. Raises ProcessLostError."""
        import torch.distributed as dist

        self._call(dist.init_process_group, "gloo", rank=self.rank, world_size=self.size, timeout=MEETING)
        self._group = self._call(dist.new_group, backend="gloo", timeout=PATIENCE)

    def part(self) -> None:
        """Go on alone, once all have come this far."""
        self.check()
        self.leave()

    def leave(self) -> None:
        """Close the connections; whoever still waits for this process is told by that."""
        if self._group is None:
            return
        import torch.distributed as dist

        self._group, self.size = None, 1
        with suppress(RuntimeError, ValueError):
            dist.destroy_process_group()

    @contextmanager
    def together(self) -> Iterator[None]:
        """What all processes do, so that an error of one ends it for all, with the same world afterwards.

        Raises what the body raises here, PeerError or ProcessLostError for what happened elsewhere.
        """
        try:
            yield
        except Exception as error:
            if not self.alone and not self.lost and error is not self._agreed:
                self.check(error)
            raise
        except BaseException:
            self.leave()
            raise

    def check(self, error: Exception | None = None) -> None:
        """Exchange whether all is well. Raises `error`, or PeerError with the first that somebody else has."""
        if self.alone:
            return
        import torch
        import torch.distributed as dist

        trouble = torch.tensor([int(error is not None)])
        self._call(dist.all_reduce, trouble, op=dist.ReduceOp.MAX, group=self._group)
        if not trouble.item():
            return
        words: list[str | None] = [None] * self.size
        own = None if error is None else f"{_words(error)} (process {self.rank}, on {socket.gethostname()})"
        self._call(dist.all_gather_object, words, own, group=self._group)
        self._agreed = error or PeerError(next(w for w in words if w is not None))
        raise self._agreed

    def share(self, value: T | None) -> T:
        """What the first process has; the others give None."""
        if self.alone:
            return value  # type: ignore[return-value]
        import torch.distributed as dist

        self.check()
        box = [value]
        self._call(dist.broadcast_object_list, box, src=0, group=self._group)
        return box[0]  # type: ignore[return-value]

    def gather(self, value: T) -> list[T]:
        """What each process has, by rank."""
        if self.alone:
            return [value]
        import torch.distributed as dist

        self.check()
        values: list[Any] = [None] * self.size
        self._call(dist.all_gather_object, values, value, group=self._group)
        return values

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all processes' tensors of this shape and type, on the CPU; the same bits everywhere."""
        found = tensor.detach().cpu().clone()
        if not self.alone:
            import torch.distributed as dist

            self.check()
            self._call(dist.all_reduce, found, group=self._group)
        return found

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give each parameter that is trained the sum of its gradients."""
        if self.alone:
            return
        import torch

        trained = [p for p in parameters if p.requires_grad]
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        summed = torch.split(self.sum(torch.cat([g.reshape(-1).cpu() for g in own])), [g.numel() for g in own])
        for parameter, gradient in zip(trained, summed, strict=True):
            parameter.grad = gradient.view(parameter.shape).to(parameter.device)

    def same_start(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give each parameter that is trained the first process's value."""
        if self.alone:
            return
        import torch

        trained = [p for p in parameters if p.requires_grad]
        values = self.share([p.detach().cpu() for p in trained] if self.leads else None)
        with torch.no_grad():
            for parameter, value in zip(trained, values, strict=True):
                parameter.copy_(value)

    def _call(self, exchange: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return exchange(*arguments, **options)
        except (RuntimeError, OSError) as error:
            self.lost = True
            raise ProcessLostError(
                "another process of this training ended, or cannot be reached; what it printed says why "
                f"({str(error).splitlines()[0][:200]})"
            ) from error


ALONE = World()
"""The world of a training that nobody else takes part in."""


@contextmanager
def joined(*, meet: bool = True) -> Iterator[World]:
    """The world that a launcher made, for the body; `ALONE` where there was none, or it is not to be met.

    Raises TrainingError for a launcher whose settings do not fit.
    """
    world = _launched()
    if world is None or not meet:
        yield ALONE
        return
    before = dict(os.environ)
    try:
        _own_device()
        _listen_here_only()
        world.join()
        for name in before:
            if name in (*RANK, *SIZE, *LOCAL_RANK) or name.startswith(_HIDDEN):
                del os.environ[name]
        with world.together():
            yield world
    finally:
        world.leave()
        os.environ.pop(INTERFACE, None)
        os.environ.update(before)


def follows() -> bool:
    """Whether a launcher started this process as one of several, and not as the first."""
    return int(_first(RANK, "0")) > 0


def _launched() -> World | None:
    size = int(_first(SIZE, "1"))
    for kind in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() in ("true", "1"):
            raise TrainingError(
                f"each process of a training holds the whole base, so {kind} has no use here: "
                "choose multi-GPU, without it, in `accelerate config`"
            )
    if size > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29500")
        return World(int(_first(RANK, "0")), size)
    if "MASTER_ADDR" in os.environ and "ACCELERATE_USE_CPU" in os.environ and not _first(RANK, ""):
        raise TrainingError(
            "several processes were asked for, but `accelerate launch --cpu` starts one, without an MPI host file: "
            "give --multi_gpu instead of --cpu, without GPUs too (docs/teams.md)"
        )
    return None


def _first(names: Sequence[str], default: str) -> str:
    return next((os.environ[n] for n in names if n in os.environ), default)


def _own_device() -> None:
    """Give each process of a machine another GPU, as far as they go."""
    from learner.training import quiet  # noqa: F401  sets what torch reads when it is imported

    import torch  # isort: skip

    if torch.cuda.is_available():
        torch.cuda.set_device(int(_first(LOCAL_RANK, "0")) % torch.cuda.device_count())


def _listen_here_only() -> None:
    """Where all are on this machine, they exchange over its loopback. The port where they meet listens everywhere."""
    if os.environ["MASTER_ADDR"] not in ("localhost", "127.0.0.1") or not hasattr(socket, "if_nameindex"):
        return
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    if loopback:
        os.environ.setdefault(INTERFACE, loopback)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, RedraftError) else f"{type(error).__name__}: {error}"
