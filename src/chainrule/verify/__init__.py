"""Verification: certificates for one derivative, and the check of a whole gradient."""

from __future__ import annotations

from chainrule.verify.certificate import Certificate, Evidence, certify
from chainrule.verify.report import Compared, GradientReport, check_gradient

__all__ = ["Certificate", "Compared", "Evidence", "GradientReport", "certify", "check_gradient"]
