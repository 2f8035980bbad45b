"""A small ONNX file, written by hand: tanh(x W + b)."""

import numpy as np


def _varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _field(number, value):
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    value = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _tensor(name, array):
    dims = b"".join(_field(1, int(n)) for n in array.shape)
    return dims + _field(2, 1) + _field(8, name) + _field(9, array.astype("<f4").tobytes())


def _matrix(name, columns):
    shape = _field(1, _field(2, "rows")) + _field(1, _field(1, columns))
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def _node(kind, inputs, output):
    return b"".join(_field(1, each) for each in inputs) + _field(2, output) + _field(4, kind)


def layer(weights, bias):
    """The bytes of a model of one dense layer."""
    graph = [
        _field(1, _node("MatMul", ("x", "weights"), "product")),
        _field(1, _node("Add", ("product", "bias"), "sum")),
        _field(1, _node("Tanh", ("sum",), "out")),
        _field(2, "layer"),
        _field(5, _tensor("weights", weights)),
        _field(5, _tensor("bias", bias)),
        _field(11, _matrix("x", weights.shape[0])),
        _field(12, _matrix("out", weights.shape[1])),
    ]
    return _field(1, 8) + _field(7, b"".join(graph)) + _field(8, _field(1, "") + _field(2, 13))


def random_layer(d, n_outputs, seed=0):
    g = np.random.default_rng(seed)
    return layer(g.normal(size=(d, n_outputs)) / np.sqrt(d), g.normal(size=n_outputs))
