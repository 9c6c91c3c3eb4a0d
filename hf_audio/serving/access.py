"""Access control: for clients that send the token set in the environment, or for everyone if none is set."""

from __future__ import annotations

import hmac
import os

from hf_audio.errors import InputError
from hf_audio.privacy import remember_token
from hf_audio.serving.refusal import RefusalError

TOKEN_VARIABLE = "HF_AUDIO_SERVE_TOKEN"
MIN_TOKEN_CHARS = 16


def token_of_environment() -> str | None:
    """The token that clients must send; None if no token is required.

    Raises:
        InputError: the token is too short or contains characters that are not allowed.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if token is None:
        return None
    if len(token) < MIN_TOKEN_CHARS or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{TOKEN_VARIABLE} has {len(token)} characters, expected at least {MIN_TOKEN_CHARS} ASCII characters "
            "without spaces: make a token with `openssl rand -hex 32`, or unset the variable"
        )
    remember_token(token)
    return token


def check_token(token: str | None, header: str | None) -> None:
    """Compares the client's token in constant time.

    Args:
        token: the token of the service, if it requires one.
        header: the client's `Authorization` header.

    Raises:
        RefusalError: 401, the token is missing or wrong.
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
