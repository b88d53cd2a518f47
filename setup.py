"""What pyproject.toml cannot say: which packages there are, and that conf/ is installed, too."""

from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
#: Every folder at the top that is a package, and all inside.
PACKAGES = [path.parent.name for path in ROOT.glob("*/__init__.py")]


class BuildWithConf(build_py):
    """Copies conf/ to training/conf; a checkout's own is found where it is."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            self.copy_tree("conf", str(Path(self.build_lib, "training", "conf")))


setup(
    packages=find_namespace_packages(
        include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")],
        exclude=["*.__pycache__"],
    ),
    cmdclass={"build_py": BuildWithConf},
)
