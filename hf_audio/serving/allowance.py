"""Limits of the service: size and length of requests, how many at once, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hf_audio.errors import InputError

MB = 1 << 20


@dataclass(frozen=True)
class Allowance:
    """Limits of every request; each is checked when it is made.

    Attributes:
        max_mb: megabytes (2**20 bytes) of a recording as it is sent.
        max_duration_s: seconds of its sound, by its header and once it is decoded.
        max_request_s: seconds from the first byte to the answer; reading the body counts.
        max_requests: requests that are read, decoded or waited for at once; the next one is refused with 429.
        batch_size: windows of one forward pass, of one request or several; None leaves it to the device.
        batching: whether windows of several requests share a forward pass.
        workers: threads that run each model; None leaves it to the device.
        max_windows: windows of all recordings that wait for the model; what would be more is refused with 429.
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
        """Bytes of a recording."""
        return int(self.max_mb * MB)

    @property
    def max_json_bytes(self) -> int:
        """Bytes of a recording in base64, and its parameters."""
        return self.max_bytes * 4 // 3 + 64 * 1024

    @property
    def max_form_bytes(self) -> int:
        """Bytes of a form with a recording in it."""
        return self.max_bytes + 64 * 1024
