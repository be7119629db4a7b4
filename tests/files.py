"""Lays out files for tests that look at names alone."""

import json
from pathlib import Path


def touch(root: Path, *names: str) -> Path:
    """Makes empty files below a folder, which it returns."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def declare(root: Path, **content: object) -> Path:
    """Writes a `dataset.json` into a folder, which it returns."""
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return root
