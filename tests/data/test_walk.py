"""A folder is listed once and whole, whatever links lead to it and whoever lists it."""

import os

import pytest

from rubik_jax.data import formats
from rubik_jax.data.cases import Where
from rubik_jax.data.formats import walk
from rubik_jax.data.sources import brats, folder, videos
from rubik_jax.errors import UserError
from tests.files import touch


def link(path, to):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


def below(root, *globs):
    found = folder.cases(Where(root, modalities=globs))
    return [case.images[0].relative_to(root).as_posix() for case in found]


@pytest.fixture
def cohort(tmp_path):
    """p1 and p2 in the folder, p3 a link to a folder elsewhere."""
    touch(tmp_path, "elsewhere/p3/a.nii", "here/p1/a.nii", "here/p2/s/b.nii")
    link(tmp_path / "here/p3", "../elsewhere/p3")
    return tmp_path / "here"


ALL = ["p1/a.nii", "p2/s/b.nii", "p3/a.nii"]


@pytest.mark.parametrize("globs", [(), ("**/*.nii",), ("**/*",)])
@pytest.mark.parametrize(
    "links",
    [
        {},
        {"p1/up": ".."},
        {"p2/s/up": "../.."},
        {"p1/other": "../p2", "p2/other": "../p1"},
        {"p1/self": "self", "p1/here": "."},
        {"a": "p1", "b": "p3", "p0": "../elsewhere/p3"},
        {"p1/out": "../../elsewhere/p3/back", "../elsewhere/p3/back": "../../here"},
        {"p1/root": "/"},
    ],
)
def test_with_and_without_globs_the_same_files_are_found_once(cohort, globs, links):
    for path, to in links.items():
        link(cohort / path, to)
    (cohort / "p1/self").unlink(missing_ok=True)  # a link to nothing, which is refused elsewhere
    found = below(cohort, *globs)
    assert found == ALL if "b" not in links else [*ALL[:2], "b/a.nii"]


def test_links_to_nothing_and_to_themselves_are_files_that_opening_refuses(cohort):
    link(cohort / "self.nii", "self.nii")
    link(cohort / "gone.nii", "gone")
    assert {file.name for file in walk.files(cohort)} >= {"self.nii", "gone.nii"}
    for name in ("self", "gone"):
        with pytest.raises(UserError, match="link to nothing"):
            formats.open_scan(cohort / f"{name}.nii")


def test_a_file_that_is_linked_beside_itself_is_one_case(cohort):
    link(cohort / "p0/latest.nii", "../p1/a.nii")
    link(cohort / "p9/a.nii", "../p1/a.nii")
    for globs in ((), ("**/*.nii",)):
        assert below(cohort, *globs) == ALL
    assert below(cohort, "p9/*.nii") == ["p9/a.nii"]


def test_two_links_to_one_file_elsewhere_are_two_cases_as_copies_are(tmp_path):
    root = touch(tmp_path, "x.nii") / "here"
    for name in "ab":
        link(root / f"{name}.nii", "../x.nii")
    assert below(root) == below(root, "*.nii") == ["a.nii", "b.nii"]


def test_a_case_may_take_one_of_its_files_from_another(tmp_path):
    touch(tmp_path, "p1/t1.nii", "p1/t2.nii", "p2/t1.nii", "m/p1.nii")
    link(tmp_path / "p2/t2.nii", "../p1/t2.nii")
    link(tmp_path / "p3", "p1")
    link(tmp_path / "m/p2.nii", "p1.nii")
    found = folder.cases(Where(tmp_path, modalities=("*/t1.nii", "*/t2.nii"), masks="m/*.nii"))
    assert [case.name for case in found] == ["p1", "p2"]
    assert all(case.label and None not in case.images for case in found)


def test_every_source_lists_by_the_same_rule(cohort):
    for name in ("p1/v.avi", "p3/w.AVI", "p1/.x.avi", "p1/b_t1.nii", "p3/c_T1.nii", "p3/d_t1.NII"):
        touch(cohort, name)
    link(cohort / "p2/up", "..")
    link(cohort / "p2/v.avi", "../p1/v.avi")
    assert [file.name for file in videos.below(cohort)] == ["v.avi", "w.AVI"]
    found = brats.cases(Where(cohort, modalities=("T1",)))
    assert [case.name for case in found] == ["b", "d"]
    assert [file.name for file in walk.files(cohort / "p1")] == ["a.nii", "b_t1.nii", "v.avi"]


def test_endings_match_in_upper_case_and_names_do_not(tmp_path):
    root = touch(tmp_path, "X.NII.GZ", "y.nii.gz", "Z.Nii.Gz", "P.HDR", "P.IMG", "q.hdr", "q.img")
    for globs in (("*.nii.gz",), ("*.NII.GZ",), ("*.nii*",)):
        found = folder.cases(Where(root, modalities=globs))
        assert [case.name for case in found] == ["X", "Z", "y"]
    assert below(root) == ["P.HDR", "X.NII.GZ", "Z.Nii.Gz", "q.hdr", "y.nii.gz"]
    assert below(root, "[Pq].*") == ["P.HDR", "q.hdr"]
    assert walk.match(root, "x.nii.gz") == walk.match(root, "*.gzip") == []
    assert walk.match(root, "X.nii.gz") == ["X.NII.GZ"]


@pytest.mark.parametrize(
    "list_all", [below, lambda root: below(root, "*/*.nii"), formats.find, videos.below, walk.files]
)
def test_a_folder_that_cannot_be_listed_is_refused(cohort, monkeypatch, list_all):
    scandir = os.scandir

    def denied(path="."):
        if str(path).endswith("p2"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match=r"p2 is a folder that can't be listed: Permission denied"):
        list_all(cohort)


def test_what_no_glob_asks_for_need_not_be_listed(cohort, monkeypatch):
    scandir = os.scandir

    def denied(path="."):
        assert "p2" not in str(path)
        return scandir(path)

    touch(cohort, "lost+found/x.nii")
    monkeypatch.setattr(os, "scandir", denied)
    assert walk.match(cohort, "p[13]/*.nii") == ["p1/a.nii", "p3/a.nii"]
    assert walk.match(cohort, "lost*/*") == []
    assert walk.match(cohort, "../elsewhere/**/*.nii") == ["../elsewhere/p3/a.nii"]
