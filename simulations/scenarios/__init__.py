"""One question per file. `SCENARIOS` is what `dhtchat simulate --list` shows, in this order."""

from ..runner import Scenario
from ..stage import StageScenario
from . import (
    big_directory,
    bootstrap_gone,
    churn,
    clock_skew,
    durable_data,
    eclipse_one_key,
    flash_crowd_room,
    healthy_lookup,
    hostile_half,
    hostile_lookup,
    join_storm,
    long_churn,
    lookup_under_loss,
    moderated_room,
    partition_heal,
    registration_race,
    rolling_restart,
    spreading,
    steady_chat,
    stress,
)

SCENARIOS: dict[str, Scenario] = {
    module.NAME: module
    for module in (
        join_storm,
        steady_chat,
        stress,
        churn,
        partition_heal,
        long_churn,
        registration_race,
        healthy_lookup,
        lookup_under_loss,
        hostile_lookup,
        hostile_half,
        eclipse_one_key,
        flash_crowd_room,
        rolling_restart,
        bootstrap_gone,
        clock_skew,
        durable_data,
        big_directory,
        moderated_room,
        spreading,
    )
}

WITH_SOCKETS: dict[str, StageScenario] = {
    module.NAME: module
    for module in (join_storm, steady_chat, stress, churn, flash_crowd_room, rolling_restart, bootstrap_gone)
}
"""Those that disturb nothing but processes: they play with real sockets as well."""
