"""A notebook whose results are missing ends in one sentence, not in a traceback."""

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from kikuhelpers.study import PROJECT_ROOT, load_study
from kikuhelpers.study.layout import Layout


def test_a_missing_result_is_one_sentence(tmp_path):
    notebook, executed = PROJECT_ROOT / "notebooks" / "02_preprocessing.ipynb", tmp_path / "o.ipynb"
    given = {"study_name": "smoke", "scan": "wrought"}
    with pytest.raises(PapermillExecutionError):
        papermill.execute_notebook(notebook, executed, given, progress_bar=False)
    outputs = [o for cell in nbformat.read(executed, 4).cells for o in cell.get("outputs", [])]
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert said.startswith("02_preprocessing.wrought of study 'smoke': results go to ")
    assert "It needs 1 earlier result; there: none." in said
    error = next(output for output in outputs if output.output_type == "error")
    [line] = error.traceback
    assert line == (
        "MissingResultError: 01_diffraction_data.wrought has not run yet. Make it with: "
        "python -m kikuhelpers smoke 01_diffraction_data.wrought"
    )
    assert not Layout(load_study("smoke")).scan("wrought").preprocessed.exists()


def test_an_unknown_parameter_is_an_error(tmp_path):
    notebook, executed = PROJECT_ROOT / "notebooks" / "02_preprocessing.ipynb", tmp_path / "o.ipynb"
    given = {"study_name": "smoke", "scna": "wrought", "overrides": {"seed": 2}}
    with pytest.raises(PapermillExecutionError, match="has no parameter scna; it has study_name"):
        papermill.execute_notebook(notebook, executed, given, progress_bar=False)
