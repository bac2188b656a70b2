"""The package's face, and the examples in the docstrings of its public names."""

import doctest
import importlib
import inspect
import subprocess
import sys

import pytest

import kikuhelpers

WITH_EXAMPLES = ["kikuhelpers.study.load", "kikuhelpers.study.stages"]


def failures(*tests: doctest.DocTest) -> str:
    """Run examples; return what went wrong, as doctest tells it."""
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in tests:
        runner.run(test, out=said.append, clear_globs=False)
    return "".join(said) if runner.failures else ""


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_a_module(name):
    module = importlib.import_module(name)
    tests = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert tests
    assert not failures(*tests)


@pytest.mark.parametrize("name", kikuhelpers.__all__)
def test_examples_of_a_public_name(name, tmp_path, monkeypatch):
    """Each public name says in its docstring what it is, and its example is true."""
    monkeypatch.chdir(tmp_path)
    value = getattr(kikuhelpers, name)
    assert inspect.getdoc(value), "a public name has a docstring"
    module = importlib.import_module(value.__module__)
    found = doctest.DocTestFinder(recurse=False).find(value, name, module=module)
    tests = [test for test in found if test.examples]
    assert tests, f"{name} has no example"
    assert not failures(*tests)


def test_public_names_are_few_and_found():
    assert 8 <= len(kikuhelpers.__all__) <= 12
    assert set(kikuhelpers.__all__) <= set(dir(kikuhelpers))
    with pytest.raises(AttributeError, match="it has load_study"):
        kikuhelpers.lode_study  # noqa: B018 -- the name is what is tested


def test_the_face_is_light():
    code = "import sys, kikuhelpers; kikuhelpers.load_study; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
