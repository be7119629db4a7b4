"""The cohort in figures is right, fits on a terminal, and stays short whatever is in it."""

import io

import pytest
from rich.console import Console

from rubik_jax.report import progress, survey

NASTY = "[red]case[/red]"


def facts(i=0, *, channels=2, labels=("0", "1"), **changed) -> dict:
    channel = {
        "min": -i,
        "max": 90 + i,
        "mean": 40,
        "sd": 9,
        "low": 5 + i,
        "high": 80,
        "foreground": 1,
    }
    return {
        "format": "NIfTI",
        "dtype": "int16",
        "shape": [40, 50 + i, 30],
        "spacing": [1.0, 0.5, 2.0],
        "orientation": "RAS",
        "channels": [channel] * channels,
        "labels": None if labels is None else {label: 100 * (1 + i) for label in labels},
        "digest": str(i),
    } | changed


@pytest.fixture
def shown(monkeypatch):
    """What `show` prints, in lines."""

    def printed(names, cases, *, terminal=False, reasons=(), skipped=(), estimate=()) -> list[str]:
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, highlight=False, width=80)
        console.soft_wrap = True
        monkeypatch.setattr(progress, "console", console)
        survey.show(names, cases, reasons=dict(reasons), skipped=dict(skipped), estimate=estimate)
        return out.getvalue().splitlines()

    return printed


def named(count: int) -> list[str]:
    return [f"case_{i:03d}" for i in range(count)]


def test_what_was_passed_over_is_counted_by_kind(shown):
    cases = [facts(0), facts(1, passed_over=["RS.dcm (RT Structure Set)", "L.dcm (localizer)"])]
    expected = (
        "2 files beside volumes: RT Structure Set (1), localizer (1); the first is RS.dcm "
        "(RT Structure Set)"
    )
    assert survey.summary(cases)["passed over"] == survey.passed_over(cases) == expected
    assert any("passed over" in line for line in shown(named(2), cases))
    assert survey.passed_over(cases[:1]) == ""


def test_the_figures_of_a_cohort_are_right():
    cases = [facts(i) for i in range(5)]
    cases[4] |= {"dtype": "uint8", "labels": None}
    assert survey.summary(cases) == {
        "cases": "5 of 2 modalities, 4 with a mask",
        "voxels": "40x52x30, from 40x50x30 to 40x54x30",
        "spacing, mm": "1x0.5x2 in all",
        "extent, mm": "40x26x60, from 40x25x60 to 40x27x60",
        "format": "NIfTI (5)",
        "type": "int16 (4), uint8 (1)",
        "orientation": "RAS (5)",
    }
    columns = dict(zip(survey.INTENSITIES, survey.intensities(cases)["channel 1"], strict=True))
    assert columns == {
        **{"least": "-4", "0.5 %": "7", "mean": "40", "99.5 %": "80", "most": "94"},
        "foreground": "100%",
    }


def test_labels_are_counted_over_all_masks_and_measured_in_each():
    cases = [facts(0), facts(1, labels=("0", "1", "10", "2")), facts(2, labels=None)]
    rows = survey.labels(cases)
    assert list(rows) == ["0", "1", "2", "10"]
    assert rows["1"] == ("2", "300", "30 %", "100", "150", "200")
    assert rows["10"] == ("1", "200", "20 %", "200", "200", "200")


@pytest.mark.parametrize(
    ("labels", "said"),
    [("012", "labels 0 to 2"), ("013", "labels 0, 1, 3"), ("0", "labels 0"), (None, "5 to 80")],
)
def test_a_case_in_one_line(labels, said):
    line = survey.line(facts(channels=1, labels=labels))
    assert line.startswith("40x50x30 voxels of 1x0.5x2 mm; NIfTI int16 RAS; 5 to 80")
    assert line.endswith(said)


@pytest.mark.parametrize("terminal", [False, True])
def test_all_fits_on_a_terminal_and_says_each_thing_once(shown, terminal):
    names = named(200)
    reasons = {names[7]: ["voxels of 1x1x5 mm; the others 1x1x1", "no label 2"], NASTY: ["x " * 90]}
    lines = shown(
        [*names[:-1], NASTY],
        [facts(i % 3, channels=4, labels=map(str, range(40))) for i in range(200)],
        terminal=terminal,
        reasons=reasons,
        skipped={f"{NASTY}{i}": f"{NASTY} is a folder" for i in range(30)},
        estimate=["180 MiB", "2 minutes"],
    )
    text = "\n".join(lines)
    if not terminal:
        assert "\x1b" not in text
        assert max(map(len, lines)) <= 80
    assert len(lines) < 100
    for said in ("2 of 200 cases stand apart:", "1x1x5 mm; the others", f"{NASTY} is a folder"):
        assert said in text
    assert text.index(names[7]) < text.index(f"{names[0]} ")
    assert text.count("no label 2") == 1
    assert "… and 20 more" in text  # of the skipped
    assert "… 20 more" in text  # of the labels
    assert lines[-2:] == ["180 MiB", "2 minutes"]


def test_a_modality_is_called_as_its_glob_is(shown):
    globs = ["T1/[a-c]*.nii", NASTY]
    case = facts()
    case["channels"] = [case["channels"][0] | {"name": glob} for glob in globs]
    text = "\n".join(shown(["a"], [case]))
    assert all(name in text for name in globs)


def test_many_that_stand_apart_are_cut_short(shown):
    names = named(50)
    lines = shown(
        names, [facts(i) for i in range(50)], reasons={name: [f"odd {name}"] for name in names}
    )
    assert sum("odd" in line for line in lines) == survey.WORST
    assert "… and 40 more, in data_report.html, which preparing writes" in lines


def test_one_reason_of_many_cases_is_said_once(shown):
    cases = {name: ["the mask is 0 everywhere"] for name in named(40)} | {"x": ["odd"]}
    lines = shown([*cases], [facts(i) for i in range(41)], reasons=cases)
    assert sum("the mask is 0" in line for line in lines) == 1
    assert any("likewise case_001, case_002, case_003 and 36 more" in line for line in lines)
    assert any(line.startswith("x") and "odd" in line for line in lines)
    assert not any("… and" in line for line in lines)


def test_of_a_case_with_many_reasons_the_gravest_are_said(shown):
    lines = shown(["a", "b"], [facts(0), facts(1)], reasons={"a": [f"odd {i}" for i in range(9)]})
    assert [line.strip() for line in lines if "odd" in line] == ["a  odd 0", "odd 1", "odd 2"]
    assert any("and 6 more" in line for line in lines)


@pytest.mark.parametrize("labels", [None, "01"])
def test_a_sound_cohort_says_so_and_has_a_table_of_labels_if_there_are_any(shown, labels):
    text = "\n".join(shown(named(2), [facts(i, labels=labels) for i in range(2)]))
    assert "No case stands apart from the others." in text
    assert "can't be used" not in text
    assert ("mm³" in text) == (labels is not None)


def test_a_cohort_of_which_nothing_is_left_shows_why(shown):
    text = "\n".join(shown([], [], skipped={"a": "damaged"}))
    assert "1 case can't be used:" in text
    assert "damaged" in text
