"""The drawing of one head-like toy MR volume: anatomy, lesions, and a scanner's view of them."""

from __future__ import annotations

import itertools

import numpy as np

# Whoever changes what the same state of the generator draws raises `phantom.VERSION`.
SPACING = 4.0  # mm
KINDS = ("none", "small", "large", "multiple")
BRAIN, VENTRICLE, LESION = 1, 2, 3

# T1-like intensities.
AIR, BONE, FLUID, MUSCLE, GREY, WHITE, FAT, BLOOD = 0, 0.06, 0.2, 0.42, 0.52, 0.8, 0.95, 1.05

# Anatomy in mm from the middle of the brain, x to the right, y to the front, z up.
HORNS = (  # centre and radii of the right lateral ventricle, front to back; last, the temporal horn
    ((9, 30, 20), (6, 15, 9)),
    ((11, 6, 26), (7, 24, 8)),
    ((19, -24, 18), (9, 13, 12)),
    ((24, -42, 10), (6, 14, 7)),
    ((33, -12, -14), (5, 17, 6)),
)
MIDDLE_VENTRICLES = (((0, 2, 4), (3, 12, 10)), ((0, -29, -34), (7, 6, 9)))
NUCLEI = (((18, 18, 19), (6, 15, 9)), ((12, -8, 7), (9, 14, 10)), ((28, 8, 4), (7, 18, 11)))
FACE = (  # size on the left and on the right, intensity, centre, radii
    (1.0, 1.0, FAT, (31, 68, -24), (18, 24, 17)),  # orbit
    (1.0, 1.0, FLUID, (31, 78, -24), (13, 13, 13)),  # eye
    (1.0, 1.0, FAT, (31, 90, -24), (5, 3, 5)),  # lens
    (0.6, 1.1, BONE, (29, 62, -62), (14, 18, 14)),  # sinus of the cheek
    (0.5, 1.1, BONE, (58, -26, -50), (11, 14, 15)),  # air cells behind the ear
)
AIRWAYS = (((0, 68, -54), (9, 28, 22)), ((9, 88, 8), (15, 5, 11)), ((0, 18, -84), (10, 9, 40)))
VEINS = (  # radius and course; the right ones are the stronger, as in most people
    (3.0, ((0, 62, 54), (0, 20, 78), (0, -32, 75))),
    (6.0, ((0, -32, 75), (0, -70, 48), (0, -86, 2))),
    (5.5, ((0, -86, 2), (42, -68, -12), (60, -34, -26))),
    (3.0, ((0, -86, 2), (-42, -68, -12), (-60, -34, -26))),
    (3.5, ((2, -4, 78), (38, 4, 62), (60, 16, 30))),
    (3.5, ((-64, 0, 6), (-58, -36, 10), (-46, -64, -6))),
    (3.0, ((-2, 42, 66), (-32, 46, 50), (-50, 40, 24))),
)


def draw(
    rng: np.random.Generator, shape: tuple[int, int, int], kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a head of `shape` voxels (of `SPACING` mm) in RAS+, with the lesions of `kind`.

    Returns the image, int16 `[x, y, z]`, and its labels, uint8 `[x, y, z]`: 0 background, else
    `BRAIN`, `VENTRICLE` or `LESION`. The same state of `rng` gives the same voxels.
    """
    at = _places(rng, shape)
    image, brain, ventricles = _anatomy(rng, at)
    label = np.where(brain > 0, BRAIN, 0).astype(np.uint8)
    label[ventricles > 0] = VENTRICLE
    _grow_lesions(rng, at, image, label, np.minimum(brain, -ventricles), kind)
    return _scan(rng, image), label


def _places(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Where each voxel lies in the standard head, mm `[3, x, y, z]`: moved, tilted, sized, bent."""
    axes = [(np.arange(n) - (n - 1) / 2) * SPACING - rng.normal(0, 3) for n in shape]
    axes[2] += 6  # the brain lies above the middle of the picture
    tilt = np.cross(np.eye(3), rng.normal(0, 0.06, 3))
    size = 0.95 * rng.uniform(0.95, 1.05) * rng.uniform(0.96, 1.04, (3, 1))
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    at = np.einsum("ij,jxyz->ixyz", ((np.eye(3) + tilt) / size).astype(np.float32), grid)
    at += np.stack([4 * _smooth(rng, shape, 4) for _ in range(3)])
    at[0] *= 1 + at[1] / 600  # heads are wider behind than in front,
    at[2] *= 1 + at[1] / 1000  # and higher
    return at


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], waves: int) -> np.ndarray:
    """A random field `[x, y, z]` of deviation 1, of cosines below `waves` half periods a side."""
    k = np.arange(waves)
    field = (rng.normal(size=(waves,) * 3) / (1 + sum(np.ix_(k, k, k)))).astype(np.float32)
    field[0, 0, 0] = 0
    # Each pass takes the first axis away and puts a new last one in its place. By einsum, for the
    # threads of BLAS would cost more than these small products do.
    for n in shape:
        cosines = np.cos(np.pi * np.outer(k, (np.arange(n) + 0.5) / n)).astype(np.float32)
        field = np.einsum("abc,an->bcn", field, cosines)
    return field / field.std()


def _ball(at: np.ndarray, centre, radii) -> np.ndarray:
    """Depth in mm below an ellipsoid's surface, negative outside; exact along the shortest axis."""
    offsets = (
        (p - c) / r for p, c, r in zip(at, np.float32(centre), np.float32(radii), strict=True)
    )
    return (1 - np.sqrt(sum(o * o for o in offsets))) * np.float32(min(radii))


def _tube(at: np.ndarray, radius: float, points) -> np.ndarray:
    """Depth in mm below the surface of a tube about a polyline, negative outside."""
    nearest = np.float32(np.inf)
    for start, end in itertools.pairwise(points):
        way = np.float32(end) - np.float32(start)
        offset = at - np.float32(start)[:, None, None, None]
        along = np.clip(sum(o * w for o, w in zip(offset, way, strict=True)) / (way @ way), 0, 1)
        gaps = (o - along * w for o, w in zip(offset, way, strict=True))
        nearest = np.minimum(nearest, sum(gap * gap for gap in gaps))
    return np.float32(radius) - np.sqrt(nearest)


def _paint(image: np.ndarray, depth: np.ndarray, intensity) -> None:
    """Lay `intensity` where `depth` is positive; voxels that the surface cuts keep their share."""
    image += np.clip(depth / np.float32(SPACING) + np.float32(0.5), 0, 1) * (intensity - image)


def _anatomy(rng: np.random.Generator, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The head's intensities, and the depths in mm within the brain and the ventricles."""

    def ball(centre, radii, size: float = 1.0) -> np.ndarray:
        centre, size = np.add(centre, rng.normal(0, 1, 3)), size * rng.uniform(0.9, 1.1, 3)
        return _ball(at, centre, np.multiply(radii, size))

    def pair(centre, radii, left: float = 1.0, right: float = 1.0) -> np.ndarray:
        return np.maximum(
            ball(np.multiply(centre, (-1, 1, 1)), radii, left), ball(centre, radii, right)
        )

    x, y, z = at
    space, cerebrum, cerebellum, stem = _brain(at, ball, pair)
    inside = np.maximum.reduce([space, cerebellum, stem])
    crown, face = _ball(at, (0, -2, 8), (80, 98, 84)), ball((0, 36, -66), (60, 64, 62))
    neck = np.minimum(50 - np.hypot(x, y + 22), -40 - z)
    nose, ears = ball((0, 100, -46), (10, 13, 18)), pair((80, -12, -34), (6, 13, 20))
    head = np.maximum.reduce([crown, face, neck, nose, ears, inside + 16])

    image = np.zeros(at.shape[1:], np.float32)
    _paint(image, head, FAT)
    _paint(image, head - 8, MUSCLE + 0.08 * _smooth(rng, image.shape, 12))
    _paint(image, np.minimum(inside + 10 - y / 16, head - 5), BONE)  # thicker behind
    for left, right, intensity, centre, radii in FACE:
        _paint(image, np.minimum(pair(centre, radii, left, right), head - 3), intensity)
    for centre, radii in AIRWAYS:
        _paint(image, np.minimum(ball(centre, radii), head - 3), AIR)
    _paint(image, inside + 4, FLUID)

    fold = _folds(rng, at)
    cortex = cerebrum - 6 * np.maximum(fold - 0.2, 0)
    _paint(image, cortex, GREY)
    _paint(image, cerebrum - 7 - y / 25 - 6 * fold, WHITE)  # the cortex is thicker in front
    _paint(image, cerebellum, GREY)
    _paint(image, cerebellum - 5 - 4 * np.sin(z / 3.2 + y / 14), WHITE)
    _paint(image, stem, 0.92 * WHITE)
    for centre, radii in NUCLEI:
        _paint(image, pair(centre, radii), 1.1 * GREY)
    swell = rng.uniform(0.8, 1.3)
    horns = [pair(centre, radii, 1.2 * swell, 0.95 * swell) for centre, radii in HORNS]
    middle = [ball(centre, radii, swell) for centre, radii in MIDDLE_VENTRICLES]
    ventricles = np.maximum.reduce(horns + middle)
    _paint(image, ventricles, FLUID)
    for radius, points in VEINS:
        course = np.add(points, rng.normal(0, 1.5, 3))
        _paint(image, _tube(at, radius * rng.uniform(0.85, 1.15), course), BLOOD)
    return image, np.maximum.reduce([cortex, cerebellum, stem]), ventricles


def _brain(at: np.ndarray, ball, pair) -> tuple[np.ndarray, ...]:
    """Depths in the cerebrum, before and after its fissures, in the cerebellum and in the stem."""
    x = at[0]
    space = ball((0, -2, 10), (64, 82, 66))
    hollows = (  # what the face, the fossa behind and the middle of the base take from below
        ((0, 72, -56), (72, 54, 50)),
        ((0, -50, -52), (62, 50, 42)),
        ((0, 16, -56), (24, 32, 34)),
    )
    for centre, radii in hollows:
        space = np.minimum(space, -ball(centre, radii))
    falx = np.minimum(2.2 - np.abs(x), -ball((0, -4, 4), (70, 52, 34)))
    fissures = np.maximum(falx, pair((56, 6, -2), (15, 24, 3.5), left=1.2))
    cerebellum = np.minimum(pair((20, -44, -43), (29, 27, 23)), -ball((0, -74, -46), (5, 16, 22)))
    cord = _tube(at, 10, ((0, -8, -2), (0, -18, -40), (0, -30, -120)))
    stem = np.maximum(cord, ball((0, -13, -36), (14, 13, 14)))
    return space, np.minimum(space, -fissures), cerebellum, stem


def _folds(rng: np.random.Generator, at: np.ndarray) -> np.ndarray:
    """The cortex's texture in [-1, 1]: long folds in front, transverse on top, fine behind."""
    x, y, z = at + 5 * np.stack([_smooth(rng, at.shape[1:], 6) for _ in range(3)])
    front = np.clip(y / 50 + 0.3, 0, 1)
    behind = np.clip(-y / 40 - 0.7, 0, 1)
    long = np.sin(x / 3.6 + z / 12) * np.cos(y / 13 + z / 8)
    transverse = np.sin(y / 4 - x / 12) * np.cos(z / 10 + x / 15)
    fine = np.sin(z / 3) * np.cos(x / 5 + y / 9)
    return front * long + behind * fine + (1 - front - behind) * transverse


def _grow_lesions(rng, at, image, label, depth: np.ndarray, kind: str) -> None:
    """Paint the lesions of `kind` into image and label, deep in the tissue and well apart."""
    count = {"none": 0, "small": 1, "large": 1, "multiple": int(rng.integers(3, 6))}[kind]
    centres = np.empty((0, 3))
    for _ in range(count):
        radius = rng.uniform(18, 24) if kind == "large" else rng.uniform(7.5, 10)
        deep = at[:, depth > min(radius, 10)].T
        tries = deep[rng.integers(len(deep), size=20)]
        gaps = np.linalg.norm(tries[:, None] - centres, axis=-1).min(axis=1, initial=np.inf)
        centre = tries[gaps.argmax()]
        centres = np.vstack([centres, centre])
        ragged = radius * 0.12 * _smooth(rng, label.shape, 10)
        lesion = _ball(at, centre, radius * rng.uniform(0.85, 1.15, 3)) + ragged
        lesion = np.minimum(lesion, depth)
        _paint(image, lesion, rng.uniform(1.05, 1.25) + 0.08 * ragged / radius)
        label[(lesion > 0) & (label == BRAIN)] = LESION


def _scan(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """What a scanner of its own contrast, coil, noise and scale stores, int16 `[x, y, z]`."""
    coil = np.exp(0.1 * _smooth(rng, image.shape, 3))
    real, imaginary = rng.uniform(0.015, 0.04) * rng.standard_normal((2, *image.shape), np.float32)
    real += coil * np.clip(image, 0, None) ** np.float32(rng.uniform(0.85, 1.2))
    return np.rint(rng.uniform(300, 1500) * np.hypot(real, imaginary)).astype(np.int16)
