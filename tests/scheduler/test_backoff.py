"""How much a policy is shown after overruns, and when it rests."""

from scheduler.backoff import LEAST_SHOWN, MOST_SHOWN, Backoff


def rests(backoff):
    """For how many steps in a row."""
    count = 0
    while backoff.rests():
        count += 1
    return count


def test_each_overrun_halves_what_is_shown_down_to_a_floor():
    backoff = Backoff.of(slots=16)
    shown = []
    for _ in range(6):
        backoff.overran(backoff.shown)
        shown.append(backoff.shown)
    assert shown == [1024, 512, 256, LEAST_SHOWN, LEAST_SHOWN, LEAST_SHOWN]


def test_a_short_queue_that_overran_is_shown_in_half():
    backoff = Backoff.of(slots=16)
    backoff.overran(600)
    assert backoff.shown == 300
    # With so few in sight it was not the queue.
    backoff.overran(100)
    assert backoff.shown == 300


def test_overruns_in_a_row_mean_ever_longer_rests_and_one_step_in_time_ends_them():
    backoff, found = Backoff.of(slots=16), []
    for _ in range(10):
        backoff.overran(10)
        found.append(rests(backoff))
    assert found == [0, 0, 1, 3, 7, 15, 31, 63, 63, 63]
    backoff.in_time()
    backoff.overran(10)
    assert rests(backoff) == 0


def test_what_is_shown_grows_again_and_later_after_each_overrun():
    def steps_until_all(backoff):
        steps = 0
        while backoff.shown < backoff.most:
            backoff.in_time()
            steps += 1
        return steps

    backoff = Backoff.of(slots=16)
    backoff.overran(MOST_SHOWN)
    first = steps_until_all(backoff)
    backoff.overran(MOST_SHOWN)
    assert 0 < first < steps_until_all(backoff)
    assert backoff.shown == MOST_SHOWN


def test_many_slots_are_shown_several_rounds():
    assert Backoff.of(slots=1024).shown == 4096
