"""Two views of each volume, and a table in which the most similar are bold."""

import re

import numpy as np

from rubik_jax.report import views


def test_both_views_of_each_volume_are_shown_and_the_best_of_a_row_is_bold(read):
    shown = np.random.default_rng(0).uniform(-1, 1, (2, 3, 6, 8, 5, 1))
    cosines = np.array([[0.9, 0.1, -0.5], [0.25, 0.5, 0.75], [0.0, 0.1, 0.2]])
    html = views.section({"views": shown, "similarity": cosines}, {})
    assert html.count("<svg") == 3
    assert re.findall(r"<b>(.*?)</b>", html) == ["0.90", "0.75", "0.20"]
    assert "0 / 0.45" not in html and "246 / 0.45" in html  # half of 0.9
    assert "246 / 0.00" in html  # what points away isn't coloured
    picture = read(views.draw(*shown[:, 0]))
    assert len(picture.all("image")) == 6
    assert picture.texts.count("first view") == picture.texts.count("second") == 3
