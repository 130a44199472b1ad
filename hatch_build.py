"""The optional build: the modules that move WfRuns, compiled by mypyc. Same source, same tests, same bytes.

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=true pip install .

needs a C compiler and takes two minutes. Without it, and wherever a wheel has no compiled modules, the same files run
as Python. Not hatch-mypyc: it compiles into the source tree, where an editable installation would find the result.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (
    "processors/core/rules/advance.py",
    "processors/core/rules/agenda.py",
    "processors/core/rules/bounds.py",
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
    "processors/core/rules/retiring.py",
    "processors/core/rules/room.py",
    "processors/core/rules/scope.py",
    "processors/core/records/spec.py",
    "processors/core/wf_spec/thread_scopes.py",
    "processors/core/records/topic_names.py",
    "processors/core/records/value_checks.py",
    "processors/core/records/values.py",
)
"""What an interrupt passes through. Not what reads definitions: nothing of it is hot."""


class CompiledCore(BuildHookInterface):  # type: ignore[type-arg]  # of no configuration of its own
    """Adds extension modules to a wheel; the wheel is then for one platform and one Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say where in the wheel the results belong. An editable installation runs the checkout."""
        if version != "standard":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="halter-build-")
        for extension in compile_into(Path(self.root), Path(self._folder.name)):
            build_data["force_include"][str(extension)] = str(extension.relative_to(Path(self._folder.name) / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what was compiled: it is in the wheel."""
        if version == "standard":
            self._folder.cleanup()


def compile_into(root: Path, folder: Path) -> list[Path]:
    """Compile the modules of `COMPILED` below `root`; return the extension modules, laid out under `folder`/lib."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    modules = sorted(str(path.relative_to(root)) for pattern in COMPILED for path in root.glob(pattern))
    before = Path.cwd()
    os.chdir(root)
    try:
        extensions = mypycify(
            ["--config-file=", "--always-true=COMPILED", f"--cache-dir={folder / 'cache'}", *modules],
            opt_level="2",
            debug_level="0",
            group_name="halter",
            target_dir=str(folder / "c"),
        )
        distribution = Distribution({"name": "halter-kafka", "ext_modules": extensions})
        build = distribution.get_command_obj("build_ext")
        build.build_lib, build.build_temp = str(folder / "lib"), str(folder / "temp")  # type: ignore[attr-defined]
        build.ensure_finalized()
        build.run()
    finally:
        os.chdir(before)
    return sorted((folder / "lib").rglob("*.so")) + sorted((folder / "lib").rglob("*.pyd"))
