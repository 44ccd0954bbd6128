"""What gets installed, what a start of the program loads, and that the locks fit the project.

Nothing here needs the network: the wheel is built with the locked hatchling that `make` installed.
"""

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from dhtchat import __version__, companions

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

pytestmark = pytest.mark.process


def run_python(*arguments: str, cwd: Path, first_on_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with `first_on_path` before all that is installed, and without `cwd` on the path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if first_on_path is not None:
        environment["PYTHONPATH"] = str(first_on_path)
    return subprocess.run(
        [sys.executable, "-P", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
    )


def build(target: str, source: Path, destination: Path) -> Path:
    """Build the `wheel` or `sdist` of `source` and return the file."""
    built = run_python("-m", "hatchling", "build", "-t", target, "-d", str(destination), cwd=source)
    assert built.returncode == 0, built.stderr
    [file] = destination.iterdir()
    return file


def wheel_names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """A folder with the unpacked wheel, like a site-packages that knows no checkout."""
    folder = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


# --- the archives ----------------------------------------------------------------------------------------------------


def test_the_wheel_installs_one_top_level_package(wheel: Path) -> None:
    names = wheel_names(wheel)
    assert {name.split("/")[0] for name in names} == {"dhtchat", f"dhtchat-{__version__}.dist-info"}
    assert {"dhtchat/__main__.py", "dhtchat/py.typed"} <= set(names)
    assert {"dhtchat/bootstrap/__main__.py", "dhtchat/simulations/__init__.py"} <= set(names)


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    def files(folder: str) -> set[str]:
        found = (file.relative_to(ROOT).as_posix() for file in (ROOT / folder).rglob("*.py"))
        return {name if folder == "dhtchat" else f"dhtchat/{name}" for name in found}

    expected = files("dhtchat") | files("bootstrap") | files("simulations")
    assert {name for name in wheel_names(wheel) if name.endswith(".py")} == expected


def test_the_wheel_has_the_files_to_deploy_with_that_need_no_checkout(wheel: Path) -> None:
    """The unit and the alerts are of use to who has installed the program; the Docker files build from a checkout."""
    found = {name.rpartition("/")[2] for name in wheel_names(wheel) if name.startswith("dhtchat/bootstrap/")}
    assert {name for name in found if not name.endswith(".py")} == {"dhtchat-bootstrap.service", "alerts.yaml"}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    information = f"dhtchat-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"{information}/METADATA"))
        entry_points = archive.read(f"{information}/entry_points.txt").decode()
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert f"{information}/licenses/LICENSE" in wheel_names(wheel)
    assert "dhtchat = dhtchat.__main__:main" in entry_points


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and newer; 3.12 warns without it
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path / "source")
    [source] = (tmp_path / "source").iterdir()
    assert {"LICENSE", "CHANGELOG.md", "Makefile", "requirements", "tests"} <= {path.name for path in source.iterdir()}
    assert wheel_names(build("wheel", source, tmp_path / "wheel")) == wheel_names(wheel)


# --- companions ------------------------------------------------------------------------------------------------------

LOAD_EACH = """
import sys
sys.path = [place for place in sys.path if place != {root!r}]  # an editable install puts the checkout there
import dhtchat.companions
for name in dhtchat.companions.COMPANIONS:
    module = dhtchat.companions.load(name)
    print(module.__name__, module.__file__, sep="\\n")
print(dhtchat.companions.load("bootstrap", "__main__").__name__)
"""
"""Prints name and place of each companion; `root` is never on the path before `load` puts it there."""


def test_installed_companions_lie_below_the_package(installed: Path, tmp_path: Path) -> None:
    loaded = run_python("-c", LOAD_EACH.format(root=str(ROOT)), cwd=tmp_path, first_on_path=installed)
    assert loaded.stdout.splitlines() == [
        "dhtchat.bootstrap",
        str(installed / "dhtchat" / "bootstrap" / "__init__.py"),
        "dhtchat.simulations",
        str(installed / "dhtchat" / "simulations" / "__init__.py"),
        "dhtchat.bootstrap.__main__",
    ], loaded.stderr


def test_companions_of_a_checkout_lie_beside_the_package(tmp_path: Path) -> None:
    # The interpreter is told where the checkout is by an entry that is taken away again once dhtchat is imported.
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import dhtchat.companions\n"
    loaded = run_python("-c", program + LOAD_EACH.format(root=str(ROOT)), cwd=tmp_path)
    assert loaded.stdout.splitlines() == [
        "bootstrap",
        str(ROOT / "bootstrap" / "__init__.py"),
        "simulations",
        str(ROOT / "simulations" / "__init__.py"),
        "bootstrap.__main__",
    ], loaded.stderr


def test_a_package_of_the_same_name_before_ours_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").mkdir()
    (tmp_path / "bootstrap" / "__init__.py").write_text("raise SystemExit('somebody else')", encoding="utf-8")
    program = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "from dhtchat.companions import load\n"
        "print(load('bootstrap').__file__)"
    )
    loaded = run_python("-c", program, cwd=tmp_path, first_on_path=tmp_path)
    assert loaded.stdout.strip() == str(ROOT / "bootstrap" / "__init__.py"), loaded.stderr


def test_a_package_of_the_same_name_imported_before_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())  # which load() changes
    monkeypatch.setitem(sys.modules, "simulations", ModuleType("simulations"))
    with pytest.raises(ImportError, match="was imported before"):
        companions.load("simulations")


@pytest.mark.parametrize("pyproject", [None, '[project]\nname = "another"\n', "not = = toml", 'project = "dhtchat"\n'])
def test_a_folder_beside_an_incomplete_install_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pyproject: str | None
) -> None:
    for folder in ("dhtchat", "bootstrap"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    monkeypatch.setattr(companions, "_package", tmp_path / "dhtchat")
    with pytest.raises(ImportError, match="bootstrap is missing"):
        companions.load("bootstrap")


def test_only_companions_are_loaded() -> None:
    with pytest.raises(ImportError, match="'cli' is not one of the companions bootstrap, simulations"):
        companions.load("cli")


def test_python_m_bootstrap_passes_its_arguments_on(tmp_path: Path) -> None:
    """Only the hand-over: `main` is replaced, because the command itself is tested with the command line."""
    program = (
        "import runpy, sys, dhtchat.__main__\n"
        "dhtchat.__main__.main = lambda arguments: print(arguments) or 7\n"
        "sys.argv[1:] = ['--port', '0']\n"
        "runpy.run_module('bootstrap', run_name='__main__', alter_sys=True)\n"
    )
    ran = run_python("-c", program, cwd=tmp_path, first_on_path=ROOT)
    assert (ran.returncode, ran.stdout) == (7, "['bootstrap', '--port', '0']\n"), ran.stderr


# --- the entry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_loads_nothing_else(tmp_path: Path, option: str) -> None:
    """The cause of "`--version` takes at most 2.5 times `python -c pass`", checked without a clock."""
    program = (
        "import sys; before = set(sys.modules)\n"
        "from dhtchat.__main__ import main\n"
        f"code = main([{option!r}])\n"
        "print(code, *sorted(set(sys.modules) - before))"
    )
    ran = run_python("-c", program, cwd=tmp_path, first_on_path=ROOT)
    assert ran.stdout.splitlines() == [f"dhtchat {__version__}", "0 dhtchat dhtchat.__main__"], ran.stderr


def test_python_m_dhtchat_is_the_same_program(tmp_path: Path) -> None:
    ran = run_python("-m", "dhtchat", "--version", cwd=tmp_path, first_on_path=ROOT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"dhtchat {__version__}\n", "")


# --- the locks -------------------------------------------------------------------------------------------------------


def locked(name: str) -> dict[str, str]:
    """Package to version in `requirements/<name>.txt`."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE))


def required(entries: list[str]) -> set[str]:
    """The names in a list of requirements, as locks write them."""
    return {re.split(r"[^A-Za-z0-9._-]", entry)[0].lower().replace("_", "-").replace(".", "-") for entry in entries}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_hashes_and_nothing_of_the_machine_that_made_it(lock: Path) -> None:
    lines = lock.read_text(encoding="utf-8").splitlines()
    pins = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    assert pins
    for number in pins:
        assert re.fullmatch(r"[a-z0-9-]+==[^\s;]+( ; .+)? \\", lines[number]), lines[number]
        assert "--hash=sha256:" in lines[number + 1]
    assert [
        line for line in lines if line.startswith(" ") and not re.fullmatch(r" +--hash=sha256:\w{64}( \\)?", line)
    ] == []


def test_the_locks_name_what_the_project_asks_for() -> None:
    project = PROJECT["project"]
    assert required(project["dependencies"]) <= locked("base").keys()
    assert required(project["optional-dependencies"]["dev"]) <= locked("dev").keys()
    assert required(PROJECT["build-system"]["requires"]) <= locked("build").keys()
    assert PROJECT["build-system"]["requires"] == PROJECT["dependency-groups"]["build"]


def test_the_locks_agree_so_that_one_environment_holds_them() -> None:
    """Dev has all of base and build: then `make demo` and `make test` run the same versions."""
    assert locked("base").items() <= locked("dev").items()
    assert locked("build").items() <= locked("dev").items()
