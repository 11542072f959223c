import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import ClusterError
from serving.cluster.board import GONE_S, IngressNote, SnapshotBoard
from serving.cluster.report import ReplicaReport


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def board(clock):
    return SnapshotBoard(clock)


def report(name="a", *, rank=0, model="m", **more):
    return ReplicaReport(name, rank, model, **more)


def test_a_reader_hears_what_is_new_and_once(board):
    board.post(report("a"))
    board.post(report("b", rank=1))
    first = board.read("", -1)
    assert [heard.report.replica for heard in first.heard] == ["a", "b"]
    assert board.read(first.epoch, first.serial).heard == ()
    board.post(report("b", rank=1, digest=b"new"))
    again = board.read(first.epoch, first.serial)
    assert [heard.report.digest for heard in again.heard] == [b"new"]


def test_a_reader_of_a_board_that_died_hears_all(board, clock):
    board.post(report("a"))
    told = board.read("", -1)
    reborn = SnapshotBoard(clock)
    reborn.post(report("a"))
    assert len(reborn.read(told.epoch, told.serial + 100).heard) == 1


def test_age_is_that_of_the_sender_and_of_lying_here(board, clock):
    board.post(report(digest=b"d", age_s=0.25))
    clock.now_s += 1.0
    (heard,) = board.read("", -1).heard
    assert (heard.age_s, heard.silent_s) == (1.25, 1.0)


def test_who_serves_another_model_may_not_join(board):
    board.join(report("a", model="m"))
    board.join(report("b", rank=1, model="m"))
    with pytest.raises(ClusterError, match=r"replica 2 serves another model \(n\) than replica 0"):
        board.join(report("c", rank=2, model="n"))
    assert len(board.overview().replicas) == 2


def test_a_whole_fleet_may_change_its_model(board, clock):
    board.join(report("a", model="m", named="one"))
    board.join(report("b", model="n", named="another"))
    clock.now_s += GONE_S + 1
    board.join(report("c", model="o", named="one"))
    assert [heard.report.model for heard in board.overview().replicas] == ["o"]


def test_of_a_replica_started_anew_only_the_new_one_is_shown(board):
    board.post(report("old", rank=1, healthy=False))
    board.post(report("new", rank=1))
    assert [heard.report.replica for heard in board.overview().replicas] == ["new"]


def test_how_long_predictors_have_been_mixed(board, clock):
    def note(name, predictor):
        board.note(IngressNote(name, predictor, ""))

    note("x", "p:1")
    note("y", "p:1")
    assert board.overview().mixed_s == 0
    note("x", "p:2")
    clock.now_s += 7
    note("x", "p:2")
    note("y", "p:1")
    assert board.overview().mixed_s == 7
    note("y", "p:2")
    assert board.overview().mixed_s == 0


def test_an_ingress_that_is_gone_mixes_nothing(board, clock):
    board.note(IngressNote("x", "p:1", ""))
    clock.now_s += GONE_S + 1
    board.note(IngressNote("y", "p:2", ""))
    assert board.overview().mixed_s == 0
    assert [note.name for note in board.overview().ingresses] == ["y"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40))
def test_readers_that_come_now_and_then_know_the_latest_of_each(steps):
    board, latest, known, told = SnapshotBoard(Clock()), {}, {}, ("", -1)
    for name, what in steps:
        if what:
            digest = str(len(latest) + what).encode()
            board.post(report(name, digest=digest))
            latest[name] = digest
        else:
            news = board.read(*told)
            told = (news.epoch, news.serial)
            known |= {heard.report.replica: heard.report.digest for heard in news.heard}
            assert known == latest
