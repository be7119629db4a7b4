"""What became of the weights is counted and listed, and older runs' text is still shown."""

from rubik_jax.report import origin
from rubik_jax.transfer import Row
from tests.report.test_scores import table

ROWS = [
    Row("head/kernel", "new", None, (6, 2), 0.5),
    Row("encoder/stem/kernel", "adapted", (3, 3, 3, 1, 4), (3, 3, 3, 4, 4), 1.5, "1 -> 4 channels"),
    Row("encoder/stem/bias", "loaded", (4,), (4,), 2.25),
    Row("encoder/last/bias", "loaded", (6,), (6,), 0.0),
    Row("branch/<b>", "unused", (1000, 2), None, 3.0),
]


def test_arrays_and_parameters_are_counted_by_status_and_listed(describe):
    rows = [row._asdict() for row in ROWS]
    about = {"transfer": "weights of runs/<before>:\nstatus", "transfer_rows": rows}
    html = origin.section(describe("segment") | about)
    counts, listed = html.split("<details>")
    assert table(counts)["encoder, loaded"] == ["2", "10", origin.MEANINGS["loaded"]]
    assert table(counts)["encoder, adapted"] == ["1", "432", origin.MEANINGS["adapted"]]
    assert table(counts)["head, new"] == ["1", "12", origin.MEANINGS["new"]]
    assert table(counts)["branch, unused"] == ["1", "2 k", origin.MEANINGS["unused"]]
    assert "Weights of runs/&lt;before&gt;." in counts
    found = table(listed)
    assert found["encoder/stem/kernel"] == [
        *("adapted", "3×3×3×1×4", "3×3×3×4×4", "1.5", "1 -> 4 channels")
    ]
    assert found["branch/<b>"] == ["unused", "1000×2", "–", "3", ""]
    assert "<b>" not in html


def test_an_older_run_has_its_text_and_one_from_scratch_nothing(describe):
    text = "encoder <new>\n  stage0   loaded"
    html = origin.section(describe("segment") | {"transfer": text})
    assert "encoder &lt;new&gt;\n  stage0   loaded" in html
    assert origin.section(describe("segment")) == ""
