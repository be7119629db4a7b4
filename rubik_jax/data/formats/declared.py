"""What `features.json` declares the features of a prepared data set to be, and what each is for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rubik_jax.errors import UserError

# What features may be called; the first of the names that there is counts.
IMAGES = ("image", "volume", "scan", "video")
MASKS = ("mask", "segmentation", "seg", "label")
TARGETS = ("label", "grade", "class", "target")
NAMES = ("name", "id", "case", "filename")
AFFINE = "affine"

_NUMBERS = ("int", "uint", "float", "bool")
Declared = Mapping[str, Any]
"""One feature as the file has it, or {}."""


def purposes(path: Path, features: Mapping[str, Declared]) -> dict[str, str]:
    """Which feature is the image, mask, target, name and affine; those that there are.

    Args:
        path: the data set's file, for the refusal.
        features: name → feature.

    Raises:
        UserError: no feature is a volume, or several are and none is called as images are.
    """
    volumes = [name for name, feature in features.items() if _is_volume(feature)]
    scalars = [name for name, feature in features.items() if _is_scalar(feature)]
    classes = [name for name, feature in features.items() if "classLabel" in feature]
    images = [name for name in volumes if name not in MASKS]
    images = _called(IMAGES, images)[:1] or images
    if len(images) != 1:
        found = f"several volumes, {images}" if images else f"no volume, only {sorted(features)}"
        raise UserError(
            f"{path} declares {found}: expected one feature [x, y, z], [x, y, z, c] or video, "
            f"or one of them to be called {' or '.join(IMAGES)}"
        )
    found = {
        "image": images,
        "mask": [name for name in _called(MASKS, volumes) if is_tensor(features[name])],
        "target": _called(TARGETS, classes)
        or (classes if len(classes) == 1 else [])
        or _called(TARGETS, scalars),
        "name": _called(NAMES, scalars),
        "affine": [AFFINE] if shape(features.get(AFFINE, {})) == (4, 4) else [],
    }
    return {what: names[0] for what, names in found.items() if names}


def shape(feature: Declared) -> tuple[int | None, ...]:
    """Of a tensor or of frames [t, h, w, c], sides that differ as None; () of all else."""
    if is_tensor(feature):
        sides = feature["tensor"]["shape"].get("dimensions", [])
    elif "video" in feature:
        sides = feature["video"]["shape"]["dimensions"]
    elif "image" in feature.get("sequence", {}).get("feature", {}):
        sides = ["-1", *feature["sequence"]["feature"]["image"]["shape"]["dimensions"]]
    else:
        sides = []
    return tuple(None if int(side) < 0 else int(side) for side in sides)


def is_tensor(feature: Declared) -> bool:
    """Whether it's an array, and no frames."""
    return "tensor" in feature


def is_video(feature: Declared) -> bool:
    """Whether it's frames of a video, and no slices."""
    return "video" in feature


def build(feature: Declared) -> Any:
    """The `tfds.features.FeatureConnector`; of frames one that leaves them encoded."""
    import tensorflow_datasets as tfds

    if is_tensor(feature) or not shape(feature):
        return tfds.features.FeatureConnector.from_json(feature)
    return tfds.features.Sequence(tfds.features.Text())  # on disk an image is a text, too


def build_frame(feature: Declared) -> Any:
    """The `tfds.features.Image` that decodes one frame."""
    import tensorflow_datasets as tfds

    if is_video(feature):
        # A sequence of images by another name, but building a `Video` asks for TensorFlow.
        video = dict(feature["video"])
        video.pop("ffmpegExtraArgs", None)
        _, *frame = video["shape"]["dimensions"]
        image = {
            "pythonClassName": f"{tfds.features.Image.__module__}.{tfds.features.Image.__name__}",
            "image": video | {"shape": {"dimensions": frame}},
        }
    else:
        image = feature["sequence"]["feature"]
    return tfds.features.FeatureConnector.from_json(image)


def _called(names: tuple[str, ...], features: list[str]) -> list[str]:
    return [name for name in names if name in features]


def _is_volume(feature: Declared) -> bool:
    numbers = not is_tensor(feature) or feature["tensor"]["dtype"].startswith(_NUMBERS)
    return numbers and len(shape(feature)) in (3, 4)


def _is_scalar(feature: Declared) -> bool:
    return "text" in feature or (is_tensor(feature) and not shape(feature))
