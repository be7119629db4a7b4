"""Both files hold every row, with each figure in its column and each gap explained below."""

import re
from html import unescape

import pytest

from rubik_jax.errors import UserError
from rubik_jax.report import efficiency, strategies
from tests.strategies import tables

NASTY = "<b>a | b</b> & <script>"


def from_html(page: str) -> list[list[list[str]]]:
    """The rows of each table, the lines of a cell after one another."""
    found = []
    for table in re.findall("<table.*?</table>", page, re.DOTALL):
        rows = re.findall("<tr>(.*?)</tr>", table, re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
        found.append([[text for cell in row for text in lines(cell)] for row in cells])
    return found


def lines(cell: str) -> list[str]:
    above, *below = cell.removesuffix("</small>").split("<small>")
    return [unescape(re.sub("</?b>", "", text)) for text in (above, *below)]


def from_markdown(text: str) -> list[list[list[str]]]:
    """The rows of each table, without the rule below the head."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()]
        found.append([[cell.strip().replace("**", "") for cell in row] for row in rows])
        assert {len(row) for row in rows} == {len(rows[0])}
        assert set("".join(found[-1].pop(1))) == set("-:")
    return found


def test_each_figure_stands_in_its_column():
    proxies, few, every = from_markdown(strategies.markdown(tables()))
    assert proxies == [
        ["", "answer", "mean ± spread (n)", "chance", "paper: CT", "paper: MR"],
        ["Rubik's cube", "order", "98.5 ± 0.7 (2)", "1.0", "92.0", "92.9"],
        ["", "orientation", "90.0 (1)", "50.0", "93.1", "–"],
        ["cube ordering¹˒²", *"–––––"],
    ]
    unet, vgg = (
        "U-Net (foreground mIoU, 10 test cases; paper: BraTS mIoU)",
        "VGG (ACC, 10 test cases)",
    )
    ours, gain = "mean ± spread (n)", "to scratch [95 %]"
    ten = "65.0 ± 7.1 (2)", "+10.0 [+10.0, +10.0]"
    twenty = "75.0 ± 7.1 (2)", "+20.0 [+20.0, +20.0]"
    assert few == every
    assert few == [
        ["", f"{unet}: {ours}", gain, "paper", "to scratch", f"{vgg}: {ours}", gain],
        ["from scratch", "55.0 ± 7.1 (2)", "", "73.3", "", "55.0 ± 7.1 (2)", ""],
        ["cube ordering¹", *ten, "–", "", *ten],
        ["Rubik's cube", *twenty, "76.2", "+2.9", *twenty],
    ]


@pytest.mark.parametrize("skip", [(), [("rubik", "unet", "8"), ("order", "vgg", "all")]])
def test_the_page_says_what_the_text_says(skip):
    found = tables(skip=skip)
    page, text = strategies.html(found), strategies.markdown(found)
    of_page = [[list(filter(None, row)) for row in rows] for rows in from_html(page)]
    of_text = [[list(filter(None, row)) for row in rows] for rows in from_markdown(text)]
    assert of_page[0] == of_text[0]
    assert [rows[2:] for rows in of_page[1:]] == [rows[1:] for rows in of_text[1:]]
    assert page.count("<b>") == text.count("**") // 2 == 8 - len(skip)
    titles = re.findall("<h2>(Table.*?)</h2>", page)
    assert list(map(unescape, titles)) == re.findall("^## (Table.*)$", text, re.MULTILINE)
    assert len(titles) == 3


def test_an_open_cell_keeps_its_row_and_has_a_note_that_others_share():
    cells = [("rubik", target, "8") for target in ("unet", "vgg")]
    found = tables(skip=cells, states=dict.fromkeys(cells, "failed: out of memory"))
    text = strategies.markdown(found)
    few = from_markdown(text)[1]
    assert few[-1] == ["Rubik's cube", "–²", "", "76.2", "+2.9", "–²", ""]
    assert "1. one order is missing\n2. failed: out of memory\n" in text
    assert "<li>one order is missing</li><li>failed: out of memory</li>" in strategies.html(found)


def test_without_proxies_runs_or_several_numbers_of_labels_the_page_is_whole():
    page = strategies.html(tables(labelled=("all",), proxies=(), results=(), runs={}))
    assert re.findall("<h2>(.*?)</h2>", page) == [
        "Table 2. The strategies with all labels (64 cases), %",
        "How to read this",
        "How it was run",
    ]
    assert "<svg" not in page
    assert "about 0 here" in page


def test_a_page_asks_for_nothing_runs_nothing_and_shows_text_as_it_is():
    found = tables()
    scratch = found.strategies[0]._replace(name=NASTY, note=NASTY)
    target = found.targets[0]._replace(name=NASTY, measure=NASTY, paper_of=NASTY)
    proxy = found.proxies[0]._replace(state=NASTY)
    found = found._replace(
        strategies=(scratch, *found.strategies[1:]),
        targets=(target, found.targets[1]),
        proxies=(proxy,),
        title=NASTY,
        about=NASTY,
        command=NASTY,
        runs={NASTY: NASTY},
    )
    page = strategies.html(found)
    assert "<script" not in page
    assert unescape(page).count(NASTY) > 15
    assert not re.findall("https?://", re.sub(' xmlns(:xlink)?="[^"]*"', "", page))
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    from_markdown(strategies.markdown(found))  # the | of a name makes no columns


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    strategies.write(tmp_path / "new", tables())
    old = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert old == {
        "tables.md": strategies.markdown(tables()),
        "tables.html": strategies.html(tables()),
    }
    monkeypatch.setattr(efficiency, "draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        strategies.write(tmp_path / "new", tables(title="another"))
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == old


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/tables\.md cannot be written"):
        strategies.write(tmp_path / "file", tables())
