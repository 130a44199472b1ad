"""Values as people type them: at a command line, or in the field of a form.

For a STR the text is itself, unless it is in JSON's quotation marks. For a TIMESTAMP it is ISO 8601, for BYTES base64.
For all other types it is JSON if it is valid JSON, else the text itself: the engine refuses what does not fit, and says
what it expected. A text that begins like a JSON object, array or string and is not valid JSON is a mistake.
"""

import base64

from halter.files.json_tokens import found_at
from processors.core.records.errors import HalterError
from processors.core.records.value_checks import NotJson, UnfitValue, typed_json
from processors.core.records.values import Value, ValueProblem, VariableType, timestamp_of


class UnfitText(HalterError):
    """A typed text stands for no value. Whoever typed it corrects it.

    `quoting` has the words with which the sentence goes on if the text would do in quotation marks; empty if not.
    """

    def __init__(self, sentence: str, quoting: str = "") -> None:
        super().__init__(f"{sentence}{quoting and f'; {quoting}'}")
        self.sentence, self.quoting = sentence, quoting


def typed_value(text: str, declared: VariableType | None, what: str) -> Value:
    """Return the value that a typed text stands for. `what` names it in sentences. Raises UnfitText."""
    try:
        match declared:
            case VariableType.STR if not text.startswith('"'):
                return text
            case VariableType.TIMESTAMP:
                return timestamp_of(text)
            case VariableType.BYTES:
                return base64.b64decode(text, validate=True)
            case _:
                return typed_json(text, what)
    except UnfitValue as problem:
        quoting = "" if _begins_as_json(text) else "in quotation marks it is text"
        raise UnfitText(str(problem), quoting) from None
    except NotJson as problem:
        if declared is VariableType.STR or not _begins_as_json(text):
            return text
        found = found_at(text, problem.position)
        raise UnfitText(
            f"{what}: expected JSON, found {found}", "to send it as text put it in quotation marks"
        ) from None
    except (ValueProblem, ValueError):
        return text


def _begins_as_json(text: str) -> bool:
    """Return True if a text begins like JSON, as a text typed without quotation marks hardly ever does."""
    return text.lstrip(" \t\r\n").startswith(("{", "[", '"'))
