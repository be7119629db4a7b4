"""What tests do to volumes."""

from rubik_jax.data.preprocess import Preprocessing, make_preprocessing


def scaled(low: float, high: float, kind: str = "window", **changed) -> Preprocessing:
    """Intensities alone, unless something else is asked for."""
    intensity = {"kind": kind, "low": float(low), "high": float(high), "over": "foreground"}
    usual = {"orientation": "RAS", "crop": "none", "spacing": None}
    return make_preprocessing(**usual | changed, intensity=intensity)
