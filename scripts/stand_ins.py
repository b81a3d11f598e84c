"""Stand-ins for packages that are not installed: what is imported but not used then needs not be there."""

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

ABSENT = ("soundfile", "soxr", "av", "pyarrow", "safetensors", "tyro", "rich", "tensorboard", "kaldialign", "fsspec")
ABSENT += ("matplotlib", "markdown_it", "numba", "flashlight", "optuna", "huggingface_hub", "yaml")


class _StandIn(type):
    """A class whose attributes are such classes: it can be called, inherited from, and used as a decorator."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _stand_in(name)

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__

    def __getitem__(cls, _: Any) -> Any:
        return cls


def _stand_in(name: str) -> Any:
    def decorate(self: Any, *arguments: Any, **options: Any) -> Any:
        return arguments[0] if arguments else self

    return _StandIn(name, (Exception,), {"__call__": decorate, "__init__": lambda self, *a, **k: None})


class Module(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _stand_in(name)


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what is not installed. It comes last, so that it hides nothing that is."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        wanted = name.split(".")[0] in ABSENT
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if wanted else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to execute."""


def install() -> None:
    """From now on, in this process, what is not installed is replaced."""
    sys.meta_path.append(StandIns())
