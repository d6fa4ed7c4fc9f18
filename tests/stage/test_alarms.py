from lcm_daemon.stage.alarms import Alarms


def test_one_text_for_each_cause_until_it_ends() -> None:
    alarms, told = Alarms(), list[tuple[str, str]]()
    alarms.on_change.append(lambda cause, text: told.append((cause, text)))
    alarms.set_all((("disk", "200 MB are free"), ("input", "")))
    alarms.set("disk", "200 MB are free")
    alarms.set("engine", "out of memory")
    assert alarms.describe() == "200 MB are free; out of memory"
    alarms.set("disk", "")
    assert alarms.describe() == "out of memory"
    assert told == [("disk", "200 MB are free"), ("engine", "out of memory"), ("disk", "")]
