"""Priors for requests without a forecast."""

import pytest

from serving.priors import ClassPriors


def test_the_first_prior_is_flat_on_a_log_scale_and_ends_at_max_tokens():
    prior = ClassPriors().prior("chat", 1024)
    assert prior.cdf(1024) == pytest.approx(1.0)
    assert 10 < prior.quantile(0.5) < 100


def test_a_class_learns_what_it_shows():
    priors = ClassPriors()
    for number in range(64):
        priors.observe("code", 300 + number % 5)
    assert priors.prior("code", 2048).mean == pytest.approx(302, rel=0.1)
    assert priors.prior("code", 2048).std < 50
    assert priors.prior("chat", 2048).std > 200


def test_a_learned_prior_is_cut_at_max_tokens():
    priors = ClassPriors()
    for _ in range(64):
        priors.observe("code", 300)
    assert priors.prior("code", 100).quantile(1.0) <= 100


def test_requests_that_said_nothing_teach_nothing():
    priors = ClassPriors()
    for _ in range(64):
        priors.observe("code", 0)
    assert priors.prior("code", 64).mean < 64


def test_a_limit_of_one_token_is_possible():
    assert ClassPriors().prior("chat", 1).mean >= 1


def test_a_prior_for_any_limit_and_no_memory_of_them_all():
    priors = ClassPriors()
    for limit in range(1, 3000):
        assert priors.prior("chat", limit).edges[-1] == max(limit, 2)
    assert len(priors._flat) <= 1024
