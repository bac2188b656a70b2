"""A study: its settings by stage, what each stage depends on, and where its files lie."""

from kikuhelpers.study.study import (
    LATENT_DIMENSIONS,
    NETWORK_INPUT_PX,
    PROJECT_ROOT,
    STUDIES_FOLDER,
    Study,
    StudyError,
    load_study,
)

__all__ = [
    "LATENT_DIMENSIONS",
    "NETWORK_INPUT_PX",
    "PROJECT_ROOT",
    "STUDIES_FOLDER",
    "Study",
    "StudyError",
    "load_study",
]
