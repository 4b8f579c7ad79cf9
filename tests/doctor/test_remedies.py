"""Every automatic remedy of a check cures its sick example: the check is silent, and the validation loss is lower."""

import pytest

from descend.catalog import CHECKS
from descend.curing._arm import changes, in_words, judged, measure
from descend.doctor._check import Check, Finding
from descend.doctor._judge import diagnose
from descend.run import Run
from descend.train.fit import fit

RECIPES = [name for name in CHECKS if CHECKS[name].sick.fault is None]
"""Checks whose sick example a recipe describes; of a loop with a bug in it only the user can change the code."""


def look(check: str, run: Run) -> Finding | None:
    """What a check finds in a run, as a cause or as a symptom of nothing else: it is the only one that looks."""
    diagnosis = diagnose(run, checks=[check])
    assert not diagnosis.failed
    return diagnosis.findings[0] if diagnosis.findings else None


@pytest.mark.parametrize("name", RECIPES)
def test_every_automatic_remedy_silences_the_check_and_lowers_the_validation_loss(name, tmp_path):
    check: Check = CHECKS[name]
    recipe = check.sick.recipe
    sick = fit(recipe, runs=tmp_path)
    finding = look(name, sick)
    assert finding is not None, "the sick example does not show the problem"
    treatments = [remedy.change(recipe) for remedy in finding.remedies if remedy.change]
    assert treatments, "a problem of a recipe has a remedy for the recipe"
    for treated in treatments:
        what = in_words(changes(recipe, treated))
        assert what, "a remedy changes something"
        cured = fit(treated, runs=tmp_path)
        assert look(name, cured) is None, f"{what} does not silence the check"
        by = measure(recipe, treated, sick)
        assert by is not None, f"{what} changes the rows that it is judged by"
        assert judged(cured, by) < judged(sick, by), f"{what} does not help"
