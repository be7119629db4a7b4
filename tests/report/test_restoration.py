"""What was, what was given and what was answered are drawn in three planes each."""

import base64
import io
import re

import numpy as np
from PIL import Image

from rubik_jax.report import restoration


def windows(count: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    wanted, answer = rng.uniform(-1, 1, (2, count, 9, 12, 7, 2)).astype(np.float32)
    counted = rng.random((count, 9, 12, 7)) < 0.5
    given = np.where(counted[..., None], 0, wanted)
    return {"wanted": wanted, "given": given, "answer": answer, "counted": counted}


def drawn(picture) -> list[np.ndarray]:
    """The images of a picture as [u, v], in its order."""
    name = "{http://www.w3.org/2000/svg}image"
    found = [each.get("href") for each in picture.root.iter(name)]
    arrays = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(href.partition(",")[2]))))
        for href in found
    ]
    return [array.T.astype(float) for array in arrays]


def test_each_plane_stands_beside_what_was_given_and_answered(read):
    one = {name: each[0] for name, each in windows().items()}
    picture = read(restoration.draw(**one))
    for title in ("was", "given", "answer"):
        assert picture.texts.count(title) == 3
    low, high = one["wanted"][..., 0].min(), one["wanted"][..., 0].max()
    shown = np.where(one["counted"], one["answer"][..., 0], one["wanted"][..., 0])
    stages = [one["wanted"][..., 0], one["given"][..., 0], shown]
    planes = [v.take(v.shape[axis] // 2, axis) for axis in range(3) for v in stages]
    images = drawn(picture)
    assert len(images) == len(planes) == 9
    for image, plane in zip(images, planes, strict=True):
        wanted = 255 * np.clip((plane - low) / (high - low), 0, 1)
        np.testing.assert_allclose(image, wanted, atol=0.51)


def test_each_window_is_shown_with_the_error_of_what_counts():
    picture = windows()
    html = restoration.section(picture, {})
    assert html.count("<svg") == 2
    found = [float(number) for number in re.findall(r"squared error (\d\.\d+)", html)]
    errors = np.square(picture["answer"] - picture["wanted"])
    wanted = [e[c].mean() for e, c in zip(errors, picture["counted"], strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert "stand as they were" in html
    whole = picture | {"counted": np.ones_like(picture["counted"])}
    assert "stand as they were" not in restoration.section(whole, {})


def test_a_constant_window_can_be_drawn(read):
    flat = {name: np.zeros((4, 4, 4, 1)) for name in ("wanted", "given", "answer")}
    picture = read(restoration.draw(**flat, counted=np.ones((4, 4, 4), bool)))
    assert all((image == 0).all() for image in drawn(picture))
