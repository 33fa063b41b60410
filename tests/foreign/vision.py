"""Models of torchvision and timm, built for small images without weights.

The package of torchvision on PyPI is made for PyTorch with CUDA. Beside PyTorch for processors its
import stops at two operators of its compiled part, which object detection alone calls. So it does
not stand in the environment, where transformers would find it, but in a folder (tools/optional.sh).
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "build" / "vision"
TORCHVISION = ("resnet", "shufflenet_v2_x0_5", "vit")
TIMM = ("test_byobnet", "test_efficientnet", "test_vit")
_CLASSES, _SAMPLES = 5, 4


def torchvision() -> Any:
    """Import torchvision, also where its compiled part does not fit the build of PyTorch."""
    import torch

    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        global _operators
        _operators = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _operators.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        return importlib.import_module("torchvision")


_operators: Any = None  # it keeps them


def build(name: str) -> tuple[Any, Any, Any]:
    """Return a model in float64 and training mode, with images and classes."""
    import torch

    torch.manual_seed(0)
    models = torchvision().models
    size = 16 if name == "vit" else 32
    if name == "vit":
        model = models.VisionTransformer(size, 8, 2, 2, 16, 32, num_classes=_CLASSES)
        torch.nn.init.normal_(model.heads.head.weight, std=0.02)  # it starts at zero
    elif name == "resnet":
        block = models.resnet.BasicBlock
        model = models.ResNet(block, [1, 1, 1, 1], num_classes=_CLASSES)
    elif name in TORCHVISION:
        model = models.get_model(name, weights=None, num_classes=_CLASSES)
    else:
        sized = {"img_size": size} if "vit" in name else {}
        timm = importlib.import_module("timm")
        model = timm.create_model(name, pretrained=False, num_classes=_CLASSES, **sized)
    x = torch.randn(_SAMPLES, 3, size, size).double()
    return model.double().train(), x, torch.arange(_SAMPLES) % _CLASSES
