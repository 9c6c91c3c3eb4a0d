"""Serve trained models over HTTP: labels, timelines and embeddings of recordings that clients send.

    hf-audio serve --model runs/cnn_folder
    curl --data-binary @recording.wav http://127.0.0.1:8000/v1/audio-classification

    hf-audio serve --model instruments=someone/ast-irmas --model birds=runs/cnn --port 8080
    curl --data-binary @recording.wav "http://127.0.0.1:8080/v1/audio-classification?model=birds&timeline=true"

If the environment variable HF_AUDIO_SERVE_TOKEN is set, clients must send it as a bearer token. Private models are
downloaded with HF_TOKEN. /docs shows all routes and settings, /metrics has metrics for Prometheus. On SIGTERM, the
service finishes open requests and exits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields

from hf_audio.commands._parser import parser_of
from hf_audio.errors import InputError


def main(argv: Sequence[str]) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
        InputError: the extra is missing, a limit, token or model is invalid, or the address cannot be used.
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

        of_transformers.disable_progress_bar()  # the log is lines of JSON
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
        help="Run folder or Hub name, optionally with a name for clients. Repeat it for more models; the first is the "
        "default.",
    )
    found.add_argument("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
    found.add_argument("--port", type=int, default=8000, help="Port to listen on; 0 picks a free one and logs it.")
    found.add_argument("--device", help="cpu, cuda, cuda:1 and so on. Default: the GPU if there is one.")
    found.add_argument("--bf16", action="store_true", help="Compute in bfloat16.")
    found.add_argument(
        "--workers",
        type=int,
        help="Threads per model. Default: one per core, or one on a GPU. With 1, all cores work on the same batch, "
        "which suits large models and few clients.",
    )
    limits = found.add_argument_group("limits", "Requests beyond a limit are refused with an error message.")
    limits.add_argument("--max_mb", type=float, default=64.0, help="Maximum size of a recording in MiB.")
    limits.add_argument("--max_duration_s", type=float, default=600.0, help="Maximum duration of a recording in s.")
    limits.add_argument("--max_request_s", type=float, default=30.0, help="Maximum time per request in s.")
    limits.add_argument("--max_requests", type=int, default=64, help="Maximum open requests; more get status 429.")
    limits.add_argument("--max_windows", type=int, default=2048, help="Maximum windows waiting for a model.")
    limits.add_argument("--batch_size", type=int, help="Windows per batch. Default: 8 on a CPU, 32 on a GPU.")
    limits.add_argument(
        "--no_batching", dest="batching", action="store_false", help="Do not batch windows of different requests."
    )
    return found
