"""What gets into the log of a running service, and how seldom."""

from bootstrap.logs import EVENTS
from bootstrap.watch import NOISE, TROUBLE, Figures, Logged, Watch
from dhtchat.limits import LOG_REPEAT_S, LOG_STATUS_INTERVAL_S, LOG_TICK_S


def figures(nodes: int = 0, **counted: int) -> Figures:
    return Figures(nodes, 7, 1_400, {name.replace("_", "-"): count for name, count in counted.items()})


def test_a_status_comes_with_the_first_node_and_then_at_its_time() -> None:
    watch = Watch(100.0)
    assert watch.look(110.0, figures()) == []
    [status] = watch.look(120.0, figures(3, datagrams_in=10, datagrams_out=20))
    assert status == Logged(
        "status",
        {
            "nodes": 3,
            "records": 7,
            "record_bytes": 1_400,
            "datagrams_in": 10,
            "datagrams_out": 20,
            "over_s": 20,
            "up_s": 20,
        },
    )
    assert watch.look(130.0, figures(5, datagrams_in=30)) == []
    [status] = watch.look(120.0 + LOG_STATUS_INTERVAL_S, figures(5, datagrams_in=110, datagrams_out=20))
    assert (status.fields["datagrams_in"], status.fields["datagrams_out"]) == (100, 0), "since the last one"
    [status] = watch.look(130.0 + LOG_STATUS_INTERVAL_S, figures(0))
    assert status.fields["nodes"] == 0


def test_what_grows_is_said_at_once_and_then_not_again_for_long() -> None:
    watch = Watch(0.0)
    [noise] = watch.look(10.0, figures(malformed=5))
    assert noise == Logged("noise", {"what": "malformed", "count": 5, "total": 5})
    assert watch.look(20.0, figures(malformed=500)) == []
    [trouble] = watch.look(30.0, figures(malformed=600, disk_failed=1))
    assert trouble == Logged("trouble", {"what": "disk", "count": 1, "total": 1})
    said = [logged for logged in watch.look(10.0 + LOG_REPEAT_S, figures(malformed=900)) if logged.event == "noise"]
    assert said == [Logged("noise", {"what": "malformed", "count": 895, "total": 900})]


def test_counters_are_summed_by_what_they_mean() -> None:
    watch = Watch(0.0)
    counted = figures(
        refused_no_work=1, record_dropped_MalformedRecord=2, refused_full=4, refused_stale=8, busy=16, requests_full=32
    )
    grown = {logged.fields["what"]: logged.fields["count"] for logged in watch.look(LOG_TICK_S, counted)}
    assert grown == {"refused-records": 3, "storage-full": 4, "overload": 48}, "what is stale is everyday life"


def test_a_day_of_the_worst_noise_is_a_short_log() -> None:
    """Goal: whatever is counted, the number of lines has a bound that does not depend on it."""
    watch, lines = Watch(0.0), 0
    for tick in range(1, 8_641):
        total = 1_000_000 * tick
        counted = figures(
            tick % 2, malformed=total, answer_unknown=total, proof_refused=total, disk_failed=total, busy=total
        )
        lines += sum(logged.event != "status" for logged in watch.look(tick * LOG_TICK_S, counted))
    assert lines <= (len(NOISE) + len(TROUBLE)) * (86_400 / LOG_REPEAT_S + 1)


def test_all_of_it_is_declared() -> None:
    watch = Watch(0.0)
    for logged in watch.look(LOG_TICK_S, figures(1, malformed=1, disk_failed=1)):
        assert logged.fields.keys() == set(EVENTS[logged.event].fields)
