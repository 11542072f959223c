import os

from serving.slo_classes import OTHER, SloClasses


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
