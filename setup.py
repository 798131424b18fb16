"""Puts the protocol's files beside the code generated from them; `pyproject.toml` has everything else."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROTOCOL = sorted(str(path) for path in Path("proto/jaxchat/v1").glob("*.proto"))


class BuildWithProtocol(build_py):
    """The step that copies Python code, with the protocol's files added.

    An editable install has them in `proto/` alone.
    """

    def run(self):
        super().run()
        if not self.editable_mode:
            for source, target in zip(PROTOCOL, self._protocol_outputs(), strict=True):
                self.copy_file(source, target)

    def get_source_files(self):
        return [*super().get_source_files(), *PROTOCOL]

    def get_outputs(self, include_bytecode=True):
        added = [] if self.editable_mode else self._protocol_outputs()
        return [*super().get_outputs(include_bytecode), *added]

    def _protocol_outputs(self):
        return [str(Path(self.build_lib, "jaxchat", "v1", Path(source).name)) for source in PROTOCOL]


setup(cmdclass={"build_py": BuildWithProtocol})
