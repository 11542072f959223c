import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution, log_edges, mixture, stack
from predictor.errors import DistributionError


@st.composite
def distributions(draw: st.DrawFn) -> LengthDistribution:
    edges = sorted(draw(st.sets(st.integers(0, 300), min_size=2, max_size=12)))
    weights = draw(
        st.lists(st.integers(0, 20), min_size=len(edges) - 1, max_size=len(edges) - 1).filter(any)
    )
    mass = np.array(weights, dtype=np.float64)
    return LengthDistribution(np.array(edges), mass / mass.sum())


def pmf(distribution: LengthDistribution, upto: int = 320) -> np.ndarray:
    """By enumeration: P(L = n) for n = 0..upto, straight from the definition of a bin."""
    mass = np.zeros(upto + 1)
    for b, share in enumerate(distribution.probabilities):
        low, high = distribution.edges[b], distribution.edges[b + 1]
        mass[low + 1 : high + 1] += share / (high - low)
    return mass


@given(distributions())
def test_moments_and_cdf_agree_with_enumeration(d):
    mass, n = pmf(d), np.arange(321)
    assert mass.sum() == pytest.approx(1.0)
    assert d.mean == pytest.approx(mass @ n)
    assert d.variance == pytest.approx(mass @ (n - d.mean) ** 2, abs=1e-7)
    np.testing.assert_allclose(d.cdf(n), np.cumsum(mass), atol=1e-12)
    np.testing.assert_allclose(d.survival(n), 1 - np.cumsum(mass), atol=1e-12)


@given(distributions(), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_quantiles_rise_and_are_the_smallest_that_reach_their_level(d, levels):
    levels = np.sort(levels)
    found = d.quantiles(levels)
    assert (np.diff(found) >= 0).all()
    assert (d.cdf(found) >= levels - 1e-8).all()
    assert (d.cdf(found - 1) <= levels + 1e-8).all()
    assert (pmf(d)[found] > 0).all()


@given(distributions(), st.integers(0, 310))
def test_remaining_is_the_conditional_distribution(d, k):
    rest = d.remaining(k)
    assert rest.probabilities.sum() == pytest.approx(1.0)
    mass = pmf(d)
    if mass[k + 1 :].sum() < 1e-12:
        assert rest.equal(LengthDistribution.point(1))
        return
    j = np.arange(320 - k)
    np.testing.assert_allclose(rest.survival(j), d.survival(k + j) / d.survival(k), atol=1e-9)


@given(distributions(), st.integers(1, 100), st.integers(1, 100))
def test_remaining_composes(d, j, k):
    if d.survival(j + k) > 0:
        once, twice = d.remaining(j + k), d.remaining(j).remaining(k)
        n = np.arange(320)
        np.testing.assert_allclose(once.cdf(n), twice.cdf(n), atol=1e-9)


@given(distributions())
def test_remaining_of_nothing_is_itself(d):
    assert d.remaining(0).equal(d)


@given(distributions(), st.integers(1, 320))
def test_truncated_is_the_minimum(d, limit):
    expected = pmf(d)
    expected[limit] += expected[limit + 1 :].sum()
    expected[limit + 1 :] = 0.0
    np.testing.assert_allclose(pmf(d.truncated(limit)), expected, atol=1e-12)


@given(st.lists(distributions(), min_size=1, max_size=4))
def test_a_mixture_is_the_mean_of_all(them):
    expected = np.mean([pmf(each) for each in them], axis=0)
    np.testing.assert_allclose(pmf(mixture(them)), expected, atol=1e-12)


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(DistributionError, match="at least one"):
        mixture([])


@given(distributions(), st.integers(0, 330))
def test_crps_agrees_with_brute_force(d, actual):
    n = np.arange(400)
    expected = ((d.cdf(n) - (n >= actual)) ** 2).sum()
    assert float(d.crps(actual)) == pytest.approx(expected, abs=1e-7)


def test_crps_is_the_energy_form_and_vectorises():
    d = LengthDistribution(np.array([0, 10, 50]), np.array([0.25, 0.75]))
    mass, n = pmf(d), np.arange(321)
    spread = mass @ np.abs(n[:, None] - n[None, :]) @ mass
    actual = np.array([[0, 1, 10], [11, 50, 400]])
    expected = [[mass @ np.abs(n - y) - spread / 2 for y in row] for row in actual]
    np.testing.assert_allclose(d.crps(actual), expected)
    assert float(LengthDistribution.point(7).crps(10)) == 3.0


@given(distributions())
def test_transport_round_trip(d):
    numbers = d.to_floats()
    assert all(type(number) is float for number in numbers)
    assert LengthDistribution.from_floats(numbers).equal(d)


@pytest.mark.parametrize(
    "numbers",
    [
        [],
        [0.0, 1.0],
        [0.0, 1.0, 0.5],
        [0.0, 1.0, float("nan")],
        [0.0, float("inf"), 1.0],
        [0.5, 1.0, 1.0],
        [2.0, 1.0, 1.0],
        [1.0, 1.0, 1.0],
        [-1.0, 1.0, 1.0],
        [0.0, 1.0, 2.0, 1.5, -0.5],
        [0, 10**400, 1],
        [0.0, 1e300, 1.0],
        [False, True, True],
        ["0", "1", "1"],
        [[0], [1], [1]],
        "012",
        {0: 1},
        None,
        7,
        [0.0] * 20001,
    ],
)
def test_transport_trusts_nothing(numbers):
    with pytest.raises(DistributionError):
        LengthDistribution.from_floats(numbers)


def test_transport_drops_empty_ends():
    d = LengthDistribution(np.array([0, 5, 6, 9, 12]), np.array([0.0, 0.5, 0.5, 0.0]))
    assert d.to_floats() == [5.0, 6.0, 9.0, 0.5, 0.5]


def test_arrays_are_copies_and_read_only():
    edges, mass = np.array([0, 4]), np.array([1.0])
    d = LengthDistribution(edges, mass)
    edges[1] = 9
    assert d.edges.tolist() == [0, 4]
    with pytest.raises(ValueError, match="read-only"):
        d.probabilities[0] = 0.5


@pytest.mark.parametrize(
    ("edges", "probabilities"),
    [
        ([0], []),
        ([0, 1], [0.4]),
        ([0, 1, 2], [1.0]),
        ([[0, 1]], [1.0]),
        ([0, 1, 2], [np.nan, 1.0]),
    ],
)
def test_what_is_no_distribution_is_refused(edges, probabilities):
    with pytest.raises(DistributionError):
        LengthDistribution(np.array(edges), np.array(probabilities))


def test_point():
    d = LengthDistribution.point(7)
    assert (d.mean, d.std, d.quantile(0.0), d.quantile(1.0)) == (7.0, 0.0, 7, 7)
    assert d.cdf([6, 7, 8]).tolist() == [0.0, 1.0, 1.0]
    assert d.remaining(3).equal(LengthDistribution.point(4))
    assert d.remaining(7).equal(LengthDistribution.point(1))
    with pytest.raises(DistributionError, match="at least one token"):
        LengthDistribution.point(0)


def test_from_samples():
    d = LengthDistribution.from_samples([0, 1, 2, 2, 40_000])
    assert d.cdf([1, 2, 16384, 40_000]) == pytest.approx([0.4, 0.8, 0.8, 1.0])
    clipped = LengthDistribution.from_samples([1, 50], edges=[2, 5, 9])
    assert clipped.probabilities.tolist() == [0.5, 0.5]
    for bad in ([], [-1], [float("nan")]):
        with pytest.raises(DistributionError):
            LengthDistribution.from_samples(bad)


@given(st.integers(1, 100_000), st.integers(1, 200))
def test_log_edges(max_tokens, bins):
    edges = log_edges(max_tokens, bins)
    assert len(edges) == min(bins, max_tokens) + 1
    assert edges[0] == 0
    assert edges[-1] == max_tokens
    assert (np.diff(edges) >= 1).all()
    # Steps widen, but for rounding to whole numbers.
    assert (np.diff(edges, 2) >= -1).all()


def test_atoms_and_samples():
    d = LengthDistribution(np.array([0, 100]), np.ones(1))
    assert d.atoms(4).tolist() == [13.0, 38.0, 63.0, 88.0]
    drawn = d.sample(np.random.default_rng(0), 4000)
    assert drawn.min() >= 1
    assert drawn.max() <= 100
    assert drawn.mean() == pytest.approx(50.5, abs=2)
    assert d.sample(np.random.default_rng(0)).shape == ()


@given(st.lists(distributions(), max_size=5), st.integers(1, 15))
def test_stack_keeps_the_cdf_at_the_edges_it_keeps(found, bins):
    edges, cdf = stack(found, bins)
    assert edges.shape == cdf.shape == (len(found), bins + 1)
    for d, row, values in zip(found, edges, cdf, strict=True):
        np.testing.assert_allclose(values, d.cdf(row), atol=1e-12)
        assert (row[0], row[-1]) == (d.edges[0], d.edges[-1])
        if d.bins <= bins:
            assert set(d.edges) <= set(row)


def test_bad_arguments_are_named():
    d = LengthDistribution.point(3)
    for call in (
        lambda: d.remaining(-1),
        lambda: d.truncated(0),
        lambda: d.atoms(0),
        lambda: d.quantile(1.5),
        lambda: d.quantile(float("nan")),
        lambda: log_edges(0),
        lambda: stack([d], 0),
        lambda: LengthDistribution.from_cdf([0, 1], [0.5, 1.0]),
        lambda: LengthDistribution.from_cdf([0, 1, 2], [0.0, 1.2, 1.0]),
    ):
        with pytest.raises(DistributionError):
            call()


def test_below_a_limit_it_is_the_same_distribution_cut_and_scaled():
    forecast = LengthDistribution(np.array([0, 10, 20]), np.array([0.5, 0.5]))
    cut = forecast.below(15)
    assert cut.cdf([10, 15]).tolist() == pytest.approx([2 / 3, 1.0])
    assert forecast.below(20) is forecast
    assert LengthDistribution.point(50).below(20).equal(LengthDistribution.point(20))
    with pytest.raises(DistributionError):
        forecast.below(0)
