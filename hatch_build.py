"""The build of a wheel: mypyc compiles the modules that move WfRuns, where a C compiler works. Same source, same bytes.

`HALTER_CORE` says what the wheel gets:

    (not set)   the compiled core; where it cannot be compiled, the core as Python, and a line that says why
    compiled    the compiled core, or no wheel: for whoever publishes wheels
    python      the core as Python: the wheel is for every platform and is built at once

A compiled wheel has the Python files too, and is for one platform and one minor version of Python. An editable
installation compiles nothing: it runs the checkout, and a compiled module would hide what is edited there.

Not hatch-mypyc: it compiles into the source tree, where an editable installation would find the result.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SETTING: Final = "HALTER_CORE"
WANTED: Final = ("", "compiled", "python")
"""The values of the setting; empty: compiled if possible."""

COMPILED = (
    "halter/explore/coverage.py",
    "halter/explore/inputs.py",
    "halter/explore/probing.py",
    "halter/explore/reads.py",
    "halter/explore/search.py",
    "halter/explore/states.py",
    "processors/codec/log_writer.py",
    "processors/core/rules/advance.py",
    "processors/core/rules/agenda.py",
    "processors/core/rules/bounds.py",
    "processors/core/rules/cancelling.py",
    "processors/core/records/commands.py",
    "processors/core/rules/context.py",
    "processors/core/rules/decide/*.py",
    "processors/core/rules/dropping.py",
    "processors/core/rules/engine.py",
    "processors/core/records/events.py",
    "processors/core/rules/evolve.py",
    "processors/core/wf_spec/expressions.py",
    "processors/core/rules/external_events.py",
    "processors/core/rules/failing.py",
    "processors/core/records/failures.py",
    "processors/core/rules/halting.py",
    "processors/core/rules/handlers.py",
    "processors/core/rules/indexing.py",
    "processors/core/rules/interrupts.py",
    "processors/core/records/model.py",
    "processors/core/records/names.py",
    "processors/core/rules/nodes/*.py",
    "processors/core/rules/restoring.py",
    "processors/core/rules/retiring.py",
    "processors/core/rules/room.py",
    "processors/core/rules/scope.py",
    "processors/core/records/spec.py",
    "processors/core/wf_spec/thread_scopes.py",
    "processors/core/records/topic_names.py",
    "processors/core/records/value_checks.py",
    "processors/core/records/values.py",
)
"""What an interrupt passes through, and what a search does millions of times. Not what reads definitions: nothing of it
is hot.
"""
PACKAGES: Final = ("processors", "halter")
"""Where these modules are, and what they import."""
MYPY: Final = ("--config-file=", "--always-true=COMPILED", "--follow-imports=silent")
"""Options of mypy. What the compiled modules import may itself import what is not installed where a wheel is built."""
ENCODERS: Final = "processors/codec/compiled_encoders.py"
"""A module that the build writes from the schemas, and compiles."""
INWARD: Final = "-fvisibility=hidden"
"""Functions of one module that another calls are found when the extension is linked, and not at each call."""
TRIAL: Final = "#include <Python.h>\nPyMODINIT_FUNC PyInit_trial(void) { return NULL; }\n"
"""A module that is compiled first: what is wrong with a compiler shows at once, and not behind a minute of mypyc."""
RECORDS: Final = ("record", "dataclass(slots=True)", "dataclass(slots=True, eq=False)")
"""Decorators of classes that get a constructor of their own. The others are frozen, or belong to definitions."""


class CannotCompile(Exception):
    """Nothing can be compiled on this machine. Whoever builds the wheel may install what is missing."""


class CompiledCore(BuildHookInterface):  # type: ignore[type-arg]  # of no configuration of its own
    """Adds extension modules to a wheel, if they can be compiled."""

    def dependencies(self) -> list[str]:
        """Return what compiling needs. Nothing where nothing is compiled: an installation may not fail for it."""
        tries = wanted() == "compiled" or (wanted() == "" and why_not_here() is None)
        return list(self.config["compiler"]) if tries else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say where in the wheel the results belong."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if version != "standard":
            return
        if wanted() == "python":
            say(f"the core stays Python, as {SETTING}=python asks")
            return
        self._folder = tempfile.TemporaryDirectory(prefix="halter-build-")
        folder = Path(self._folder.name)
        try:
            extensions = compile_into(Path(self.root), folder)
        except (Exception, SystemExit) as error:  # mypyc ends the process; an installation must not fail for speed
            if wanted() == "compiled":
                raise
            say(
                f"the core stays Python, which is slower: it could not be compiled ({SETTING}=compiled makes this an "
                f"error, {SETTING}=python does not try): {error}"
            )
            return
        for extension in extensions:
            build_data["force_include"][str(extension)] = str(extension.relative_to(folder / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        say("the core is compiled")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what was compiled: it is in the wheel."""
        if self._folder is not None:
            self._folder.cleanup()


def say(sentence: str) -> None:
    """Tell whoever builds. pip shows it with `--verbose`; without, the name of the wheel says as much."""
    print(f"halter: {sentence}", file=sys.stderr, flush=True)  # noqa: T201


def wanted() -> str:
    """Return the setting."""
    value = os.environ.get(SETTING, "")
    if value not in WANTED:
        raise SystemExit(f"halter: {SETTING}: expected 'compiled', 'python' or nothing, found {value!r}")
    return value


def why_not_here() -> str | None:
    """Return why nothing can be compiled on this machine, as far as a look tells; None if it is worth a try."""
    if sys.implementation.name != "cpython":
        return f"expected CPython, found {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "expected a Python with the global lock, found a free-threaded one, on which it was not tried"
    if os.name == "nt":
        return None  # where Visual Studio lies is known to setuptools only
    compiler, *_ = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(compiler) is None:
        return f"expected the C compiler {compiler}, found none on the PATH"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.is_file() else f"expected the headers of Python, found no {header}"


def compile_into(root: Path, folder: Path) -> list[Path]:
    """Compile the modules of `COMPILED` below `root`; return the extension modules, laid out under `folder`/lib."""
    if why := why_not_here():
        raise CannotCompile(why)
    from mypyc.build import mypycify
    from setuptools import Extension

    trial = folder / "trial.c"
    trial.write_text(TRIAL, encoding="utf-8")
    build_extensions([Extension("trial", [str(trial)])], folder, folder / "trial")
    modules = sorted(str(path.relative_to(root)) for pattern in COMPILED for path in root.glob(pattern))
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(root / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for module in modules:
        path = source / module
        path.write_text(with_constructors(path.read_text(encoding="utf-8")), encoding="utf-8")
    modules.append(ENCODERS)
    (source / ENCODERS).write_text(encoders(root), encoding="utf-8")
    before = Path.cwd()
    os.chdir(source)
    try:
        extensions = mypycify(
            [*MYPY, f"--cache-dir={folder / 'cache'}", *modules],
            opt_level=optimization(),
            debug_level="0",
            group_name="halter",
            target_dir=str(folder / "c"),
        )
        if os.name != "nt":
            for extension in extensions:
                extension.extra_compile_args.append(INWARD)
        build_extensions(extensions, folder, folder / "lib")
    finally:
        os.chdir(before)
    return sorted((folder / "lib").rglob("*.so")) + sorted((folder / "lib").rglob("*.pyd"))


def optimization() -> str:
    """Return how far the C compiler optimizes: as CFLAGS asks, by default 2, for which it takes three times as long."""
    asked = re.findall(r"(?:^|\s)-O([0-3])(?=\s|$)", os.environ.get("CFLAGS", ""))
    return asked[-1] if asked else "2"


def build_extensions(extensions: list[Any], folder: Path, into: Path) -> None:
    """Compile C and link it."""
    from setuptools import Distribution

    distribution = Distribution({"name": "halter-kafka", "ext_modules": extensions})
    build = distribution.get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(into), str(folder / "temp")  # type: ignore[attr-defined]
    build.ensure_finalized()
    build.run()


def encoders(root: Path) -> str:
    """Return the source of the encoders of the log. The codec writes it, in a process of its own."""
    program = "import sys; sys.path[:0] = sys.argv[2:]; from processors.codec.encoder_module import main; main()"
    command = [sys.executable, "-B", "-c", program, str(root / "schemas"), str(root)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout


def with_constructors(source: str) -> str:
    """Return the source of a module with an `__init__` in each record, as `dataclass` would make it.

    mypyc compiles what it finds in the class. `dataclass` makes its `__init__` when the module is imported, so that one
    stays Python, and an interrupt makes some forty records. Pickle makes an object without arguments, which a compiled
    `__init__` refuses, so each record also says how it is made. Both methods take the places of empty lines, so that
    the lines of tracebacks stay those of the source.
    """
    lines = source.splitlines()
    for it in ast.parse(source).body:
        if isinstance(it, ast.ClassDef) and any(ast.unparse(by) in RECORDS for by in it.decorator_list):
            end = it.end_lineno or 0
            assert not any(lines[end : end + 2]), f"{it.name}: expected two empty lines behind it"
            fields = [argument(field) for field in it.body if isinstance(field, ast.AnnAssign)]
            lines[end : end + 2] = [f"    {constructor(fields)}", f"    {reduction(it.name, fields)}"]
    return "\n".join(lines) + "\n"


def constructor(fields: list[tuple[str, str, str]]) -> str:
    """Return the `__init__` of a record as one line."""
    arguments = ", ".join(["self", *(text for _, text, _ in fields)])
    body = "; ".join(f"self.{name} = {value}" for name, _, value in fields)
    return f"def __init__({arguments}) -> None: {body or 'pass'}"


def reduction(record: str, fields: list[tuple[str, str, str]]) -> str:
    """Return a `__reduce__` as one line."""
    values = "".join(f"self.{name}, " for name, _, _ in fields)
    return f"def __reduce__(self) -> tuple[object, ...]: return {record}, ({values})"


def argument(field: ast.AnnAssign) -> tuple[str, str, str]:
    """Return the name of a field, its argument of `__init__`, and the value that it gets."""
    name, kind, default = ast.unparse(field.target), ast.unparse(field.annotation), field.value
    if not (isinstance(default, ast.Call) and ast.unparse(default.func) == "field"):
        return name, f"{name}: {kind}" + (f" = {ast.unparse(default)}" if default else ""), name
    options = {option.arg: ast.unparse(option.value) for option in default.keywords}
    if "default_factory" not in options:
        return name, f"{name}: {kind} = {options['default']}", name
    return name, f"{name}: {kind} | None = None", f"{options['default_factory']}() if {name} is None else {name}"
