"""Puts a timeline into one HTML file: the data of `recording`, the style and the scripts of this folder.

The page has a lane for each thread, a list of the events, and the details of one of them.

The scripts are modules of JavaScript with types in their comments, so that editors and `tsc` read them as they are.
Here they become one script: each `import` of a sibling and each `export` is taken out, so no two modules may give the
same name to something. The page's Content-Security-Policy allows this one script and this one style, by their hashes,
and nothing else: no request, no form, no frame, and no HTML made of text.
"""

import base64
import hashlib
import html as markup
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MODULES: Final = ("dom", "json_text", "model", "lanes", "legend", "event_list", "details", "stepper", "main")
"""The modules, each after those that it imports."""
STYLES: Final = ("palette", "timeline")

_FOLDER: Final = Path(__file__).parent
_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)


def html(data: Mapping[str, Any]) -> str:
    """The page for the data of a recording."""
    style, code = "\n".join(_text(f"{name}.css") for name in STYLES), script()
    policy = (
        f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    parts = {
        "policy": markup.escape(policy),
        "title": markup.escape(f"{data['wfRun']}: timeline"),
        "style": style,
        "body": body(),
        "data": embedded(data),
        "script": code,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _text("page.html"))


def body() -> str:
    """The elements that a Stepper fills (stepper.js): of this page, and of any other with a timeline in it."""
    return _text("body.html")


def script() -> str:
    """All modules as one script."""
    texts = (_text(f"{name}.js") for name in MODULES)
    joined = "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in texts)
    assert "</script" not in joined.lower(), "the script of the page would end inside it"
    return joined


def embedded(data: Any) -> str:
    """Data as JSON that no HTML parser takes for markup: `<`, `>`, `&` and all that is not ASCII are escaped."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
