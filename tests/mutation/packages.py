"""What is mutated, and the tests that it meets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Package(NamedTuple):
    """Sources whose mutants are counted together.

    `mutated` and `spared` are mutmut's patterns of files, `tests` what pytest is given, `sets` how
    many parameter sets of each test run, `quick` the tests of which all do, `apart` the tests that
    run a file in other processes, where mutmut cannot see who calls what, `elsewhere` the functions
    and classes that cannot run on a machine without a CUDA device.
    """

    mutated: tuple[str, ...]
    tests: tuple[str, ...]
    sets: int
    spared: tuple[str, ...] = ()
    apart: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    elsewhere: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()


def function_of(name: str) -> str:
    """`numpy_models.conv.xǁConv2dǁforward__mutmut_3` as `numpy_models.conv.Conv2d.forward`."""
    module, _, mangled = name.partition("__mutmut_")[0].rpartition(".")
    return f"{module}.{mangled.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


_LAYERS = tuple(
    f"parity/test_{name}.py" for name in ("layers", "losses", "networks", "trajectories")
)
_JUDGES = (
    *("decisions", "degenerate", "finite_differences", "layers", "localisation", "losses"),
    *("networks", "tolerance", "trajectories", "transfer", "witness"),
)
_OF_THE_TOOL = (
    *("any_pair", "assembly", "command_line", "decisions", "files", "hostile_files"),
    *("how_a_pair_is_judged", "kernels", "names", "names_of_an_lstm", "onnx", "optimizers"),
    *("own_code", "pair", "perturbation", "precision", "replay", "sides", "strangers"),
    *("two_culprits", "unusual_pairs"),
    *("correspondence", "layers_of_a_pair", "networks_under_test", "numpy_runs", "runs", "trees"),
    *("differences", "examination", "reproductions", "searches", "steps"),
    *("figures", "sides_alone", "variation", "verdicts_in_full"),
)
_OF_A_RECORD = ("evaluation", "handed_through", "progress", "provenance", "saved_run")
_IN_ONE_PROCESS = ("damage", "divergence", "full_disk", "signals")
PACKAGES: dict[str, Package] = {
    "numpy_models": Package(
        mutated=("numpy_models/*",),
        tests=(
            *("tests/numpy_models", *_LAYERS, "parity/test_finite_differences.py"),
            "tests/pretrained",
        ),
        sets=100,
    ),
    "torch_models": Package(
        mutated=("torch_models/*",),
        tests=(
            *("tests/torch_models", "tests/backends/torch/test_meta_device.py"),
            *("parity/test_torch_models.py", "tests/parity/test_names.py", *_LAYERS),
            *("tests/backends/test_models.py", "tests/pretrained"),
        ),
        sets=100,
    ),
    "parity": Package(
        mutated=("parity/*",),
        tests=(
            *(f"parity/test_{name}.py" for name in _JUDGES),
            *(f"tests/parity/test_{name}.py" for name in _OF_THE_TOOL),
        ),
        sets=20,
        # Not judges: the command line, planted faults, exercises, grading, pictures; and what
        # needs a CUDA device.
        spared=(
            *("parity/test_*", "parity/conftest.py", "parity/plugin.py", "parity/__main__.py"),
            *("parity/faults/*", "parity/exercises/*", "parity/grading/*", "parity/report/*"),
            *("parity/check.py", "parity/cuda.py"),
        ),
        apart={
            "parity/kernels.py": ("tests/parity/test_kernels.py",),
            "parity/kernel_process.py": ("tests/parity/test_kernels.py",),
        },
    ),
    "training": Package(
        mutated=(
            *("training/trainer/*", "training/storage/*", "training/backends/*"),
            *("training/data/sampling.py", "studies/claim.py", "studies/claims.py"),
            *("studies/verdicts.py", "studies/groups.py"),
        ),
        tests=(
            *("tests/storage", "tests/backends", "tests/trainer", "tests/data/test_sampling.py"),
            *(f"tests/studies/test_{name}.py" for name in ("collection", "page", "verdicts")),
            *(f"tests/faults/test_{name}.py" for name in _IN_ONE_PROCESS),
            *("tests/cli/test_running.py", "tests/cli/test_whole_sweeps.py"),
            *("tests/cli/test_mistakes.py", "tests/inference/test_weights.py"),
            "--ignore=tests/backends/test_numpy_runs.py",
            "--ignore=tests/backends/torch/test_distributed.py",
        ),
        sets=3,
        # Not judges: what is drawn and said.
        spared=("training/trainer/pictures.py", "training/trainer/console.py"),
        apart={
            "training/backends/workers.py": ("tests/backends/test_workers.py",),
            "training/backends/shared_memory.py": ("tests/backends/test_workers.py",),
            "training/backends/numpy.py": ("tests/backends/test_numpy_runs.py",),
            "training/backends/torch": ("tests/backends/torch/test_distributed.py",),
            "training/trainer": ("tests/backends/test_numpy_runs.py",),
        },
        elsewhere=("training.backends.torch.capture.GraphRecorder",),
        quick=(
            *("tests/storage", "tests/data", "tests/studies/test_verdicts.py"),
            *("tests/backends/test_models.py", "tests/backends/test_opening.py"),
            *("tests/backends/torch/test_devices.py", "tests/backends/torch/test_ranks.py"),
            *(f"tests/trainer/test_{name}.py" for name in _OF_A_RECORD),
        ),
    ),
}
