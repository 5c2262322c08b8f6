"""Small graphs, as text, with weights of the sizes that are asked."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeattn.graph import shapes


def graph(body, x, opset=17, **weights):
    """Return the graph of a body that reads x, with weights of the given sizes."""
    listed = "".join(
        f", float[{','.join(map(str, sizes))}] {name}" for name, sizes in weights.items()
    )
    model = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({x} x{listed}) => (y) {{ {body} }}'
    )
    for name, sizes in weights.items():
        value = next(one for one in model.graph.inputs if one.name == name)
        model.graph.inputs.remove(value)
        value.shape = ir.Shape(sizes)
        value.const_value = ir.tensor(np.full(sizes, 0.5, np.float32))
        model.graph.initializers[name] = value
    shapes.find(model)
    return model.graph
