"""Attention as the repositories of papers write it: their signatures, their idioms, own code."""

import math
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F


class SELayer(nn.Module):
    def __init__(self, channel, reduction=16):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channel, channel // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channel // reduction, channel, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class CoordAtt(nn.Module):
    def __init__(self, inp, oup, reduction=32):
        super().__init__()
        mip = max(8, inp // reduction)
        self.conv1 = nn.Conv2d(inp, mip, 1)
        self.bn1 = nn.BatchNorm2d(mip)
        self.conv_h = nn.Conv2d(mip, oup, 1)
        self.conv_w = nn.Conv2d(mip, oup, 1)

    def forward(self, x):
        _, _, h, w = x.size()
        y = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], dim=2)
        y = F.relu6(self.bn1(self.conv1(y)))
        x_h, x_w = torch.split(y, [h, w], dim=2)
        a_h = self.conv_h(x_h).sigmoid()
        a_w = self.conv_w(x_w.permute(0, 1, 3, 2)).sigmoid()
        return x * a_w * a_h


class CBAM(nn.Module):
    def __init__(
        self,
        gate_channels,
        reduction_ratio=16,
        pool_types=["avg", "max"],  # noqa: B006  as they write it
        no_spatial=False,
    ):
        super().__init__()
        hidden = gate_channels // reduction_ratio
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(gate_channels, hidden), nn.ReLU(),
            nn.Linear(hidden, gate_channels),
        )  # fmt: skip
        self.pool_types = pool_types
        self.spatial = None if no_spatial else nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x):
        total = None
        for kind in self.pool_types:
            if kind == "avg":
                pooled = F.avg_pool2d(x, (x.size(2), x.size(3)))
            else:
                pooled = F.max_pool2d(x, (x.size(2), x.size(3)))
            raw = self.mlp(pooled)
            total = raw if total is None else total + raw
        x = x * torch.sigmoid(total).unsqueeze(2).unsqueeze(3).expand_as(x)
        if self.spatial is not None:
            both = torch.cat(
                (torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1
            )
            x = x * torch.sigmoid(self.spatial(both))
        return x


class EMA(nn.Module):
    def __init__(self, channels, c2=None, factor=8):
        super().__init__()
        self.groups = factor
        self.gn = nn.GroupNorm(channels // factor, channels // factor)
        self.conv = nn.Conv2d(channels // factor, channels // factor, 1)
        self.c2 = c2

    def forward(self, x):
        assert self.c2 is None
        b, c, h, w = x.size()
        groups = x.reshape(b * self.groups, -1, h, w)
        hw = self.conv(groups.mean((2, 3), keepdim=True)).sigmoid()
        return self.gn(groups * hw).reshape(b, c, h, w)


class GAM_Attention(nn.Module):  # noqa: N801
    def __init__(self, in_channels, out_channels, rate=4):
        super().__init__()
        self.channel_attention = nn.Sequential(
            nn.Linear(in_channels, int(in_channels / rate)), nn.ReLU(inplace=True),
            nn.Linear(int(in_channels / rate), in_channels),
        )  # fmt: skip
        self.spatial_attention = nn.Conv2d(in_channels, out_channels, 7, padding=3)

    def forward(self, x):
        b, c, h, w = x.shape
        seq = x.permute(0, 2, 3, 1).view(b, -1, c)
        x = x * self.channel_attention(seq).view(b, h, w, c).permute(0, 3, 1, 2)
        return x * self.spatial_attention(x).sigmoid()


class simam_module(nn.Module):  # noqa: N801
    def __init__(self, channels=None, e_lambda=1e-4):
        super().__init__()
        self.channels, self.e_lambda = channels, e_lambda

    def forward(self, x):
        _, _, h, w = x.size()
        n = w * h - 1
        d = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
        return x * torch.sigmoid(d / (4 * (d.sum([2, 3], keepdim=True) / n + self.e_lambda)) + 0.5)


class eca_layer(nn.Module):  # noqa: N801
    def __init__(self, k_size=3):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel_size=k_size, padding=(k_size - 1) // 2, bias=False)

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(y)


class ECA(nn.Module):
    def __init__(self, *, b=1, gamma=2, channel):
        super().__init__()
        t = int(abs((math.log2(channel) + b) / gamma))
        self.eca = eca_layer(t if t % 2 else t + 1)

    def forward(self, x):
        return self.eca(x)


class SpatialAttention(nn.Module):
    def __init__(self, kernel_size=7):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x):
        y = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], dim=1)
        return x * self.conv1(y).sigmoid()


class MultiSpectralAttentionLayer(nn.Module):
    def __init__(self, channel, dct_h, dct_w, reduction=16, freq_sel_method="top16"):
        super().__init__()
        top = int(freq_sel_method.removeprefix("top"))
        place = torch.arange(dct_h).unsqueeze(1), torch.arange(dct_w).unsqueeze(0)
        basis = [
            torch.cos(math.pi * (place[0] + 0.5) * u / dct_h)
            * torch.cos(math.pi * (place[1] + 0.5) * (u // 4) / dct_w)
            for u in range(top)
        ]
        self.register_buffer("weight", torch.stack(basis).repeat_interleave(channel // top, 0))
        self.fc = nn.Sequential(nn.Linear(channel, channel // reduction), nn.ReLU(),
                                nn.Linear(channel // reduction, channel), nn.Sigmoid())  # fmt: skip

    def forward(self, x):
        n, c, _, _ = x.shape
        y = torch.sum(x * self.weight, dim=[2, 3])
        return x * self.fc(y).view(n, c, 1, 1).expand_as(x)


class MHSA(nn.Module):
    def __init__(self, n_dims, width=14, height=14, heads=4):
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(n_dims, n_dims, kernel_size=1)
        self.rel_h = nn.Parameter(torch.randn([1, heads, n_dims // heads, 1, height]))
        self.rel_w = nn.Parameter(torch.randn([1, heads, n_dims // heads, width, 1]))

    def forward(self, x):
        n, c, h, w = x.size()
        q = self.query(x).view(n, self.heads, c // self.heads, -1)
        place = (self.rel_h + self.rel_w).view(1, self.heads, c // self.heads, -1)
        energy = torch.matmul(q.permute(0, 1, 3, 2), q) + torch.matmul(place.permute(0, 1, 3, 2), q)
        out = torch.matmul(q, energy.softmax(-1).permute(0, 1, 3, 2))
        return out.view(n, c, h, w)


class Windowed(nn.Module):
    def __init__(self, dim, input_resolution, num_heads=4, qkv_bias=True):
        super().__init__()
        height, width = input_resolution
        self.place = nn.Parameter(torch.zeros(1, dim, height, width))
        self.qkv = nn.Conv2d(dim, dim, 1, groups=num_heads, bias=qkv_bias)

    def forward(self, x):
        return x * torch.tanh(self.qkv(x + self.place))


class FeatureSized(nn.Module):
    def __init__(self, features, feat_size, r=4):
        super().__init__()
        self.fc = nn.Linear(features * feat_size, features // r)
        self.back = nn.Linear(features // r, features)

    def forward(self, x):
        return x * self.back(self.fc(x.mean(3).flatten(1))).sigmoid()[..., None, None]


class C2Attention(nn.Module):
    def __init__(self, c1, c2, n=1, shortcut=True, g=1, e=0.5):
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = nn.Conv2d(c1, hidden, 1, groups=g)
        self.cv2 = nn.Conv2d(hidden, c2, 1)
        self.m = nn.Sequential(*(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(n)))
        self.add = shortcut and c1 == c2

    def forward(self, x):
        y = self.cv2(self.m(F.silu(self.cv1(x)))).sigmoid()
        return x + x * y if self.add else x * y


class SpatialGroupEnhance(nn.Module):
    def __init__(self, groups=8):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, groups, 1, 1))

    def forward(self, x):
        b, _, h, w = x.size()
        y = x.view(b * self.groups, -1, h, w)
        t = (y * y.mean((2, 3), keepdim=True)).sum(dim=1, keepdim=True).view(b * self.groups, -1)
        t = t - t.mean(dim=1, keepdim=True)
        t = (t / (t.std(dim=1, keepdim=True) + 1e-5)).view(b, self.groups, h, w)
        t = (t * self.weight + self.bias).view(b * self.groups, 1, h, w)
        return (y * t.sigmoid()).view(b, -1, h, w)


class SubSE(SELayer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class SqueezeOfSize(nn.Module):
    def __init__(self, in_size, reduction: int = 4, act=nn.ReLU):
        super().__init__()
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_size, in_size // reduction, 1), act(),
            nn.Conv2d(in_size // reduction, in_size, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        return x * self.se(x)


def se_of_four(planes: int):
    return SELayer(planes, reduction=4)


se_of_eight = partial(SELayer, reduction=8)
