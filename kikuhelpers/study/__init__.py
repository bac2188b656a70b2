"""A study: its settings by stage, what each stage depends on, and where its files lie."""

import importlib

# Public name: the module that holds it, imported when the name is first used.
_PUBLIC = {"load_study": "load", "PROJECT_ROOT": "load"}
_PUBLIC |= dict.fromkeys(["PREPROCESSED", "Study", "StudyError"], "study")
_PUBLIC |= dict.fromkeys(["LATENT_DIMENSIONS", "NETWORK_INPUT_PX"], "sizes")


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"kikuhelpers.study has no '{name}'; it has {', '.join(_PUBLIC)}.")
    return getattr(importlib.import_module(f"kikuhelpers.study.{_PUBLIC[name]}"), name)
