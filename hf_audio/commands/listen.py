"""Listen to the microphone with a trained model: bars in the terminal, a few times a second.

    hf-audio listen --model someone/ast-irmas
    hf-audio listen --model runs/cnn_folder --window_s 1 --hop_s 0.1 --top_k 3
    hf-audio listen --model M --file song.wav                   play a recording in real time
    hf-audio listen --model M --format jsonl > heard.jsonl      one line per window

Every hop, the model scores the most recent window. If it cannot keep up, hops are skipped, and the output says so.
Ctrl-C stops it. The microphone needs pip install "hf_audio[listen]", and on Linux libportaudio2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hf_audio.commands._parser import parser_of
from hf_audio.commands._recordings import add_model, tagger_of
from hf_audio.errors import InputError, printable

if TYPE_CHECKING:
    from hf_audio.tagging.listening import Heard

HOP_S = 0.1
UP, CLEAR = "\x1b[{}A", "\x1b[2K"


def main(argv: Sequence[str]) -> int:
    """Listens until the sound ends or the user stops it."""
    given = _parser().parse_args(argv)
    if given.file and given.microphone:
        raise InputError("--file replaces the microphone: remove one of the two flags")

    from hf_audio.tagging.listening import file_in_real_time, listen, microphone

    tagger = tagger_of(given)
    settings = tagger.settings(window_s=given.window_s, hop_s=given.hop_s, top_k=given.top_k or None)
    device = int(given.microphone) if given.microphone and given.microphone.isdigit() else given.microphone
    incoming = file_in_real_time(given.file) if given.file else microphone(tagger.predictor.is_stereo, device)
    lines = 0
    for heard in listen(tagger, settings, incoming):
        if given.format == "jsonl":
            sys.stdout.write(json.dumps(heard._asdict(), ensure_ascii=False) + "\n")
        else:
            lines = _draw(heard, lines)
        sys.stdout.flush()
    return 0


def _draw(heard: Heard, lines: int) -> int:
    """Draws bars over the previous ones, which have `lines` lines; returns the new number of lines."""
    from hf_audio.tagging.formats import bar

    hops = "hop" if heard.num_skipped == 1 else "hops"
    skipped = f", {heard.num_skipped} {hops} skipped" if heard.num_skipped else ""
    drawn = [f"{heard.time_s:8.1f} s  {1000 * heard.behind_s:.0f} ms latency{skipped}"]
    drawn += [f"  {score:.3f} {bar(score)} {printable(label)}" for label, score in heard.scores.items()]
    back = UP.format(lines) if lines and sys.stdout.isatty() else ""
    clear = CLEAR if sys.stdout.isatty() else ""
    sys.stdout.write(back + "".join(f"{clear}{line}\n" for line in drawn))
    return len(drawn)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("listen", __doc__)
    add_model(parser)
    add = parser.add_argument
    add("--microphone", help="Number or name of the input device (see python -m sounddevice). Default: the system's.")
    add("--file", help="Play a recording in real time instead of using the microphone.")
    add("--window_s", type=float, help="Length of a window in seconds. Default: the model's.")
    add("--hop_s", type=float, default=HOP_S, help="Seconds between windows.")
    add("--top_k", type=int, default=5, help="Labels to show, 0 for all.")
    add("--format", choices=("bars", "jsonl"), default="bars", help="What to print.")
    return parser
