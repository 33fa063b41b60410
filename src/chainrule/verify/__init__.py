"""Verification: certificates for one derivative, and the check of a whole gradient."""

from __future__ import annotations

from chainrule.verify.arrays import ArrayCertificate, certify_array
from chainrule.verify.certificate import certify
from chainrule.verify.check import check_gradient
from chainrule.verify.evidence import Certificate, Evidence
from chainrule.verify.report import Compared, GradientReport

__all__ = [
    "ArrayCertificate",
    "Certificate",
    "Compared",
    "Evidence",
    "GradientReport",
    "certify",
    "certify_array",
    "check_gradient",
]
