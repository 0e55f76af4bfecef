"""What a policy in Python needs beside the contract's own types, which componentize-py makes of wit/.

Import everything at the top of a module: what is imported is part of the snapshot that becomes the component, and an import inside a
function would look for files that are not there.
"""

import json
import traceback  # noqa: F401  (what an uncaught exception prints itself with)

from componentize_py_types import Err
from wit_world.imports.types import Error_Parameters, Error_Question


def refuse_parameters(sentence: str) -> Exception:
    """The parameters are not ones this policy takes: say which key, and what is allowed. Raise what this returns."""
    return Err(Error_Parameters(sentence))


def refuse(sentence: str) -> Exception:
    """The parameters are fine, but this question has no answer: say what is missing from it. Raise what this returns."""
    return Err(Error_Question(sentence))


def read_parameters(parameters: str, **defaults: float) -> dict[str, float]:
    """Reads the run's parameters, one JSON object of numbers; `defaults` names every one that is known. Check ranges yourself."""
    try:
        given = json.loads(parameters.strip() or "{}")
    except ValueError as error:
        raise refuse_parameters(f"the parameters are no JSON: {error}") from None
    if not isinstance(given, dict):
        raise refuse_parameters("the parameters are no JSON object")
    for name, value in given.items():
        if name not in defaults:
            allowed = f"there is {', '.join(defaults)}" if defaults else "there are none"
            raise refuse_parameters(f"unknown parameter `{name}`; {allowed}")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise refuse_parameters(f"{name} is no number")
    return {**defaults, **given}


def figure(value: float) -> str:
    """A number for a reason, four significant digits."""
    return f"{value:.4g}"
