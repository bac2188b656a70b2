"""The examples in the docstrings of the public names do what they say."""

import doctest
import importlib

import pytest

import kikuhelpers

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", kikuhelpers.__all__)
def test_every_public_name_has_an_example_that_runs(name):
    public = getattr(kikuhelpers, name)
    names = vars(importlib.import_module(public.__module__))
    (example,) = doctest.DocTestFinder(recurse=False).find(public, name, globs=dict(names))
    assert example.examples, "an example says more than a paragraph"
    assert not doctest.DocTestRunner(optionflags=OPTIONS).run(example).failed
