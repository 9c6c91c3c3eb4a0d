"""Every public name of hf_audio, with its docstring, in groups by the package it lives in."""

from __future__ import annotations

import inspect

import hf_audio

# Packages and modules of hf_audio by the heading they stand under
HEADINGS = {
    "Use a model": ("tagging", "predictor"),
    "Run a recipe": ("workflows", "stages", "parsing"),
    "Settings": ("config",),
    "Recordings and labels": ("data", "corpora", "audit"),
    "Features": ("preparation", "kinds", "extractors"),
    "Models and training": ("models", "augment", "training", "classical_models", "losses"),
    "Evaluation": ("analysis", "judging", "explaining", "leakage", "label_quality"),
    "Publishing": ("publishing",),
    "Errors": ("errors",),
}
# Classes whose fields are flags, which the page of flags explains
AS_FLAGS = "Each field is a flag: see [all flags](flags.md)."


def api_reference() -> str:
    """Markdown with a directive of autodoc for each public name.

    Raises:
        KeyError: a name lives in a package that HEADINGS does not have.
    """
    heading_of = {package: heading for heading, packages in HEADINGS.items() for package in packages}
    groups: dict[str, list[str]] = {heading: [] for heading in HEADINGS}
    for name in hf_audio.__all__:
        package = getattr(hf_audio, name).__module__.split(".")[1]
        groups[heading_of[package]].append(name)
    parts = []
    for heading, names in groups.items():
        parts += [f"## {heading}"] if names else []
        parts += [AS_FLAGS] if heading == "Settings" else []
        parts += [_directive(name, heading) for name in names]
    return "\n\n".join(parts)


def _directive(name: str, heading: str) -> str:
    if not inspect.isclass(getattr(hf_audio, name)):
        return f"```{{eval-rst}}\n.. autofunction:: hf_audio.{name}\n```"
    members = "" if heading in ("Settings", "Errors") else "   :members:\n"
    return f"```{{eval-rst}}\n.. autoclass:: hf_audio.{name}\n{members}```"
