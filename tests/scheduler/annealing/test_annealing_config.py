import pytest

from scheduler.annealing import AnnealConfig


def test_the_published_schedule():
    paper = AnnealConfig.paper()
    assert (paper.t_start, paper.t_min, paper.decay) == (500.0, 20.0, 0.95)
    assert (paper.moves_per_temperature, paper.rounds) == (100, 1)
    assert paper.early_exit
    assert not paper.extended_moves


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"t_min": 0.0}, "t_min > 0"),
        ({"t_start": 1.0}, "t_start >= t_min"),
        ({"decay": 1.0}, "decay is 1.0"),
        ({"rounds": 0}, "rounds"),
        ({"moves_per_temperature": 0}, "moves_per_temperature"),
        ({"time_box_s": 0.0}, "time_box_s"),
        ({"max_evaluations": 0}, "max_evaluations is 0"),
    ],
)
def test_refuses_what_is_no_schedule(changes, fault):
    with pytest.raises(ValueError, match=fault):
        AnnealConfig(**changes)
