"""Serve trained models over HTTP: labels, timelines and embeddings of recordings that clients send.

    hf-audio serve --model runs/cnn_folder
    curl --data-binary @recording.wav http://127.0.0.1:8000/v1/audio-classification

    hf-audio serve --model instruments=someone/ast-irmas --model birds=runs/cnn --port 8080
    curl --data-binary @recording.wav "http://127.0.0.1:8080/v1/audio-classification?model=birds&timeline=true"

Clients must send the token that the environment variable HF_AUDIO_SERVE_TOKEN holds, where it is set. Private models
are fetched with HF_TOKEN. /docs shows all routes and settings, /metrics has numbers for Prometheus. SIGTERM ends it
after the requests that it has.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields

from hf_audio.commands._parser import parser_of
from hf_audio.errors import InputError


def main(argv: Sequence[str]) -> None:
    """Serves until it is told to end.

    Raises:
        InputError: the extra is missing, a limit, token or model cannot be used, or nothing can listen there.
    """
    from hf_audio.serving.access import token_of_environment
    from hf_audio.serving.address import listening
    from hf_audio.serving.allowance import Allowance

    given = _parser().parse_args(argv)
    allowance = Allowance(**{one.name: getattr(given, one.name) for one in fields(Allowance)})
    token = token_of_environment()
    with listening(given.host, given.port) as own_socket:
        try:
            from hf_audio.serving.metrics import Metrics
            from hf_audio.serving.served_models import load_models
            from hf_audio.serving.server import serve
            from hf_audio.serving.service import Service
        except ModuleNotFoundError as error:
            raise InputError(f'`hf-audio serve` needs {error.name}: pip install "hf_audio[serve]"') from error
        from transformers.utils import logging as of_transformers

        of_transformers.disable_progress_bar()  # of weights: the log is lines of JSON
        metrics = Metrics()
        models = load_models(given.model, allowance, metrics, device=given.device, bf16=given.bf16)
        serve(Service(models, allowance, metrics), own_socket, token)


def _parser() -> argparse.ArgumentParser:
    found = parser_of("serve", __doc__)
    found.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="[NAME=]MODEL",
        help="a folder or a name on the Hub, with a name for clients in front; give it again for more models, the "
        "first is what clients get who name none",
    )
    found.add_argument("--host", default="127.0.0.1", help="where it listens; 0.0.0.0 is everywhere (%(default)s)")
    found.add_argument("--port", type=int, default=8000, help="0 takes a free one, which the log names (%(default)s)")
    found.add_argument("--device", help="such as cuda:1; by default the accelerator where there is one")
    found.add_argument("--bf16", action="store_true", help="compute in bfloat16 where that is safe")
    found.add_argument(
        "--workers",
        type=int,
        help="threads that run each model, which share the cores; by default one for each core, and one on an "
        "accelerator. With 1, all cores work on one batch: for large models and few clients",
    )
    limits = found.add_argument_group("limits", "what a request may be; what is more is refused with one sentence")
    limits.add_argument("--max_mb", type=float, default=64.0, help="of a recording, in 2**20 bytes (%(default)g)")
    limits.add_argument("--max_duration_s", type=float, default=600.0, help="of its sound (%(default)g)")
    limits.add_argument("--max_request_s", type=float, default=30.0, help="from its start to its answer (%(default)g)")
    limits.add_argument("--max_requests", type=int, default=64, help="at once; the next gets 429 (%(default)s)")
    limits.add_argument("--max_windows", type=int, default=2048, help="that wait for a model (%(default)s)")
    limits.add_argument("--batch_size", type=int, help="windows of a forward pass (8 on CPUs, else 32)")
    limits.add_argument(
        "--no_batching", dest="batching", action="store_false", help="never windows of two requests in a forward pass"
    )
    return found
