"""Networks and their inputs in compact form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selfreg_gym.fitted.networks import Networks, input_scale
from selfreg_gym.fitted.packed import CHUNK, PackedInputs


def inputs(n: int, rng: np.random.Generator) -> np.ndarray:
    """A one-hot code of 40 values, some of them unknown, and three numbers, one of which is constant."""
    x = np.zeros((n, 43), np.float32)
    code = rng.integers(-3, 40, n)
    x[np.flatnonzero(code >= 0), code[code >= 0]] = 1
    x[:, 40:42] = 5 + 3 * rng.normal(size=(n, 2))
    x[:, 42] = 0.5
    return x


def made(x: np.ndarray, *, networks: int = 2) -> Networks:
    shift, scale = input_scale(x)
    generator = torch.Generator().manual_seed(0)
    return Networks(networks, x.shape[1], 8, 3, 4, shift=shift, scale=scale, unit=2.5, generator=generator)


def plain(net: Networks, x: np.ndarray, network: int) -> tuple[np.ndarray, np.ndarray]:
    """The values by NumPy, from the uncompressed inputs."""
    w = {name: p.detach().numpy()[network] for name, p in net.trainable().items()}
    h = (x - net.shift.numpy()) * net.scale.numpy()
    for layer in "12":
        h = np.maximum(h @ w[f"w{layer}"] + w[f"b{layer}"], 0)
    z = (h @ w["w3"] + w["b3"]).reshape(len(x), 2, 3, 4)
    return 1 / (1 + np.exp(-z[:, 0])), np.log1p(np.exp(z[:, 1])) * 2.5


@pytest.mark.parametrize("n", [50, CHUNK + 17])
def test_packed_inputs_give_the_values_of_plain_ones(n):
    x = inputs(n, np.random.default_rng(n))
    net, packed = made(x), PackedInputs(x)
    assert packed.numeric.tolist() == [40, 41, 42]
    rows = np.arange(n)[::-1].copy()
    for network in range(2):
        found = net.values(packed.batch(rows), network)
        for one, expected in zip(found, plain(net, x[rows], network), strict=True):
            np.testing.assert_allclose(one.numpy(), expected, atol=2e-5)


def test_all_networks_at_once_and_their_gradients_equal_single_ones():
    x = inputs(64, np.random.default_rng(1))
    net, packed = made(x), PackedInputs(x)
    rows = np.arange(64).reshape(2, 32)
    z = net.outputs(packed.batch(rows))
    for network in range(2):
        success, usage = plain(net, x[rows[network]], network)
        np.testing.assert_allclose(torch.sigmoid(z[network, :, 0]).detach().numpy(), success, atol=2e-5)
        np.testing.assert_allclose(2.5 * torch.nn.functional.softplus(z[network, :, 1]).detach(), usage, atol=2e-5)
    z.square().sum().backward()
    gradient = net.w1.grad.clone()
    net.w1.grad = None
    net.outputs(torch.from_numpy(x[rows])).square().sum().backward()  # the same inputs without packing
    np.testing.assert_allclose(gradient.numpy(), net.w1.grad.numpy(), rtol=2e-4, atol=1e-3)


def test_few_binary_columns_stay_numbers():
    x = (np.random.default_rng(0).random((20, 12)) < 0.5).astype(np.float32)
    assert PackedInputs(x).numeric.tolist() == list(range(12))


def test_only_inputs_that_are_not_binary_are_standardised():
    x = inputs(500, np.random.default_rng(2))
    shift, scale = (one.numpy() for one in input_scale(x))
    np.testing.assert_array_equal(shift[:40], 0)
    np.testing.assert_array_equal(scale[:40], 1)
    scaled = (x - shift) * scale
    np.testing.assert_allclose(scaled[:, 40:42].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled[:, 40:42].std(axis=0), 1, atol=1e-4)
    np.testing.assert_allclose(scaled[:, 42], 0, atol=1e-6)


def test_inputs_in_small_units_are_standardised():
    x = np.array([[1e-9, 0.1], [3e-9, 0.1]], np.float32)
    shift, scale = input_scale(x)
    np.testing.assert_allclose((torch.from_numpy(x) - shift) * scale, [[-1, 0], [1, 0]], rtol=1e-5)


def test_outputs_begin_at_the_given_means_and_equal_at_all_prices():
    x = inputs(40, np.random.default_rng(3))
    shift, scale = input_scale(x)
    net = Networks(1, 43, 8, 2, 5, shift=shift, scale=scale, unit=3.0, success=0.7, usage=1.5)
    packed = PackedInputs(x)
    success, usage = net.values(packed.batch(np.arange(40)), 0)
    assert float(success.mean()) == pytest.approx(0.7, abs=0.1)
    assert float(usage.mean()) == pytest.approx(1.5, abs=0.4)
    assert float(success.std(dim=2).max()) < 1e-6


def test_moved_prices_interpolate_the_outputs():
    x = inputs(10, np.random.default_rng(4))
    net, packed = made(x), PackedInputs(x)
    with torch.no_grad():
        net.w3.add_(torch.randn(net.w3.shape, generator=torch.Generator().manual_seed(1)))
    batch = packed.batch(np.arange(20).reshape(2, 10) % 10)
    before = net.outputs(batch).detach()
    net.move_prices(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.5, 2.0, 2.25]))
    after = net.outputs(batch).detach()
    np.testing.assert_allclose(after[..., 1], (before[..., 0] + before[..., 1]) / 2, atol=1e-5)
    np.testing.assert_allclose(after[..., 3], 0.75 * before[..., 2] + 0.25 * before[..., 3], atol=1e-5)
