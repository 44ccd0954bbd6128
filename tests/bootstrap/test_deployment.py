"""The files people deploy with say what the program understands, and name what exists. Docker and systemd need not be here:
where `systemd-analyze` is, it checks the unit as well."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from bootstrap.metrics import METRICS
from dhtchat.cli import main as program
from dhtchat.limits import BOOTSTRAP_PORT

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "bootstrap"
UNIT = FOLDER / "dhtchat-bootstrap.service"
DOCKERFILE = FOLDER / "Dockerfile"
PROGRAM = "/opt/dhtchat/bin/dhtchat"
COMMAND_LINE: Any = typer.main.get_command(program.build_app([*program.COMMANDS]))


def understood(words: list[str]) -> dict[str, Any]:
    """What the program takes from a command line; fails as Typer does where it takes none."""
    assert words[0] == PROGRAM
    command = COMMAND_LINE.commands[words[1]]
    options: dict[str, Any] = command.make_context(words[1], words[2:]).params
    return options


# --- systemd ----------------------------------------------------------------------------------------------------------


def unit() -> dict[str, dict[str, list[str]]]:
    """Sections, and in them each name with all its values: systemd allows a name more than once."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        if line.startswith("["):
            values = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            values.setdefault(name, []).append(value)
    return sections


def test_the_unit_is_an_ini_file() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNIT, encoding="utf-8")
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_the_unit_starts_a_command_that_there_is() -> None:
    """With the options it brings, and its data where systemd lets it write."""
    service = unit()["Service"]
    [start] = service["ExecStart"]
    [default] = [shlex.split(line)[0] for line in service["Environment"]]
    name, _, options = default.partition("=")
    words = shlex.split(start.replace("%S", "/var/lib").replace(f"${name}", options))
    taken = understood(words)
    assert taken["port"] == BOOTSTRAP_PORT
    assert taken["metrics"].startswith("127.0.0.1:")
    assert taken["data_dir"] == Path("/var/lib") / service["StateDirectory"][0]
    assert taken["verbose"] == 1


def test_the_examples_in_the_unit_are_understood() -> None:
    """In its first comment: what stands in the file with settings."""
    [options] = re.findall(r"^#   DHTCHAT_OPTIONS=(.*?)  ", UNIT.read_text("utf-8"), re.MULTILINE)
    assert understood([PROGRAM, "bootstrap", *shlex.split(options)])["host"] == "::"


def test_the_unit_gives_nothing_away() -> None:
    """What makes up the sandbox stands there; a line lost in an edit is missed."""
    service = {name: values[-1] for name, values in unit()["Service"].items()}
    expected = {
        "Type": "notify",
        "DynamicUser": "yes",
        "StateDirectoryMode": "0700",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "PrivateDevices": "yes",
        "MemoryDenyWriteExecute": "yes",
        "SystemCallArchitectures": "native",
        "RestrictNamespaces": "yes",
    }
    assert {name: service.get(name) for name in expected} == expected
    assert unit()["Service"]["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]


@pytest.mark.process
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    """With a program in the place of ours that is on this machine."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text("utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, [line for line in checked.stderr.splitlines() if UNIT.name in line]) == (0, [])


# --- Docker -----------------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """`(name, rest)` of each, with continued lines joined and comments away."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def values(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def test_what_the_image_is_made_of_exists_and_reaches_the_build() -> None:
    """Each source of a COPY is in the checkout and let through by the ignore file, which holds back all else."""
    sources = [word for rest in values("COPY") if "--from" not in rest for word in rest.split()[:-1]]
    assert sources
    missing = [source for source in sources if not (ROOT / source).exists()]
    assert missing == []
    first, *let_through = [
        line
        for line in (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*"
    assert {line.removeprefix("!") for line in let_through if line.startswith("!")} == set(sources)


def test_only_locked_wheels_are_fetched() -> None:
    """Every install says so, or stays away from the network; what it reads was copied before."""
    installs = [
        command
        for rest in values("RUN")
        for command in rest.split("&&")
        if re.search(r" pip .*(?:install|wheel) ", command)
    ]
    assert len(installs) == 4
    for command in installs:
        assert "--no-index" in command or {"--require-hashes", "--only-binary=:all:"} <= set(command.split()), command
        for lock in re.findall(r"-r (\S+)", command):
            assert (ROOT / lock).is_file()


def test_the_image_runs_a_command_that_there_is_and_checks_it() -> None:
    """As nobody in particular, in its volume, with a health check that asks the port it listens on."""
    [entry], [arguments], [health] = values("ENTRYPOINT"), values("CMD"), values("HEALTHCHECK")
    taken = understood(json.loads(entry) + json.loads(arguments))
    assert [str(taken["data_dir"])] == values("VOLUME")
    assert values("EXPOSE") == [f"{taken['port']}/udp"]
    asked = understood(json.loads(health.partition("CMD ")[2]))
    assert asked["check"] == f"127.0.0.1:{taken['port']}"
    [user] = values("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert len(set(values("FROM"))) == len(values("FROM")) == 2, "what builds is not what is shipped"


def test_the_composition_is_two_nodes_that_name_each_other() -> None:
    """Each with a folder, a port and metrics of its own, and a health check for its own port."""
    composition = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    [entry], [health] = values("ENTRYPOINT"), values("HEALTHCHECK")
    addresses, named, metrics = [], [], []
    for name, service in composition["services"].items():
        assert (FOLDER / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        assert (service["network_mode"], service["read_only"], service["cap_drop"]) == ("host", True, ["ALL"])
        taken = understood(json.loads(entry) + service["command"])
        assert service["volumes"] == [f"{name}:{taken['data_dir']}"]
        assert name in composition["volumes"]
        addresses.append(f"127.0.0.1:{taken['port']}")
        metrics.append(taken["metrics"])
        named.append(service["environment"]["DHTCHAT_BOOTSTRAP"].split()[0])
        test = service.get("healthcheck", {}).get("test", ["CMD", *json.loads(health.partition("CMD ")[2])])
        assert understood(test[1:])["check"] == addresses[-1]
    assert len(set(addresses)) == len(set(metrics)) == 2
    assert named == addresses[::-1]


# --- Prometheus -------------------------------------------------------------------------------------------------------


def test_the_alerts_ask_for_figures_that_there_are() -> None:
    [group] = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"]
    assert len(group["rules"]) >= 5
    for rule in group["rules"]:
        names = set(re.findall(r"\b(?:dhtchat|process)_\w+", rule["expr"]))
        assert names <= {metric.name for metric in METRICS}, rule["alert"]
        assert names or "up{" in rule["expr"]
        assert rule["annotations"]["summary"]
