"""Temporal modules: what lets a network of pictures see time. One file each; every module here is found by itself.

Source: "Deep analysis of CNN-based spatio-temporal representations for action recognition", CVPR 2021,
arXiv:2010.11757: networks of pictures and of clips are one thing, told apart by what their blocks do with time.

A family of networks takes all of them so::

    @register_backbone(rgb=IMAGENET)
    @takes_temporal  # the options temporal, temporal_pooling and those of every module, in place of the argument
    def some_18(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal) -> Some: ...

Layers are made with ``temporal.kernel(3)`` and ``temporal.stride(2)``, of two numbers for pictures and of three for
clips; blocks with convolutions of more than a pixel are given ``temporal.over_time()``, see
:func:`kinebert.training.models.blocks.factored`. ``temporal.connect(block, channels_in, channels_out, place)`` puts
around a :class:`kinebert.training.models.blocks.Connected` block what stands there. So every parameter that the network
of pictures has keeps its name, whatever the module. ``temporal.pool()`` stands where the picture is halved for the
third, fourth and fifth time. In the forward pass frames lie in the batch, ``(B, C, H, W)``, where layers are those of
pictures: ``x = temporal.enter(x_NCTHW)``; what connects them, and every Connected block and
:class:`kinebert.training.models.blocks.Stage`, is called as ``module(x, N)``, as B / N is T wherever it stands;
``temporal.leave(x, N)`` is the backbone's map. ``backbones/frames/resnet.py`` is the example.
"""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
