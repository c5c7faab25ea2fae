"""The written form of each sort of claim trial; no torch."""

BOUNDS = "bounds(level=0.999)"
NOISE_NEEDED = "noise_needed(share=0.1)"
PROXIES = "proxies()"
CALIBRATION = "calibration()"
TWIN = "twin()"

LEVEL = 0.999
"""Of each bound by itself: 50 of them still hold together at 95 % (Bonferroni)."""

SHARE = 0.1
"""The share of the floor's error from which a bound is said to bite."""

MEASURES = {"proxies": PROXIES, "twin": TWIN}
"""What may be asked for beside the budget's choice."""
