"""The CIFAR ResNet of the published code as a PyTorch module, for comparison; torch is an optional dependency."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def build(num_classes: int, blocks: int = 5) -> "torch.nn.Module":
    """ResNet of depth 6 ``blocks`` + 2 with a cosine head: images [B, 3, H, W] -> cosines [B, C].

    Parameter names are the published checkpoints', which `models.torch_names` maps to ours. The head is
    computed in float32 under autocast too, as ours is.
    """
    import torch  # here, and the classes with it, so that this module imports without torch
    from torch import nn
    from torch.nn import functional

    def conv3x3(channels: int, filters: int, stride: int = 1) -> nn.Conv2d:
        conv = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        return conv

    class BasicBlock(nn.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            self.conv1, self.bn1 = conv3x3(channels, filters, stride), nn.BatchNorm2d(filters)
            self.conv2, self.bn2 = conv3x3(filters, filters), nn.BatchNorm2d(filters)
            self.stride, self.missing = stride, filters - channels

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            if self.missing:  # option A: every second pixel, zero channels on both sides
                half = self.missing // 2
                x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
            return functional.relu(y + x)

    class CosineHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(functional.normalize(torch.rand(64, num_classes) * 2 - 1, dim=0))

        def forward(self, features):
            with torch.autocast(features.device.type, enabled=False):
                return functional.normalize(features, dim=1) @ functional.normalize(self.weight, dim=0)

    class ResNetCifar(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = conv3x3(3, 16), nn.BatchNorm2d(16)
            self.layer1, self.layer2, self.layer3 = (
                nn.Sequential(*[
                    BasicBlock(before if i == 0 else filters, filters, filters // before if i == 0 else 1)
                    for i in range(blocks)
                ])
                for before, filters in ((16, 16), (16, 32), (32, 64))
            )  # fmt: skip
            self.linear = CosineHead()

        def forward(self, images):
            x = functional.relu(self.bn1(self.conv1(images)))
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.linear(x.float().mean((2, 3)))

    return ResNetCifar()
