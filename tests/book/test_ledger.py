"""The claims hold, the texts show what they claim, and the page of the ledger says both."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from book.figures import FOLDER, figures, same_drawing, save
from book.ledger import Experiment, above, bands, below, between, exactly, experiments, near
from book.page import PAGE, page
from book.text import bare, documents, prose_of, quotes, shown, source, stale

DOCUMENTS = [pytest.param(chapter, path, id=path.name) for chapter, path in documents()]

every_document = pytest.mark.parametrize(("chapter", "path"), DOCUMENTS)


@pytest.mark.parametrize("experiment", [one for one in experiments() if not one.slow], ids=lambda one: one.name)
def test_the_claim_holds(experiment: Experiment) -> None:
    torch.set_num_threads(1)
    measured = experiment.run()
    outside = [
        f"{name}: claimed {band.words}, measured {measured[name]:.6g}"
        for name, band in experiment.claims.items()
        if measured[name] not in band
    ]
    assert outside == []
    assert stale(measured, experiment.claims) == []


@every_document
def test_every_number_that_a_text_shows_is_a_claim_and_within_its_band(chapter: str, path: object) -> None:
    ledger = bands()
    for text in prose_of(path):
        for one in shown(text, chapter):
            assert one.claim in ledger, f"{one.number} is marked as {one.claim}, which nothing measures"
            band = ledger[one.claim]
            overlap = one.value - one.half_digit <= band.high and one.value + one.half_digit >= band.low
            assert overlap, f"{one.claim}: {one.number} is not {band.words}"


@every_document
def test_no_number_stands_without_a_claim(chapter: str, path: object) -> None:
    assert [place for text in prose_of(path) for place in bare(text)] == []


@every_document
def test_quoted_code_is_the_code_of_descend(chapter: str, path: object) -> None:
    for text in prose_of(path):
        for name, code in quotes(text):
            assert code == source(name)


def test_every_claim_is_shown_somewhere() -> None:
    there = {one.claim for chapter, path in documents() for text in prose_of(path) for one in shown(text, chapter)}
    assert bands().keys() - there == set()


def test_the_page_of_the_ledger_is_what_ledger_and_texts_say() -> None:
    """So no band can be changed in passing: the change shows twice, and here."""
    assert PAGE.read_text(encoding="utf-8") == page(), "renew it: python -m book claims --write"


@pytest.mark.parametrize("name", figures())
def test_the_committed_figure_is_what_its_code_draws(name: str, tmp_path: object) -> None:
    torch.set_num_threads(1)
    drawn = save(name, tmp_path).read_text(encoding="utf-8")
    assert same_drawing(drawn, (FOLDER / f"{name}.svg").read_text(encoding="utf-8")), "python -m book figures"


def test_every_committed_figure_is_drawn_by_code_and_shown_in_a_text() -> None:
    committed = {path.stem for path in FOLDER.glob("*.svg")}
    texts = "".join(text for _, path in documents() for text in prose_of(path))
    assert committed == set(figures())
    assert {name for name in committed if f"figures/{name}.svg" not in texts} == set()


def test_a_shifted_point_is_another_drawing_and_a_renamed_clip_is_not() -> None:
    drawing = '<path id="p1a2b3c4d5e" d="M 10 20 L 30 40"/>'
    assert same_drawing(drawing, drawing.replace("p1a2b3c4d5e", "pffb3c4d5e1"))
    assert same_drawing(drawing, drawing.replace("30", "30.4"))
    assert not same_drawing(drawing, drawing.replace("30", "33"))
    assert not same_drawing(drawing, drawing.replace("L", "M"))
    coloured = drawing.replace("<path", '<path stroke="#6e7681"')
    assert same_drawing(coloured, coloured)
    assert not same_drawing(coloured, coloured.replace("6e7681", "6e7682"))


def test_an_image_with_many_other_pixels_is_another_drawing_and_one_with_a_few_is_not() -> None:
    def drawing(flipped: int, shade: int = 0) -> str:
        pixels = np.full((20, 30, 4), 200, dtype=np.uint8)
        pixels.reshape(-1, 4)[:flipped, 0] = 100
        pixels[..., 1] += np.uint8(shade)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="png")
        return f'<image xlink:href="data:image/png;base64,\n{base64.b64encode(file.getvalue()).decode()}"/>'

    assert same_drawing(drawing(0), drawing(6))
    assert same_drawing(drawing(0), drawing(0, shade=5))
    assert not same_drawing(drawing(0), drawing(7))
    assert not same_drawing(drawing(0), drawing(0, shade=20))
    assert not same_drawing(drawing(0), "<image/>")


def test_bands_hold_what_they_say() -> None:
    assert 1.01 in near(1.0, rel=0.01)
    assert 1.02 not in near(1.0, rel=0.01)
    assert 5.0 in exactly(5)
    assert math.nextafter(5, 6) not in exactly(5)
    assert 3.0 not in between(1, 2)
    assert 1e-11 in below(1e-10)
    assert math.inf not in below(1e-10)
    assert math.nan not in above(0.5)
