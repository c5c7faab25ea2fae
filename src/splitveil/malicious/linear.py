"""The best linear code of so many numbers, in closed form."""

import torch
from scipy.linalg import eigh
from torch import Tensor, nn

from splitveil.errors import BadPlan
from splitveil.malicious.joint import varying
from splitveil.malicious.pair import Malicious
from splitveil.malicious.released import LOGITS, Released
from splitveil.malicious.tasks import MultiAttribute
from splitveil.shapes import Images


def linear_code(images: Images, code: int) -> Malicious:
    """Principal components: `code` numbers an image, and the linear decoder of least error.

    With mean m and the widest directions U of the images, code = Uᵀ(x - m), x̂ = m + U code; its
    mean squared error on these images is the sum of the variances left out (divisor n), over the
    values. What a decoder may not beat where everything is linear and normal; a network of curved
    maps can. Pictures are not clamped. Float64 inside, float32 out.

    Args:
        images: to find the directions in.
        code: numbers an image, at most the values of one.

    Raises:
        BadData: if images are constant or not in [0, 1].
        BadPlan: if there are not so many directions.
    """
    varying(images)
    x = images.flatten(1).double()
    n, d = x.shape
    most = min(n - 1, d)
    if not 1 <= code <= most:
        raise BadPlan(f"{n} images of {d} values have 1 to {most} directions, got {code}")
    mean = x.mean(0)
    centred = x - mean
    gram = centred @ centred.T if n <= d else centred.T @ centred
    size = len(gram)
    sums, vectors = eigh(gram.numpy(), subset_by_index=[size - code, size - 1])
    basis = torch.from_numpy(vectors[:, ::-1].copy())
    if n <= d:
        widths = torch.from_numpy(sums[::-1].copy())
        real = widths > widths[0] * size * torch.finfo(torch.float64).eps
        # directions in which the images do not vary at all carry nothing
        basis = centred.T @ basis * torch.where(real, widths, torch.inf).rsqrt()
    encoder, decoder = _Encoder(mean, basis), _Decoder(mean, basis, tuple(images.shape[1:]))
    task = MultiAttribute(tuple(f"component {k + 1}" for k in range(code)))
    return Malicious(
        model=encoder.eval(),
        decoder=decoder.eval(),
        release=LOGITS,
        accuracy=None,
        history=(),
        released=Released(encoder, LOGITS, task, images[:2]).eval(),
    )


class _Encoder(nn.Module):
    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        nn.Module.__init__(self)
        self.basis = nn.Parameter(basis.T.float().contiguous(), requires_grad=False)
        self.shift = nn.Parameter(-(basis.T @ mean).float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.shift, x.flatten(1), self.basis.T)


class _Decoder(nn.Module):
    def __init__(self, mean: Tensor, basis: Tensor, shape: tuple[int, ...]) -> None:
        nn.Module.__init__(self)
        self.mean = nn.Parameter(mean.float(), requires_grad=False)
        self.basis = nn.Parameter(basis.T.float().contiguous(), requires_grad=False)
        self.shape = shape

    def forward(self, code: Tensor) -> Tensor:
        return torch.addmm(self.mean, code, self.basis).unflatten(1, self.shape)
