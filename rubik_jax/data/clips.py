"""Short videos of moving shapes, from a seed, and the files of UCF101's layout they're written to.

Each class is a motion. A single picture tells none of them, and the pictures in another order are
another motion: what a network learns from them it has to see in time.
"""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scipy import ndimage

from rubik_jax.data import once
from rubik_jax.errors import UserError

VERSION = 1  # of the drawing: to be raised whenever the same seed draws other pictures
SIZE = (64, 48)  # pixels: width, height
RATE = 25  # pictures a second
LENGTHS = (25, 50)  # pictures of a clip
KINDS = (
    *("MoveLeft", "MoveRight", "MoveUp", "MoveDown", "Grow", "Shrink"),
    *("TurnLeft", "TurnRight", "OrbitLeft", "OrbitRight", "Bounce", "Shake"),
)
GROUPS = 9  # of a class; the clips of a group have the shape and the colours in common
DIVISIONS = 3  # each tests another third of the groups
LEAST = DIVISIONS * len(KINDS)
DONE = "clips.json"

_SHAPES = ("disc", "box", "bar", "wedge")


def generate(seed: int, clip: int) -> tuple[np.ndarray, str]:
    """Draws clip `clip` of the cohort `seed`: uint8 [t, y, x, 3], and its class.

    The same arguments give the same pictures.
    """
    kind, group, _ = place_of(clip)
    looks = np.random.default_rng((VERSION, seed, KINDS.index(kind), group))
    shape = _SHAPES[looks.integers(len(_SHAPES))]
    colours = looks.uniform(0, 255, (2, 3))
    colours[1] = 255 - colours[0] + looks.normal(0, 20, 3)  # so that its stripes are seen
    behind = _texture(looks)

    rng = np.random.default_rng((VERSION, seed, len(KINDS), clip))
    time = np.linspace(0, 1, int(rng.integers(LENGTHS[0], LENGTHS[1] + 1)))
    centre, size, angle = _motion(rng, kind, time)
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    dx, dy = (a - c[:, None, None] for a, c in zip((x, y), centre, strict=True))
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    size = size[:, None, None]
    u, v = (cos * dx + sin * dy) / size, (cos * dy - sin * dx) / size
    inside = np.clip((1 - _reach(shape, u, v)) * size + 0.5, 0, 1)[..., None]
    stripes = 0.5 + 0.5 * np.sin(5 * u + 2 * v + rng.uniform(0, 6))[..., None]
    drawn = colours[0] + stripes * (colours[1] - colours[0])
    pictures = _panned(rng, behind, len(time)) * (1 - inside) + drawn * inside
    pictures += rng.normal(0, 4, pictures.shape)
    return np.clip(pictures, 0, 255).astype(np.uint8), kind


def place_of(clip: int) -> tuple[str, int, int]:
    """The class of a clip, its group and its number in that, both from 1: dealt in turn."""
    turn, kind = divmod(clip, len(KINDS))
    number, group = divmod(turn, GROUPS)
    return KINDS[kind], group + 1, number + 1


def name_of(clip: int) -> str:
    """The name of a clip, as UCF101 has it."""
    kind, group, number = place_of(clip)
    return f"v_{kind}_g{group:02d}_c{number:02d}"


def write(folder: Path, count: int, seed: int) -> None:
    """Writes the first `count` clips of the cohort `seed` as UCF101 is laid out, lists included.

    `clips.json` says, last, that all is there. The same call again writes nothing, or what an
    interrupted one has left to do.

    Raises:
        UserError: fewer clips than all parts of all classes need, a negative seed, a folder that
            holds anything else, other clips included, or that can't be written.
    """
    if count < LEAST or seed < 0:
        raise UserError(
            f"{count} clips of seed {seed} are asked for: expected {LEAST} or more, so that each "
            f"of {len(KINDS)} classes is trained on and tested, of seed 0 or more"
        )
    wanted = {"count": count, "seed": seed, "version": VERSION}
    clips = [_clip(folder, seed, clip) for clip in range(count)]
    once.fill(folder, "clips", wanted, [*clips, *_lists(folder, count)])


def _clip(folder: Path, seed: int, clip: int) -> once.Files:
    file = folder / "UCF-101" / place_of(clip)[0] / f"{name_of(clip)}.avi"
    return (file,), lambda: (encode(generate(seed, clip)[0], RATE),)


def _lists(folder: Path, count: int) -> list[once.Files]:
    ordered = sorted(KINDS)
    lines = {"classInd.txt": [f"{number} {kind}" for number, kind in enumerate(ordered, 1)]}
    for division in range(1, DIVISIONS + 1):
        parts = {"train": [], "test": []}
        for clip in range(count):
            kind, group, _ = place_of(clip)
            tested, file = group % DIVISIONS == division % DIVISIONS, f"{name_of(clip)}.avi"
            number = "" if tested else f" {ordered.index(kind) + 1}"
            parts["test" if tested else "train"].append(f"{kind}/{file}{number}")
        lines |= {f"{part}list{division:02d}.txt": sorted(of) for part, of in parts.items()}
    home = folder / "ucfTrainTestlist"
    return [((home / name,), lambda of=of: (_text(of),)) for name, of in lines.items()]


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


def encode(pictures: np.ndarray, rate: int | Fraction) -> bytes:
    """An AVI file, MPEG-4, of pictures uint8 [t, y, x, 3]; equal ones give equal bytes."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi", options={"fflags": "bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 400_000
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        stream.thread_type = "NONE"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def _motion(
    rng: np.random.Generator, kind: str, time: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """The shape's centre (x, y) and its size, in pixels, and its angle, at each time in [0, 1].

    Those that aren't the motion stay as they are, but for a little drift.
    """
    still = np.zeros_like(time)
    x = SIZE[0] * rng.uniform(0.4, 0.6) + rng.normal(0, 2) * time
    y = SIZE[1] * rng.uniform(0.4, 0.6) + rng.normal(0, 2) * time
    size, angle = still + rng.uniform(6, 11), still + rng.uniform(0, 2 * np.pi)
    way = (time - 0.5) * rng.uniform(24, 36)  # pixels
    turn = time * rng.uniform(0.6, 1.2) * 2 * np.pi
    growth = 2 ** ((time - 0.5) * rng.uniform(1.2, 2))
    swing = rng.uniform(7, 11) * np.sin(2 * np.pi * (rng.uniform(1.5, 2.5) * time + rng.uniform()))
    arc = turn + rng.uniform(0, 2 * np.pi)
    match kind:
        case "MoveLeft":
            x = x - way
        case "MoveRight":
            x = x + way
        case "MoveUp":
            y = y - way
        case "MoveDown":
            y = y + way
        case "Grow":
            size = size * growth
        case "Shrink":
            size = size / growth
        case "TurnLeft":
            angle = angle - turn
        case "TurnRight":
            angle = angle + turn
        case "OrbitLeft":
            x, y = x + 12 * np.cos(arc), y - 12 * np.sin(arc)
        case "OrbitRight":
            x, y = x + 12 * np.cos(arc), y + 12 * np.sin(arc)
        case "Bounce":
            y = y + swing
        case "Shake":
            x = x + swing
    return (x, y), size, angle


def _reach(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """How far out a point of the shape's own plane lies; 1 is the shape's edge."""
    match shape:
        case "disc":
            return np.hypot(u, v)
        case "box":
            return np.maximum(np.abs(u), np.abs(v))
        case "bar":
            return np.maximum(np.abs(u), 2.2 * np.abs(v))
        case _:
            return np.maximum(np.abs(v) + 0.6 * u + 0.2, -u)


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Blotches in colours that are not loud, [y, x, 3], larger than a picture, without a seam."""
    noise = rng.normal(size=(2 * SIZE[1], 2 * SIZE[0], 3))
    smooth = ndimage.gaussian_filter(noise, (3, 3, 0), mode="wrap")
    return rng.uniform(70, 180, 3) + 28 * smooth / smooth.std()


def _panned(rng: np.random.Generator, texture: np.ndarray, count: int) -> np.ndarray:
    """Pictures of the texture, [t, y, x, 3], as a camera sees it that moves anywhere evenly."""
    start, speed = rng.uniform(0, 96, 2), rng.uniform(-0.35, 0.35, 2)  # pixels, and a picture
    at = np.rint(start + speed * np.arange(count)[:, None]).astype(int)
    rows = (at[:, :1] + np.arange(SIZE[1])) % texture.shape[0]
    columns = (at[:, 1:] + np.arange(SIZE[0])) % texture.shape[1]
    return texture[rows[:, :, None], columns[:, None, :]]
