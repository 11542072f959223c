import os

import pytest

from scheduler.slo import Slo
from serving.slo_classes import OTHER, ClassTable, SloClasses
from serving.slo_config import ClassTargets, SloConfig


def test_a_changed_file_takes_effect_and_a_broken_one_does_not(tmp_path):
    path = tmp_path / "slo.yaml"
    path.write_text("classes: {chat: {e2e_ms: 1000}}\ndefault_class: chat\n", encoding="utf-8")
    now = [0.0]
    reloads: list[bool] = []
    classes = SloClasses(path, on_reload=reloads.append, clock=lambda: now[0])
    assert classes.get("chat").slo.e2e_s == 1.0

    def change(text: str) -> None:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(1, int(now[0] + 2)))

    change("classes: {chat: {e2e_ms: 2000}, code: {}}\ndefault_class: code\n")
    assert classes.get("chat").slo.e2e_s == 1.0  # looked at no more than once a second
    now[0] = 1.5
    assert classes.get("chat").slo.e2e_s == 2.0
    assert classes.get(None).name == "code"
    change("classes: {chat: {e2e: 2000}}")
    now[0] = 3.0
    assert classes.get("chat").slo.e2e_s == 2.0
    path.unlink()
    now[0] = 4.5
    assert classes.get("chat").slo.e2e_s == 2.0
    assert reloads == [True, False, False]


def test_an_unknown_class_promises_nothing():
    classes = SloClasses(None)
    assert classes.get("gold").slo.empty
    assert classes.get("gold").name == OTHER
    assert classes.get(None).name == OTHER


CLASSES = {
    "code": ClassTargets(e2e_ms=30_000),
    "chat": ClassTargets(ttft_ms=5000, tpot_ms=100),
}
NO_DEFAULT = ClassTable(SloConfig(classes=CLASSES))
DEFAULT_CHAT = ClassTable(SloConfig(classes=CLASSES, default_class="chat"))


@pytest.mark.parametrize("name", [None, "gold"])
def test_without_a_class_of_the_file_it_is_the_default_class_or_none(name):
    assert NO_DEFAULT.resolve(name)[0].name == OTHER
    assert NO_DEFAULT.resolve(name)[1] == Slo()
    assert DEFAULT_CHAT.resolve(name)[0].name == "chat"
    assert DEFAULT_CHAT.resolve(name)[1] == Slo(ttft_s=5.0, tpot_s=0.1)


@pytest.mark.parametrize(
    ("targets", "whole", "wanted"),
    [
        (Slo(), None, Slo(ttft_s=5.0, tpot_s=0.1)),
        (Slo(ttft_s=1.0), None, Slo(ttft_s=1.0, tpot_s=0.1)),
        (Slo(e2e_s=9.0), None, Slo(ttft_s=5.0, tpot_s=0.1, e2e_s=9.0)),
        # Stated in full: what is missing there does not apply.
        (Slo(), Slo(e2e_s=9.0), Slo(e2e_s=9.0)),
        (Slo(ttft_s=1.0), Slo(e2e_s=9.0), Slo(ttft_s=1.0, e2e_s=9.0)),
        (Slo(), Slo(), Slo()),
    ],
)
def test_a_target_that_a_request_leaves_out_is_its_classs(targets, whole, wanted):
    assert NO_DEFAULT.resolve("chat", targets=targets, whole=whole)[1] == wanted
