"""An ONNX file as a controller, run by ONNX Runtime or by the slow evaluator of `onnx` itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.guarding.files import read_whole


@dataclass(frozen=True, eq=False)
class OnnxController:
    """A model with one input, the observations, whose first output are the actions.

    Attributes:
        outputs: computes the first output from the input.
        batch: number of rows that the model takes; None: any.
        file_sizes: numbers of entries of an observation and of an action; None: left open.
    """

    outputs: Callable[[np.ndarray], np.ndarray]
    batch: int | None
    file_sizes: tuple[int | None, int | None] = (None, None)

    def act(self, obs: Float[np.ndarray, "*rows obs"]) -> Float[np.ndarray, "*rows action"]:
        rows = np.atleast_2d(obs).astype(np.float32)
        if self.batch in (None, len(rows)):
            actions = self.outputs(rows)
        elif self.batch == 1:
            actions = np.concatenate([self.outputs(row[None]) for row in rows])
        else:
            raise InputError(
                f"the model takes {self.batch} observations at a time, not {len(rows)}; export it "
                "with a free number of rows, or with 1."
            )
        return np.asarray(actions, np.float32).reshape(*obs.shape[:-1], -1)


def read_onnx(path: Path) -> OnnxController:
    """The controller of an ONNX file.

    Raises:
        InputError: it cannot be read, or takes something else than one array of observations.
    """
    content = read_whole(path, "an ONNX model")
    try:
        inputs, output, outputs = _with_runtime(content)
    except ImportError:
        try:
            inputs, output, outputs = _with_reference(content)
        except ImportError:
            raise InputError(
                f'{path} needs ONNX Runtime; install the extra: pip install "moore-rl[export]".'
            ) from None
        except Exception as error:
            raise _unreadable(path, error) from None
    except Exception as error:  # each of the packages has exceptions of its own
        raise _unreadable(path, error) from None
    if len(inputs) != 1:
        raise InputError(
            f"{path} takes {len(inputs)} inputs ({', '.join(inputs)}); expected one, the "
            "observations. (Export without a rate limit: a session has its own.)"
        )
    ((name, shape),) = inputs.items()
    if len(shape) != 2:
        raise InputError(f"{path} takes {name} of shape {shape}; expected (rows, observations).")
    width = _size(output[-1]) if len(output) == 2 else None
    file_sizes = (_size(shape[1]), width)
    return OnnxController(lambda rows: outputs({name: rows}), _size(shape[0]), file_sizes)


def _size(dimension: object) -> int | None:
    """A dimension that the file fixes; None: it has a name, or none."""
    return dimension if isinstance(dimension, int) and dimension > 0 else None


def _unreadable(path: Path, error: Exception) -> InputError:
    told = " ".join(str(error).split()).rstrip(".")
    return InputError(f"{path} is no ONNX model that can be run: {told}.")


# Shapes of the inputs by their names, shape of the first output, and what computes it.
_Model = tuple[dict[str, list], list, Callable[[dict], np.ndarray]]


def _with_runtime(content: bytes) -> _Model:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a policy is small, and learning runs beside it
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    first = session.get_outputs()[0]
    shapes = {x.name: list(x.shape) for x in session.get_inputs()}
    return shapes, list(first.shape), lambda values: session.run([first.name], values)[0]


def _with_reference(content: bytes) -> _Model:
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load_model_from_string(content)
    evaluator = ReferenceEvaluator(model)
    constants = {x.name for x in model.graph.initializer}
    shapes = {x.name: _dimensions(x) for x in model.graph.input if x.name not in constants}

    def act(values: dict) -> np.ndarray:
        outputs = evaluator.run(None, values)
        assert isinstance(outputs, list)  # a table only where inner results are asked for
        return outputs[0]

    return shapes, _dimensions(model.graph.output[0]), act


def _dimensions(value: Any) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
