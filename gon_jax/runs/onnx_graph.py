"""Plain layers as an ONNX graph, node by node, for any number of examples.

ONNX convolves with channels first, so images are transposed around each convolution and normalization; ONNX Runtime
cancels most of these.
"""

import importlib.util
from typing import Any

import numpy as np

import gon_jax
from gon_jax.runs.plain_layers import Layer

__all__ = ["OPSET", "onnx_model"]

OPSET = 21  # the first in which group normalization has a scale for each channel
_NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "elu": ("Elu", {}),
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "gelu": ("Gelu", {"approximate": "tanh"}),
    "softplus": ("Softplus", {}),
    "tanh": ("Tanh", {}),
    "sin": ("Sin", {}),
    "sigmoid": ("Sigmoid", {}),
}


class _Graph:
    """The nodes and the arrays of a graph that grows at its end."""

    def __init__(self):
        from onnx import helper, numpy_helper

        self.helper, self.numpy_helper = helper, numpy_helper
        self.nodes, self.arrays = [], []

    def array(self, value) -> str:
        name = f"array_{len(self.arrays)}"
        self.arrays.append(self.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind, *inputs, **options) -> str:
        """Add a node of one output, and return its name; inputs are names or arrays."""
        names = [x if isinstance(x, str) else self.array(x) for x in inputs]
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, names, [output], **options))
        return output

    def layer(self, layer: Layer, x: str, z: str) -> tuple[str, str]:
        """Add a layer, and return the names of its output and of the latents."""
        kind, values = layer
        if kind == "reshape":
            x = self.add("Reshape", x, np.array([0, *values["shape"]], np.int64))  # 0 keeps the number of examples
        elif kind == "dense":
            x = self.add("Add", self.add("MatMul", x, values["kernel"]), values["bias"])
        elif kind == "transposed_conv":
            kernel = values["kernel"].transpose(0, 3, 1, 2)
            first = self.add("Transpose", x, perm=[0, 3, 1, 2])
            x = self.add("ConvTranspose", first, kernel, values["bias"], strides=[2, 2], pads=[1, 1, 1, 1])
            x = self.add("Transpose", x, perm=[0, 2, 3, 1])
        elif kind == "group_norm":
            num_groups, epsilon = int(values["num_groups"]), float(values["epsilon"])
            first = self.add("Transpose", x, perm=[0, 3, 1, 2])
            scale, bias = values["scale"], values["bias"]
            x = self.add("GroupNormalization", first, scale, bias, num_groups=num_groups, epsilon=epsilon)
            x = self.add("Transpose", x, perm=[0, 2, 3, 1])
        elif kind == "points":
            x, z = self.array(values["points"][None]), x
        elif kind == "add_latent":
            shift = self.add("MatMul", z, values["kernel"])
            x = self.add("Add", x, self.add("Unsqueeze", shift, np.array([1], np.int64)))
        elif kind == "sin_cos":
            x = self.add("Concat", self.add("Sin", x), self.add("Cos", x), axis=-1)
        elif kind == "silu":
            x = self.add("Mul", x, self.add("Sigmoid", x))
        else:
            node, options = _NODES[kind]
            x = self.add(node, x, **options)
        return x, z


def onnx_model(
    layers: list[Layer], shape: tuple[int, ...], shape_out: tuple[int, ...], names: tuple[str, str] = ("x", "y")
) -> bytes:
    """Return the ONNX model of a list of layers, float32, of any number of examples n.

    Args:
        layers: as `gon_jax.runs.plain_layers.plain_functions` returns them.
        shape, shape_out: of an example of the input and of the output.
        names: of input and output.

    Raises:
        ImportError: without the package onnx.
        ValueError: for a model of more than 2 GB, which one file of ONNX does not hold.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ImportError("expected the package onnx, which writes .onnx, got none: pip install 'gon_jax[export]'")
    size = sum(np.asarray(value).nbytes for layer in layers for value in layer.values.values())
    if size > 2**31 - 2**20:
        raise ValueError(f"expected arrays below 2 GB, which one .onnx holds, got {size:,} bytes: take --format numpy")
    from onnx import TensorProto, checker, helper

    graph = _Graph()
    x = z = names[0]
    for layer in layers:
        x, z = graph.layer(layer, x, z)
    graph.nodes.append(helper.make_node("Identity", [x], [names[1]]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *each])
        for name, each in zip(names, (shape, shape_out), strict=True)
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "gon_jax", ends[:1], ends[1:], graph.arrays),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=10,  # of the same release as the opset: later ones are not read by runtimes of its time
        producer_name="gon_jax",
        producer_version=gon_jax.__version__,
    )
    checker.check_model(model, full_check=True)
    return model.SerializeToString()
