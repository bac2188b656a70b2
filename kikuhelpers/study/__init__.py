"""A study: its settings by stage, what each stage depends on, and where its files lie."""

from kikuhelpers.study.load import PROJECT_ROOT, load_study
from kikuhelpers.study.models import LATENT_DIMENSIONS, NETWORK_INPUT_PX
from kikuhelpers.study.study import PREPROCESSED, Study, StudyError

__all__ = [
    "LATENT_DIMENSIONS",
    "NETWORK_INPUT_PX",
    "PREPROCESSED",
    "PROJECT_ROOT",
    "Study",
    "StudyError",
    "load_study",
]
