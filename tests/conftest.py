"""What every test can use. All randomness of a run comes from one seed, shown at its start and beside each failure."""

import os
import random
from collections.abc import Generator

import pytest
from hypothesis import settings

SEED_DEFAULT = 1
SEED_VARIABLE = "DHTCHAT_TEST_SEED"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed",
        type=int,
        default=os.environ.get(SEED_VARIABLE) or str(SEED_DEFAULT),  # a text goes through `type` as the option does
        help=f"where the tests' randomness starts (or environment {SEED_VARIABLE}; default {SEED_DEFAULT})",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Property tests try the same examples in every run with the default seed, so that what fails fails for everybody; in
    long runs, and with another seed, others each time. No example is judged by the time it takes."""
    explores = config.getoption("--seed") != SEED_DEFAULT or config.getoption("-m") == "soak"
    settings.register_profile("dhtchat", deadline=None, derandomize=not explores)
    settings.load_profile("dhtchat")


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.getoption('--seed')}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the command that repeats it to the report of a failed test that draws from the seed."""
    report = yield
    if report.failed and "seed" in getattr(item, "fixturenames", ()):
        command = f'.venv/bin/python -m pytest "{item.nodeid}" --seed {item.config.getoption("--seed")}'
        report.sections.append(("repeat with", command))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` has two workers. What starts processes of its own goes to one of them, one after the other, so that
    these have a core to themselves."""
    for item in items:
        if item.get_closest_marker("process") is not None:
            item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of this run."""
    return int(pytestconfig.getoption("--seed"))


@pytest.fixture
def rng(seed: int) -> random.Random:
    """Randomness of this test alone: the same numbers whichever other tests run."""
    return random.Random(seed)
