"""`GraphBuilder`: collects the operations and weights of an ONNX graph, and gives each value a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


class GraphBuilder:
    """The operations of a graph, in the order in which they are added. A value is known by its name.

    Example:
        >>> graph = GraphBuilder()
        >>> doubled = graph.add("Mul", "x", graph.constant(2.0, "two"))
        >>> graph.add("Add", doubled, doubled, name="sum"), graph.operations
        ('sum', ['Mul', 'Add'])
    """

    def __init__(self) -> None:
        """Starts an empty graph."""
        self.nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._weights: list[tuple[str, np.ndarray]] = []
        self._taken: dict[str, int] = {}

    @property
    def operations(self) -> list[str]:
        """The type of each operation."""
        return [node.op_type for node in self.nodes]

    @property
    def weights(self) -> list[Any]:
        """The constants as ONNX stores them."""
        from onnx import numpy_helper

        return [numpy_helper.from_array(values, name) for name, values in self._weights]

    def constant(self, values: Any, name: str = "constant") -> str:
        """Returns the name of a constant. Equal constants are stored once.

        Args:
            values: Floats, which become float32, or whole numbers, which become int64.
            name: A name, to which a number is added if it is taken.
        """
        array = np.asarray(values)
        array = np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else np.int64)
        key = (array.dtype.name, np.shape(values), array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._free(name)
            self._weights.append((self._constants[key], array.reshape(np.shape(values))))
        return self._constants[key]

    def add(self, operation: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Adds an operation with one output, and returns the output's name.

        Args:
            operation: Its type, such as `Relu`.
            inputs: Names of its inputs; an empty text for one that is left out.
            name: Name of its output. Defaults to one made from the type.
            attributes: Its attributes.
        """
        return self.add_many(operation, inputs, [name or self._free(operation.lower())], **attributes)[0]

    def split(self, value: str, count: int, axis: int) -> list[str]:
        """Adds an operation that cuts a value along an axis into `count` values of one length."""
        return self.add_many("Split", [value], [self._free("split") for _ in range(count)], axis=axis)

    def add_many(self, operation: str, inputs: Sequence[str], outputs: list[str], **attributes: Any) -> list[str]:
        """Adds an operation with several outputs, whose names are given, and returns them."""
        from onnx import helper

        self.nodes.append(helper.make_node(operation, inputs, outputs, name=f"{operation}_{outputs[0]}", **attributes))
        return outputs

    def _free(self, name: str) -> str:
        number = self._taken[name] = self._taken.get(name, 0) + 1
        return name if number == 1 else f"{name}_{number}"
