"""Which SLO class a prompt belongs to."""

import re
from typing import Literal

SloClass = Literal["code", "chat"]

_CODE = re.compile(
    r"```|\b(?:python|javascript|typescript|java|kotlin|swift|golang|rust|php|perl|matlab"
    r"|html|css|sql|mysql|postgres|mongodb|bash|powershell|regex|json|yaml|xml"
    r"|react|angular|vue|django|flask|laravel|node\.?js|numpy|pandas|pytorch|tensorflow"
    r"|docker|kubernetes|github|git|api|code|coding|script|function|compiler|algorithm"
    r"|programming|debug|vba|arduino|solidity|unit tests?|stack trace)\b|c\+\+|\bc#",
    re.IGNORECASE,
)
_READ_CHARACTERS = 20_000


def slo_class(prompt: str) -> SloClass:
    """``code`` when the prompt holds a fenced block or a programming word, else ``chat``.

    Only the first 20,000 characters are read.
    """
    return "code" if _CODE.search(prompt, 0, _READ_CHARACTERS) else "chat"
