"""Colours, chosen to stay apart under the common colour deficiencies and to hold 4.5:1."""

LIGHT = {
    "paper": "#fbfaf7",
    "card": "#ffffff",
    "ink": "#1b1d21",
    "soft": "#5a5f68",
    "line": "#dcd9d1",
    "grid": "#e9e6df",
    "best": "#b3261e",
    "s0": "#1f5fa8",
    "s1": "#0b7359",
    "s2": "#8a5a00",
    "s3": "#7a3d91",
    "s4": "#4b5563",
    "floor": "#6b6f76",
    "bound": "#0b6b75",
    "noise": "#7a3d91",
    "chip": "#fff1c9",
    "chipink": "#5f4300",
}

DARK = {
    "paper": "#14161a",
    "card": "#1b1e24",
    "ink": "#eceae4",
    "soft": "#a5abb5",
    "line": "#363b44",
    "grid": "#282c34",
    "best": "#ff8a7a",
    "s0": "#7db8ff",
    "s1": "#5fd0ae",
    "s2": "#e8bd62",
    "s3": "#d6a1ea",
    "s4": "#b9c0cb",
    "floor": "#9aa0aa",
    "bound": "#62cfdb",
    "noise": "#d6a1ea",
    "chip": "#4a3a0c",
    "chipink": "#ffe08a",
}


def variables(colours: dict[str, str]) -> str:
    """The colours as CSS custom properties."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())
