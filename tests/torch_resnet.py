"""torchvision's ResNet in few lines of PyTorch: the same module names, so that a state dict has the published ones."""

from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, channels, filters, stride, bottleneck, groups, group_width):
        super().__init__()
        if bottleneck:
            out, width = 4 * filters, filters * group_width // 64 * groups
            convs = [(channels, width, 1, 1, 1), (width, width, 3, stride, groups), (width, out, 1, 1, 1)]
        else:
            out, convs = filters, [(channels, filters, 3, stride, 1), (filters, filters, 3, 1, 1)]
        self.depth = len(convs)
        for i, (c_in, c_out, size, step, parts) in enumerate(convs, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(c_in, c_out, size, step, size // 2, groups=parts, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(c_out))
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = functional.relu(y) if i < self.depth else y
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Images [B, 3, H, W] -> scores [B, C]; ``features`` stops before ``fc``."""

    def __init__(self, layers, num_classes, bottleneck=True, groups=1, group_width=64):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, blocks in enumerate(layers, start=1):
            made, filters = [], 32 * 2**stage
            for i in range(blocks):
                stride = 2 if stage > 1 and i == 0 else 1
                made.append(Block(channels, filters, stride, bottleneck, groups, group_width))
                channels = filters * (4 if bottleneck else 1)
            self.add_module(f"layer{stage}", nn.Sequential(*made))
        self.fc = nn.Linear(channels, num_classes)

    def features(self, images):
        x = self.maxpool(functional.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))

    def forward(self, images):
        return self.fc(self.features(images))
