"""The command line as a whole: every command helps with an example, wrong use is 2, problems are 1."""

import json
import shlex
import subprocess
import sys

import pytest

from observe import cli
from observe.durable import FolderLock
from observe.errors import StorageError
from observe.exporters import registry

COMMANDS = cli.command_names()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_summary_and_an_example_that_parses(name, capsys):
    module = cli.load_command(name)
    with pytest.raises(SystemExit) as raised:
        cli.main([name, "--help"])

    assert 0 == raised.value.code
    printed = capsys.readouterr().out
    assert module.EXAMPLE in printed
    assert module.EXAMPLE.startswith(f"observe {name}")
    assert name == cli.build_parser(name).parse_args(shlex.split(module.EXAMPLE)[1:]).command


@pytest.mark.parametrize("name", registry.names())
def test_every_exporter_helps_with_an_example_that_parses(name, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(["export", name, "--help"])

    assert 0 == raised.value.code
    example = capsys.readouterr().out.partition("example: ")[2]
    assert name == cli.build_parser("export").parse_args(shlex.split(example)[1:]).exporter


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    printed = capsys.readouterr().out
    assert [] == [name for name in COMMANDS if name not in printed]


@pytest.mark.parametrize("words", [["dance"], ["up", "--nonsense"], []])
def test_wrong_use_is_exit_code_2(words, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(words)

    assert 2 == raised.value.code
    assert "usage:" in capsys.readouterr().err


def test_help_is_quick_because_it_loads_no_numerics():
    code = "import sys; from observe import cli; cli.build_parser('demo'); print('numpy' in sys.modules)"

    assert "False" == subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
    ).stdout.strip()


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--only", "rules"],
        ["boards", "list"],
        ["boards", "check"],
        ["test-rules", "alert_rules/tests/collection.yml"],
        ["notify", "test", "--webhook", "http://127.0.0.1:9/nobody"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_json_is_all_there_is_on_stdout(words, capsys):
    assert cli.main([*words, "--json"]) in {0, 1}

    json.loads(capsys.readouterr().out)


def test_a_data_folder_that_cannot_be_written_is_told_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")

    for folder, why in ((tmp_path / "file", "it is not a folder"), ("/proc/observe", "No such file or directory")):
        with pytest.raises(StorageError, match=f"cannot write to the data folder {folder}: {why}; choose another with"):
            FolderLock(type(tmp_path)(folder))
