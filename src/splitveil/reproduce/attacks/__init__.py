"""How strong the attacks are: by the computing and the images they are given."""

from splitveil.reproduce.attacks.auxiliary import auxiliary, growth
from splitveil.reproduce.attacks.claims import CLAIMS
from splitveil.reproduce.attacks.pictures import pictures
from splitveil.reproduce.attacks.strength import strength
from splitveil.reproduce.experiment import Make, Paper

MAKES: tuple[Make, ...] = (strength, growth, auxiliary)

PAPER = Paper(
    name="attacks",
    title="Strength of the attacks against computing and images",
    claims=CLAIMS,
    makes=MAKES,
    draws=(pictures,),
)
