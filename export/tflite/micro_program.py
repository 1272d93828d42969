"""`micro_program_files`: a C++ program that runs a TFLite file on a microcontroller and tests it there.

The program is written for TensorFlow Lite for Microcontrollers, and uses the C array of
`kerasmlp.export.tflite.c_array`.
"""

from __future__ import annotations

import math
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.data.row_decoding import shortest_number
from kerasmlp.export.tflite.c_array import c_array_paths, c_name
from kerasmlp.export.tflite.golden_examples import golden
from kerasmlp.export.tflite.microcontrollers import arena_bytes, is_installed, operators

if TYPE_CHECKING:
    from pathlib import Path

    from kerasmlp.artefacts.tflite_contents import Contents, Tensor
    from kerasmlp.data.types import Data
    from kerasmlp.export.tflite.golden_examples import Golden

GOLDEN_EXAMPLES = 10
# C's name and the member of `TfLiteTensor::data` of each type that a file takes or answers.
C_TYPES = {"float32": ("float", "f"), "int8": ("int8_t", "int8"), "int32": ("int32_t", "i32")}
# Methods of `MicroMutableOpResolver` are called like operations in words with capitals, with these exceptions.
METHODS = {"BATCH_MATMUL": "AddBatchMatMul"}
# While it loads a network, the interpreter plans where to put values. On a computer with pointers of 8 bytes this took
# 93 to 96 bytes for each value, beside what it uses later.
PLANNING_BYTES = 112
# Kernels for a processor can need more memory than those that were measured.
MARGIN, MARGIN_BYTES = 0.1, 256
BYTES_PER_OPERATION, BYTES_PER_UNIT = 1_024, 16  # generous, for an arena that was not measured
_VALUES_PER_LINE = 16


def micro_program_paths(path: Path) -> tuple[Path, Path]:
    """Returns the paths of the golden examples in C and of the program that belong to the file `path`."""
    return path.with_name(f"{path.stem}_golden.h"), path.with_name(f"{path.stem}_example.cc")


def micro_program_files(path: Path, content: bytes, data: Data) -> dict[Path, str]:
    """Returns a program that runs a file on a microcontroller, and ten golden examples for it, by their paths.

    `NAME_example.cc` registers the operations that the file needs, reserves memory for it, scales its input, and prints
    whether the board answers the examples of `NAME_golden.h` as LiteRT did.

    Args:
        path: The file.
        content: Its bytes.
        data: The data of its network.

    Returns:
        Nothing if TensorFlow Lite for Microcontrollers refuses the file.

    Raises:
        InvalidValue: as `kerasmlp.export.tflite.golden_examples.golden`.
        RuntimeError: the same.
    """
    measured = arena_bytes(content)
    if measured is None and is_installed():
        return {}
    examples = golden(content, data, min(GOLDEN_EXAMPLES, len(data.test)))
    header, program = micro_program_paths(path)
    return {
        header: _golden_header(path, examples),
        program: _program(path, content, examples.contents, measured, data.feature_range),
    }


def _golden_header(path: Path, examples: Golden) -> str:
    name, count = c_name(path), len(examples.labels)
    inputs, outputs = (values.reshape(count, -1) for values in (examples.inputs, examples.outputs))
    (taken, _), (answered, _) = (C_TYPES[str(values.dtype)] for values in (inputs, outputs))
    # In real values, which is what the program compares.
    tolerances = (examples.tolerance * examples.contents.target.scale).astype(np.float32)
    labels = ", ".join(_text(label) for label in examples.labels)
    prefix = name.upper()
    return f"""// Inputs of {path.name} and what LiteRT answered. Both are in the types of the file.

#ifndef {prefix}_GOLDEN_H
#define {prefix}_GOLDEN_H

#include <stdint.h>

#define {prefix}_GOLDEN_COUNT {count}

static const {taken} {name}_golden_inputs[{count}][{inputs.shape[1]}] = {{
{_rows(inputs)}
}};

static const {answered} {name}_golden_outputs[{count}][{outputs.shape[1]}] = {{
{_rows(outputs)}
}};

/* By how much another processor may differ in each real value of an answer. */
static const float {name}_golden_tolerances[{outputs.shape[1]}] = {{
{_lines(tolerances, indent=4)}
}};

/* The truth of each example, for people. The network may be wrong about it. */
static const char* const {name}_golden_labels[{count}] = {{{labels}}};

#endif
"""


def _program(
    path: Path, content: bytes, contents: Contents, measured: int | None, feature_range: tuple[float, float] | None
) -> str:
    source, target, operations = contents.source, contents.target, operators(content)
    (taken, member_in), (answered, member_out) = C_TYPES[source.dtype], C_TYPES[target.dtype]
    used = _estimated_arena(contents) if measured is None else measured
    needed = used + PLANNING_BYTES * _num_values(content)
    arena = 16 * math.ceil((needed * (1 + MARGIN) + MARGIN_BYTES) / 16)
    note = (
        "Estimated, because `tflite-micro` was not installed. The program prints what it uses."
        if measured is None
        else f"The network used {used:,} bytes on a computer. It needs more while it is loaded, hence this size."
    )
    header, array = c_array_paths(path)
    golden_header, _ = micro_program_paths(path)
    values = {
        "FILE": path.name,
        "NAME": c_name(path),
        "PREFIX": c_name(path).upper(),
        "HEADER": header.name,
        "SOURCE": array.name,
        "GOLDEN_HEADER": golden_header.name,
        "BATCH": str(max(source.shape[0], 1)),
        "INPUTS": str(math.prod(source.shape[1:])),
        "OUTPUTS": str(math.prod(target.shape[1:])),
        "ARENA_NOTE": note,
        "ARENA": str(arena),
        "NUM_OPERATIONS": str(len(operations)),
        "ADD_OPERATIONS": " &&\n         ".join(f"resolver.{_method(name)}() == kTfLiteOk" for name in operations),
        "INPUT_NOTE": _input_note(source, feature_range),
        "INPUT_TYPE": taken,
        "INPUT_BODY": _input_body(source),
        "INPUT_MEMBER": member_in,
        "OUTPUT_NOTE": f"These are {target.name}.",
        "OUTPUT_TYPE": answered,
        "OUTPUT_VALUE": _real(target, "answer"),
        "OUTPUT_MEMBER": member_out,
        "GOLDEN_RAW": _real(source, "stored"),
    }
    program = files("kerasmlp.export.tflite").joinpath("micro_example.cc.in").read_text(encoding="utf-8")
    for name, value in values.items():
        program = program.replace(f"@{name}@", value)
    return program


def _method(operation: str) -> str:
    return METHODS.get(operation, "Add" + "".join(word.capitalize() for word in operation.split("_")))


def _input_note(source: Tensor, feature_range: tuple[float, float] | None) -> str:
    if feature_range is None:
        values = "Raw values are in the units of the data."
    else:
        low, high = (f"{end:g}" for end in feature_range)
        values = f"Raw values are from {low} to {high}."
    return values + (" This is the value - 128." if (source.scale, source.zero_point) == (1, -128) else "")


def _input_body(source: Tensor) -> str:
    if source.dtype == "float32":
        return "  return raw;"
    return (
        f"  const float steps = rintf(raw / {_real_number(source.scale)}) + ({source.zero_point});\n"
        f"  return static_cast<{C_TYPES[source.dtype][0]}>(fminf(fmaxf(steps, -128), 127));"
    )


def _real(tensor: Tensor, name: str) -> str:
    """The real value of a number in the tensor's type, as C."""
    if np.dtype(tensor.dtype).kind == "f":
        return name
    real = f"static_cast<float>({name})"
    if (tensor.scale, tensor.zero_point) == (1, 0):
        return real
    return f"({real} - ({tensor.zero_point})) * {_real_number(tensor.scale)}"


def _estimated_arena(contents: Contents) -> int:
    values = math.prod(contents.source.shape[1:]) + math.prod(contents.target.shape[1:])
    return BYTES_PER_OPERATION * (2 + len(contents.operations)) + BYTES_PER_UNIT * values * max(
        contents.source.shape[0], 1
    )


def _num_values(content: bytes) -> int:
    """The number of arrays that a file computes or takes."""
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).subgraphs
    return len(graph.inputs) + sum(len(operator.outputs) for operator in graph.operators)


def _rows(values: np.ndarray) -> str:
    return "\n".join(f"    {{\n{_lines(row, indent=8)}\n    }}," for row in values)


def _lines(values: np.ndarray, *, indent: int) -> str:
    is_real = values.dtype.kind == "f"
    numbers = [_real_number(value) if is_real else str(int(value)) for value in values]
    lines = (numbers[i : i + _VALUES_PER_LINE] for i in range(0, len(numbers), _VALUES_PER_LINE))
    return "\n".join(" " * indent + " ".join(f"{number}," for number in line) for line in lines)


def _real_number(value: float) -> str:
    return f"{float(shortest_number(np.float32(value)))!r}f"


def _text(text: str) -> str:
    """A text in UTF-8 as C. Escapes in octal have three digits at most, unlike those in hexadecimal."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
