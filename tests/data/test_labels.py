"""Classes come from a table or from folders, every case gets its own, and misfits are refused."""

from pathlib import Path

import pytest

from rubik_jax.data import labels
from rubik_jax.data.cases import Case
from rubik_jax.errors import UserError


@pytest.fixture
def attach(tmp_path):
    """Attaches what a table says to cases `a`, `b`, ... below tmp_path."""

    def attach_(content, names="ab", knob="classes.csv", path=tmp_path):
        if content is not None:
            (tmp_path / "classes.csv").write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        cases = [Case(name, (tmp_path / f"{name}.nii.gz",)) for name in names]
        return [case.target for case in labels.attach(cases, knob, path)]

    return attach_


@pytest.mark.parametrize(
    "content",
    [
        "case,class\na,x\nb,y\n",
        "Case;Class\nb;y\na;x\n",
        "age\tCLASS\tcase\n7\tx\ta\n8\ty\tb",
        "\ufeffcase,class\r\n a , x \r\n\r\nb,y\r\n",
        'case,class,remark\na.nii.gz,"x","1, 2; 3"\nb.nrrd, "y",\n',
        '\n\n"case"|"note"|"class"\n"a"|"two\nlines"|"x"\n"b"||"y"||\n',
        "case,class\ra,x\rb,y\r",
    ],
)
def test_a_table_of_any_dialect_gives_each_case_its_class(attach, content):
    assert attach(content) == ["x", "y"]


def test_names_and_classes_match_however_their_unicode_is_composed(attach):
    decomposed = "case,class\nZoe\u0308 Q ,gro\u0308\u00dfer\n"
    assert attach(decomposed, names=["Zo\u00eb Q"]) == ["gr\u00f6\u00dfer"]


def test_a_case_without_a_row_or_a_class_has_none(attach):
    assert attach("case,class\na,\nc,x\n", names="abc") == [None, None, "x"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["1", "1.0", "0", "0.0"], ["1", "1", "0", "0"]),
        (["1.0", "0.0", "1.00", "-0"], ["1", "0", "1", "0"]),
        (["10", "1e1", "2,50", "2.5"], ["10", "10", "2.5", "2.5"]),
        (["01", "02", "03", "01"], ["01", "02", "03", "01"]),
        (["01", "1.0", "02", "3"], ["1", "1", "02", "3"]),
        (["1", "1.0", "ill", "1"], ["1", "1", "ill", "1"]),
        (["1", "", "1.0", "NaN"], ["1", None, "1", None]),
    ],
)
def test_a_number_is_one_class_however_it_is_written(attach, written, expected):
    rows = "".join(f"{case};{value}\n" for case, value in zip("abcd", written, strict=True))
    assert attach(f"case;class\n{rows}", names="abcd") == expected


def noted(cases, *where):
    return labels.note(labels.attach(cases, *where), *where)


@pytest.mark.parametrize("value", ["", "NaN", "nan", "None", "NA", "N/A", "null", "#N/A", " NaN "])
def test_what_is_missing_is_no_class_and_named(attach, tmp_path, value):
    assert attach(f"case,class\na,{value}\nb,none\n") == [None, "none"]
    cases = [Case(name, (tmp_path / name,)) for name in "abc"]
    note = noted(cases, "classes.csv", tmp_path)
    what = repr(value.strip()) if value.strip() else "empty"
    assert note.endswith(f"classes.csv gives 2 of 3 cases no class: {what} (a), no row (c)")


def test_a_note_names_the_first_of_many(tmp_path):
    cases = [Case(f"c{i}", (tmp_path / f"{i}",)) for i in range(9)]
    (tmp_path / "t.csv").write_text("case,class\nc0,x\n")
    note = noted(cases, "t.csv", tmp_path)
    assert note.endswith("8 of 9 cases no class: no row (c1, c2, c3, c4, c5 and 3 more)")


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=;;;", "\ufeffsep=;"])
def test_the_separator_that_a_spreadsheet_names_is_obeyed(attach, first):
    assert attach(f"{first}\r\ncase;class\r\na;x, y\r\nb;z;\r\n;;\r\n") == ["x, y", "z"]
    assert attach("sep=\t\ncase\tclass\na\tx\nb\ty") == ["x", "y"]
    assert attach("sep=^\ncase^class\na^x\nb^y") == ["x", "y"]
    with pytest.raises(UserError, match="case 'a' twice, in rows 3 and 4"):
        attach("sep=,\ncase,class\na,x\na,y\n")


def test_the_table_may_lie_elsewhere_or_beside_a_single_file(attach, tmp_path):
    table = tmp_path / "elsewhere" / "t.tsv"
    table.parent.mkdir()
    table.write_text("case\tclass\na\tx\nb\ty\n")
    assert attach(None, knob=str(table), path="nowhere") == ["x", "y"]
    (tmp_path / "a.nii.gz").touch()
    assert attach("case,class\na,x\n", names="a", path=tmp_path / "a.nii.gz") == ["x"]


def test_a_case_of_several_files_may_be_listed_by_each(tmp_path):
    def classes(*rows):
        (tmp_path / "classes.csv").write_text("\n".join(["case,class", *rows]))
        files = {name: [tmp_path / f"{name}_{k}.nii.gz" for k in ("ed", "es")] for name in "ab"}
        cases = [Case(name, tuple(of)) for name, of in files.items()]
        return [case.target for case in labels.attach(cases, "classes.csv", tmp_path)]

    assert classes("a_ed,x", "a_es,x", "b_ed.nii.gz,y") == ["x", "y"]
    with pytest.raises(UserError, match=r"gives case 'a' the classes 'x' and 'y' by its files"):
        classes("a_ed,x", "a_es,y", "b,y")
    with pytest.raises(UserError, match="lists case 'c_ed', which has no files"):
        classes("a,x", "b,y", "c_ed,y")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"config\.data\.labels is .*classes\.csv, which cannot be read: No such file"),
        ("case,class\na,x\nb,y\n".encode("utf-16"), "no text in UTF-8 but in UTF-16"),
        ("case,class\na,x\nb,größer\n".encode("cp1252"), "whose line 3 is not in UTF-8"),
        (b"PK\x03\x04 and so on", "a workbook of Excel"),
        (b"\xd0\xcf\x11\xe0 and so on", "a workbook of Excel"),
        ('case,class\na,"x\nb,y\n', "which is no CSV: unexpected end of data"),
        ("case,class\na,x\nb,y, or z\n", "row 3 of .* has 3 cells, the header 2"),
        ("", r"columns are \[\]: expected a header with \['case', 'class'\]"),
        ("case;cause\na;x\n", r"columns are \['case', 'cause'\]"),
        ("case,class\n", "lists no case"),
        ("case,class,age,Class \na,x,7,y\n", r"'class' \(column 2\) and 'Class' \(column 4\) are"),
        ("case,Case,class\na,a,y\n", r"columns 'case' \(column 1\) and 'Case' \(column 2\)"),
        ("case,class\na,NaN\nb,\n", r"2 of 2 cases no class: 'NaN' \(a\), empty \(b\): expected"),
        ("sep=;\ncase,class\na,x\n", r"columns are \['case,class'\]"),
        ("case,class\na,x\nb,y\na,x\n", "lists case 'a' twice, in rows 2 and 4"),
        ("case,class\na,x\na.nii,x\n", "lists case 'a' twice, in rows 2 and 3"),
        ("case,class\na,x\n,y\n", "row 3 of .* names no case"),
        (
            "case,class\na,x\nb,y\nc,z\n",
            "lists case 'c', which has no files .*1 of its 3 .* is 'a'",
        ),
        ("case,class\np1,x\np2,y\n", "none of the 2 cases .* is 'p1', the first .* 'a'"),
    ],
)
def test_refusals_name_the_file_and_the_case(attach, content, said):
    with pytest.raises(UserError, match=said) as refused:
        attach(content)
    assert "\n" not in str(refused.value)


def test_folders_name_the_classes():
    root = Path("cohort")
    inside = [Case("a", (root / "avm" / "a.nii",)), Case("b", (root / "nph" / "s" / "b.nii",))]
    found = labels.attach(inside, "folders", root)
    assert [case.target for case in found] == ["avm", "nph"]
    for stray in (root / "c.nii", Path("other/avm/c.nii")):
        *_, other = labels.attach([*inside, Case("c", (stray,))], "folders", root)
        assert other.target is None


def test_without_labels_the_cases_stay_as_their_source_lists_them():
    cases = [Case("a", (Path("a"),), target="x"), Case("b", (Path("b"),))]
    assert labels.attach(cases, "", None) == cases
