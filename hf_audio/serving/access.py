"""Access control: clients that send the token set in the environment, or everyone if none is set."""

from __future__ import annotations

import hmac
import os

from hf_audio.errors import InputError
from hf_audio.privacy import remember_token
from hf_audio.serving.refusal import RefusalError

TOKEN_VARIABLE = "HF_AUDIO_SERVE_TOKEN"
SHORTEST_TOKEN = 16


def token_of_environment() -> str | None:
    """The token that clients must send; None where none is asked for.

    Raises:
        InputError: it is set and is none that protects anything.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if token is None:
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{TOKEN_VARIABLE} is set to {len(token)} characters, expected at least {SHORTEST_TOKEN} of ASCII without "
            "spaces: make one with `openssl rand -hex 32`, or unset it"
        )
    remember_token(token)
    return token


def check_token(token: str | None, header: str | None) -> None:
    """Compares in a time that tells nothing of the token.

    Args:
        token: of the service.
        header: what the client sends as `Authorization`.

    Raises:
        RefusalError: 401.
    """
    if token is None:
        return
    scheme, _, given = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        found = "a wrong token" if header else "no token"
        sentence = (
            f"The request has {found}: send the header Authorization: Bearer TOKEN with the token of this service"
        )
        raise RefusalError(401, sentence, "token", {"WWW-Authenticate": "Bearer"})
