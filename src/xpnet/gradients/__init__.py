"""Numerical gradients, and checking a gradient against them."""

from .check import check_gradient
from .numerical import numerical_gradient
from .report import Entry, GradientCheckFailed, GradientReport, ParameterReport

__all__ = [
    "Entry", "GradientCheckFailed", "GradientReport", "ParameterReport", "check_gradient",
    "numerical_gradient",
]  # fmt: skip
