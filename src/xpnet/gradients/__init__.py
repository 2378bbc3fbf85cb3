"""Numerical gradients, and checking derivatives against them."""

from .autodiff import AutodiffReport, check_autodiff
from .check import check_gradient
from .maps import check_jvp, check_vjp
from .numerical import numerical_gradient
from .report import Entry, GradientCheckFailed, GradientReport, ParameterReport

__all__ = [
    "AutodiffReport", "Entry", "GradientCheckFailed", "GradientReport", "ParameterReport",
    "check_autodiff", "check_gradient", "check_jvp", "check_vjp", "numerical_gradient",
]  # fmt: skip
