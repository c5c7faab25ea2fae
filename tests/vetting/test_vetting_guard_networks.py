"""The guard on networks trained for it: fresh honest ones, a malicious one, and one that hides."""

import pytest
import torch
from scipy.stats import binom
from torch import Tensor, nn

from splitveil.data import load_data
from splitveil.malicious import MultiClass, train_malicious
from splitveil.models import predict
from splitveil.nets.small_pair import SmallDecoder, small_classifier
from splitveil.rng import Rng
from splitveil.training import Schedule
from splitveil.vetting import Guard, GuardNull, guard_null, small_network, train_shadows

DATA = load_data(None)
HALF = 500


def _plain(recipe: object) -> nn.Module:
    return small_network("plain", 1, 10, 0.5)


def _alarms(null: GuardNull, outputs: Tensor, orders: int) -> list[int | None]:
    found = []
    for order in range(orders):
        places = torch.randperm(len(outputs), generator=Rng(order).torch())
        guard = Guard(null)
        guard.update(DATA.test.x[HALF:][places], outputs[places])
        found.append(guard.alarm_at)
    return found


@pytest.mark.slow
def test_fresh_honest_networks_rarely_alarm_and_a_malicious_one_does_at_once() -> None:
    shadows = train_shadows(_plain, DATA.auxiliary, count=12 + 5, epochs=12, rng=Rng(1))
    outputs = [predict(one.network, DATA.test.x) for one in shadows]
    null = guard_null(DATA.test.x[:HALF], [out[:HALF] for out in outputs[:12]], Rng(0), learns=300)
    loud = [sum(at is not None for at in _alarms(null, out[HALF:], 10)) > 1 for out in outputs[12:]]
    assert sum(loud) <= binom.ppf(0.999, 5, null.beyond + 0.01)
    with Rng(2).as_global():
        pair = small_classifier(1, 10, width=12), SmallDecoder(10, (1, 32, 32), width=12)
    made = train_malicious(
        *pair,
        DATA.auxiliary,
        task=MultiClass(10),
        validation=DATA.validation,
        rng=Rng(3),
        schedule=Schedule(epochs=8, batch=64, learning_rate=2e-3, weight_decay=0.0),
        augmentation=None,
    )
    sent = made.codes(DATA.test.x)
    found = _alarms(null, sent[HALF:], 10)
    told = sorted(at for at in found if at is not None)
    assert len(told) == 10
    assert told[5] <= 200
