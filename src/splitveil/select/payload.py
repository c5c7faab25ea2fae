"""Bytes of one image on the wire, from a release as it prints; no torch."""

import ast
import math

_BITS = {
    "Dropout": 32,
    "GaussianNoise": 32,
    "GaussianPrivacy": 32,
    "HalfPrecision": 16,
    "Identity": 32,
    "LaplaceNoise": 32,
    "LaplacePrivacy": 32,
    "ShapedNoise": 32,
    "ShuffledTokens": 32,
    "Sigmoid": 32,
    "Softmax": 32,
}
_QUANTISERS = ("UniformQuantiser", "DitheredQuantiser")


def payload_bytes(release: str, values: int) -> int | None:
    """Bytes of `values` numbers after a release, before entropy coding and headers.

    None for a release that is not ours: what it sends is not known here.
    """
    try:
        bits = _bits(ast.parse(release, mode="eval").body, values)
    except (SyntaxError, ValueError):
        return None
    return None if bits is None else math.ceil(bits / 8)


def _bits(node: ast.expr, values: int) -> int | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    settings = {setting.arg: setting.value for setting in node.keywords}
    if node.func.id == "Chain" and isinstance(stages := settings.get("stages"), ast.Tuple):
        return _bits(stages.elts[-1], values)
    if node.func.id in _QUANTISERS and "bits" in settings:
        return values * int(ast.literal_eval(settings["bits"]))
    if node.func.id == "TopK" and "keep" in settings:
        kept = math.ceil(ast.literal_eval(settings["keep"]) * values)
        return min(32 * values, values + 32 * kept)
    bits = _BITS.get(node.func.id)
    return None if bits is None else values * bits
