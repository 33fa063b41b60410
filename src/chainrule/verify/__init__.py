"""Verification: certificates for one derivative, and the check of a whole gradient."""

from __future__ import annotations

from chainrule.verify.certificate import certify
from chainrule.verify.check import check_gradient
from chainrule.verify.evidence import Certificate, Evidence
from chainrule.verify.report import Compared, GradientReport

__all__ = ["Certificate", "Compared", "Evidence", "GradientReport", "certify", "check_gradient"]
