"""Runs the code blocks of cards exactly as printed, without hf_audio, in any environment.

    python tests/run_card_code.py CARDS_JSON

CARDS_JSON contains {name: {place: [code, ...]}}. The output of each block and its variables `scores` and `logits` are
written to found.json next to it. This program imports only the standard library.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path


def plain(value):
    """Tensors, arrays and lists as lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def run(code: str) -> dict:
    """Output and variables of one block."""
    printed, variables = io.StringIO(), {"__name__": "card"}
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "card", "exec"), variables)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return {"error": f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"}
    kept = {name: plain(variables[name]) for name in ("scores", "logits") if name in variables}
    return {"printed": printed.getvalue(), **kept}


def main(path: Path) -> None:
    cards = json.loads(path.read_text())
    found = {
        name: {place: [run(code) for code in blocks] for place, blocks in places.items()}
        for name, places in cards.items()
    }
    path.with_name("found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    try:
        import hf_audio  # noqa: F401
    except ImportError:
        main(Path(sys.argv[1]))
    else:
        sys.exit("hf_audio can be imported here, so nothing would be shown")
