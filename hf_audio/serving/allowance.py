"""Limits of the service: size and length of requests, how many at once, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hf_audio.errors import InputError

MB = 1 << 20


@dataclass(frozen=True)
class Allowance:
    """Limits of every request. The values are validated on construction.

    Attributes:
        max_mb: maximum size of a recording as sent, in MB (2**20 bytes).
        max_duration_s: maximum duration of a recording, by its header and after decoding.
        max_request_s: maximum time from the first byte to the answer, including the time to read the body.
        max_requests: maximum number of open requests; more are refused with 429.
        batch_size: maximum number of windows per forward pass; the default depends on the device.
        batching: whether windows of several requests share a forward pass.
        workers: threads that run each model; the default depends on the device.
        max_windows: maximum number of windows, over all recordings, that wait for the model; more are refused with 429.
    """

    max_mb: float = 64.0
    max_duration_s: float = 600.0
    max_request_s: float = 30.0
    max_requests: int = 64
    batch_size: int | None = None
    batching: bool = True
    workers: int | None = None
    max_windows: int = 2048

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and one.type != "bool" and not 0 < value < 1e9:
                raise InputError(f"--{one.name} must be above 0 and below a billion, found {value}")

    @property
    def max_bytes(self) -> int:
        """Maximum size of a recording in bytes."""
        return int(self.max_mb * MB)

    @property
    def max_json_bytes(self) -> int:
        """Maximum size of a JSON body in bytes: a recording in base64, and its parameters."""
        return self.max_bytes * 4 // 3 + 64 * 1024

    @property
    def max_form_bytes(self) -> int:
        """Maximum size in bytes of a form with a recording."""
        return self.max_bytes + 64 * 1024
