"""What every net consists of: a definition at work, a placement, parameters; copies and files."""

from __future__ import annotations

import copy
import itertools
import math
import os
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np

from .._version import __version__
from ..arrays import Array, Host, Params
from ..backend.placement import Placement
from ..backend.table import place
from ..checks import seed_or_none
from ..files import save_arrays
from ..losses import Output
from ..markup import paragraph, table
from .batch import Batch
from .definition import Definition, checked_data, checked_names, wrong_params
from .stack import Stack


class BaseNetwork:
    """A net's parts, and what is done with them as they are; see `Network`.

    Attributes
    ----------
    _stack : Stack
        The net's arithmetic, with its definition.
    placement : Placement
    params : dict of arrays
    state : dict of arrays
    class_names : tuple of str or None
    data : dict or None
    """

    _kind: ClassVar[str] = "Network"  # as files name it
    _stack: Stack
    placement: Placement
    params: Params
    state: Params
    _class_names: tuple[str, ...] | None = None
    _data: dict[str, Any] | None = None

    def _begin(self, definition: Definition, placement: Placement, seed: int | None) -> None:
        """Set what a net consists of; its parameters are drawn."""
        rng = np.random.default_rng(seed_or_none(seed))
        count = sum(math.prod(shape) for shape in definition.shapes.values())
        bits = int(placement.xp.finfo(placement.dtype).bits)
        placement._refuse_too_large(count * bits // 8, f"a net of layer_sizes {definition.widths}")
        self._stack, self.placement = Stack(definition), placement
        self.params = {key: self._placed(values) for key, values in definition.first(rng).items()}
        self.state = {key: self._placed(v) for key, v in definition.first_state().items()}

    @classmethod
    def _of(cls, definition: Definition, placement: Placement, arrays: dict[str, Host]) -> Self:
        """Return a net of these parts, parameters and state in one dict; nothing is drawn."""
        net = cls.__new__(cls)
        net._stack, net.placement = Stack(definition), placement
        net.params = {key: net._placed(arrays[key]) for key in definition.shapes}
        net.state = {key: net._placed(arrays[key]) for key in definition.state_shapes}
        return net

    @property
    def _definition(self) -> Definition:
        """What the net is, apart from its parameters and their place."""
        return self._stack.definition

    @property
    def output(self) -> Output:
        """The row of ``OUTPUTS`` that turns logits into predictions and a loss."""
        return self._definition.output

    @property
    def l2(self) -> float:
        """The weight of the L2 term."""
        return self._definition.l2

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, one for each output, or None; saved with the net."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Iterable[str] | None) -> None:
        self._class_names = checked_names(names, self._definition.widths[-1])

    @property
    def data(self) -> dict[str, Any] | None:
        """What was learned of the data that the net was trained with, or None; saved with it.

        Plain objects that JSON can hold, such as the ``to_dict`` of `xpnet.load_table`'s
        description.
        """
        return copy.deepcopy(self._data)

    @data.setter
    def data(self, described: dict[str, Any] | None) -> None:
        self._data = checked_data(described)

    @property
    def _batch(self) -> Batch:
        """What the net asks of x and t."""
        return Batch(self._definition, self.placement)

    def to(self, xp: Any = None, device: Any = None, dtype: Any = None) -> Self:
        """Copy the net to another library, device or dtype.

        Parameters
        ----------
        xp, device, dtype
            As for the constructor; None keeps the net's own (for `device`: the default device
            where the library changes).

        Returns
        -------
        MLP
            A copy that shares nothing with this net.

        Raises
        ------
        BackendNotAvailable, TypeError, ValueError
            As the constructor.

        Examples
        --------
        >>> import xpnet
        >>> net = xpnet.MLP([4, 3], seed=0)
        >>> net.to(dtype="float64").params["W1"].dtype
        dtype('float64')
        """
        here = self.placement
        net = copy.copy(self)
        net.placement = place(
            here.xp if xp is None else xp,
            here.device if xp is None and device is None else device,
            here.dtype_name if dtype is None else dtype,
        )
        net.params = {key: net._placed(here.to_host(p)) for key, p in self.params.items()}
        net.state = {key: net._placed(here.to_host(s)) for key, s in self.state.items()}
        return net

    def _with_l2(self, l2: float) -> Self:
        """Return this net with another L2 term; the two share their parameters.

        Parameters
        ----------
        l2 : float
            At least 0, as for the constructor.

        Returns
        -------
        Network
            Of the same class.

        Examples
        --------
        >>> import xpnet
        >>> net = xpnet.MLP([4, 3], seed=0)
        >>> other = net._with_l2(0.5)
        >>> other.l2, other.params is net.params
        (0.5, True)
        """
        net = copy.copy(self)
        net._stack = Stack(self._definition.with_l2(l2))
        return net

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the net in a safetensors file; `xpnet.load` reads it, on any backend.

        The file has the parameters, the state and a description of the net. An activation of your
        own is saved by its name only.

        Parameters
        ----------
        path : path-like
            An existing file is replaced once the new one is whole, on the disk, and has been
            read back.

        Raises
        ------
        ValueError
            The parameters are no longer those of the net: other keys, shapes or dtypes. Or a
            layer is of a class of your own.
        OSError
            The file cannot be written; an existing one is as it was.

        Notes
        -----
        Waits for the device. A net of a subclass is saved as the class of xpnet that it extends.

        Examples
        --------
        >>> import pathlib, tempfile, xpnet
        >>> net = xpnet.MLP([4, 3], seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "model.safetensors")
        ...     net.save(path)
        ...     xpnet.load(path)
        <MLP 4-3, sigmoid, softmax: 15 parameters, float32, numpy on cpu>
        """
        everything = {**self.params, **self.state}
        arrays = {key: self.placement.to_host(p) for key, p in everything.items()}
        wrong = wrong_params(arrays, self._definition, self.placement.dtype_name)
        if wrong:
            raise ValueError(f"params {wrong}")
        self._definition.refuse_own_layers()
        save_arrays(path, arrays, self._description())

    def _description(self) -> dict[str, Any]:
        """Return what the net is, as plain Python objects: all but the parameters' values."""
        here = {"dtype": self.placement.dtype_name, "xpnet": __version__}
        own = {"class_names": self.class_names and list(self.class_names), "data": self.data}
        own = {name: value for name, value in own.items() if value is not None}
        return {"kind": "model", "class": self._kind, **self._definition.describe(), **own, **here}

    def _placed(self, values: Host) -> Array:
        """Move a parameter here, the weights that lead to one unit side by side in memory.

        Libraries are fastest so: z @ W and (d.T @ z).T both run along the inputs, the many.
        """
        floats = self.placement.floats
        return floats(values.T).T if values.ndim == 2 else floats(values)

    def _masks(self, kept: Array, scale: Any) -> list[Array]:
        """Return the masks of dropout, from the numbers that are kept, (n, all of them), bool.

        A mask is `scale` where a number is kept, and 0 where it is not; one for each of the
        definition's ``droppers``.
        """
        factors = self.placement.xp.astype(kept, self.placement.dtype)
        factors *= scale
        ends = itertools.pairwise([0, *itertools.accumulate(self._definition.dropped)])
        masks = [factors[:, start:end] for start, end in ends]
        for i, layer in enumerate(self._definition.droppers):
            shape = self._definition.outputs[layer + 1]
            if len(shape) > 1:
                masks[i] = self.placement.xp.reshape(masks[i], (-1, *shape))
        return masks

    def __repr__(self) -> str:
        here = self.placement
        count = sum(math.prod(shape) for shape in self._definition.shapes.values())
        l2 = f", l2={self.l2:g}" if self.l2 else ""
        return (
            f"<{type(self).__name__} {self._definition}{l2}: {count:,} parameters, "
            f"{here.dtype_name}, {here.backend.name} on {here.device}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, " × ".join(map(str, array.shape)), f"{math.prod(array.shape):,}")
            for name, array in self.params.items()
        ]
        return paragraph(repr(self)[1:-1]) + table(rows, head=("", "shape", "numbers"))

