"""M. E. Kalfaoglu, "Exploring deep spatio-temporal fusion architectures towards late temporal modeling of human action
recognition", thesis, METU 2020, https://open.metu.edu.tr/handle/11511/69033: tables 3.2 to 3.7 and appendix
C.4, of 2D networks.
"""

from typing import Any

from kinebert.training.models.sizes.papers.rows import Network, Row, Table, network, one

FRAMES = "RGB, 16 frames of 224 x 224"
SPLITS = "HMDB51, mean over splits: top-1"
NO_CODE = "not explained: no code of this row is public; a layer over the features of three stages has 0.22 M more"


_SUMS = (
    "A sum is the mean of the streams' normalised scores, all weights 1. Train every stream of it into a folder of its "
    "own, such as `--output runs/resnet101_flow`, with its weights of ImageNet, and `kinebert evaluate` each `best.pt`."
)


def _net(head: str, backbone: str = "resnet18", modality: str = "rgb", **others: Any) -> Network:
    return network(backbone, head, 16, 224, modality=modality, **others)


def _fused(backbone: str, fusion: str = "triple", modality: str = "rgb") -> Network:
    return _net("concat", backbone, modality, backbone_options={"fusion": fusion})


def _fusion(name: str) -> str:
    return f"model.backbone_options.fusion={name}"


TABLE_3_2 = Table(
    source="METU table 3.2",
    title=f"ResNet-18 with BERT, {FRAMES}: optimizers",
    accuracies=("one crop, validation", "ten crops, test"),
    rows=tuple(
        one(name, _net("bert"), "", "", validation, test, recipe="metu2020/rgb", changes=changes)
        for name, validation, test, changes in (
            ("Adam", "49.02", "51.50", ("optim.name=adam",)),
            ("SWATS", "49.80", "51.11", ("optim.name=swats",)),
            ("AdamW", "50.20", "52.42", ()),
            ("SGD", "50.49", "50.78", ("optim.name=sgd", "optim.lr=1e-2")),
        )
    ),
)
_CUT = ("non-local, concatenation", "LSTM, two layers of 512")
"""Rows of table 3.3 whose parameters were cut to the printed digits."""
TABLE_3_3 = Table(
    source="METU table 3.3",
    title=f"ResNet-18 per frame, {FRAMES}",
    accuracies=(SPLITS, "top-3"),
    note="The printed operations are those of one frame: a clip's, divided by 16.",
    rows=tuple(
        Row(
            name=name,
            networks=(net,),
            parameters=parameters,
            operations=operations,
            operations_per=net["clip_length"],
            accuracies=(top1, top3),
            recipe="metu2020/rgb",
            changes=changes,
            cut=name in _CUT,
            cause="cut, not rounded" if name in _CUT else "",
        )
        for name, net, parameters, operations, top1, top3, changes in (
            (
                "no pooling, one frame",
                network("resnet18", "none", 1, 224, modality="rgb"),
                "11.2",
                "1.82",
                "44.31",
                "66.49",
                ("model.head=none", "data.clip_length=1"),
            ),
            ("average pooling", _net("tgap"), "11.2", "1.82", "47.10", "69.33", ("model.head=tgap",)),
            (
                "non-local, average pooling",
                _net("nonlocal_tgap"),
                "12.25",
                "1.87",
                "47.56",
                "69.76",
                ("model.head=nonlocal_tgap",),
            ),
            ("concatenation", _net("concat"), "11.59", "1.82", "51.04", "72.20", ("model.head=concat",)),
            (
                "non-local, concatenation",
                _net("nonlocal_concat"),
                "12.64",
                "1.87",
                "50.04",
                "71.50",
                ("model.head=nonlocal_concat",),
            ),
            (
                "LSTM, two layers of 512",
                _net("lstm", num_layers=2, head_width=512),
                "15.4",
                "1.83",
                "48.50",
                "70.54",
                ("model.head=lstm", "model.head_options.num_layers=2", "model.head_options.head_width=512"),
            ),
            (
                "ConvGRU, 196",
                _net("conv_gru", head_width=196),
                "14.93",
                "2.01",
                "46.34",
                "68.50",
                ("model.head=conv_gru", "model.head_options.head_width=196"),
            ),
            ("BERT", _net("bert"), "14.36", "1.83", "49.17", "71.31", ()),
        )
    ),
)
TABLE_3_4 = Table(
    source="METU table 3.4",
    title=f"ResNet-18, fusion of stages, concatenation, {FRAMES}",
    accuracies=(SPLITS,),
    rows=tuple(
        one(
            name,
            _fused("resnet18", fusion),
            "",
            "",
            top1,
            recipe="metu2020/rgb",
            changes=("model.head=concat", _fusion(fusion)),
        )
        for name, fusion, top1 in (
            ("no fusion", "none", "51.04"),
            ("dual fusion", "dual", "51.87"),
            ("triple fusion", "triple", "52.02"),
            ("quadruple fusion", "quadruple", "51.13"),
        )
    ),
)
TABLE_3_5 = Table(
    source="METU table 3.5",
    title=f"2D ResNets, fusion of three stages, concatenation, {FRAMES}",
    accuracies=(SPLITS,),
    note="The printed operations are those of one frame.",
    rows=tuple(
        one(
            name,
            _fused(backbone),
            parameters,
            operations,
            top1,
            operations_per=16,
            recipe="metu2020/rgb",
            changes=(f"model.backbone={backbone}", "model.head=concat", _fusion("triple")),
            **others,
        )
        for name, backbone, parameters, operations, top1, others in (
            ("ResNet-18", "resnet18", "11.91", "1.82", "52.02", {}),
            ("ResNet-34", "resnet34", "22.02", "3.68", "53.34", {}),
            ("ResNet-50", "resnet50", "26.21", "4.12", "55.44", {"cause": NO_CODE, "unexplained": True}),
            ("ResNet-101", "resnet101", "45.20", "7.85", "58.80", {"cause": NO_CODE, "unexplained": True}),
        )
    ),
)
TABLE_3_6 = Table(
    source="METU table 3.6",
    title="ResNet-18, optical flow and drawn poses, 16 images of 224 x 224",
    accuracies=(SPLITS,),
    rows=tuple(
        one(f"{name}, {modality}", net, "", "", top1, recipe=f"metu2020/{modality}", changes=changes)
        for modality, figures in (
            ("flow", ("51.68", "48.58", "47.03", "54.73")),
            ("pose", ("44.14", "44.75", "45.82", "46.45")),
        )
        for top1, (name, net, changes) in zip(
            figures,
            (
                ("average pooling", _net("tgap", modality=modality), ("model.head=tgap",)),
                ("concatenation", _net("concat", modality=modality), ("model.head=concat",)),
                (
                    "concatenation, triple fusion",
                    _fused("resnet18", modality=modality),
                    ("model.head=concat", _fusion("triple")),
                ),
                ("BERT", _net("bert", modality=modality), ()),
            ),
            strict=True,
        )
    ),
)


def _streams(backbone: str, figures: tuple[str, ...], reduction: str | None = None) -> tuple[Row, ...]:
    """Return the rows of one column: RGB by concatenation of three stages, flow and poses by BERT, and their sums.

    Args:
        backbone: Of all streams.
        figures: Accuracies of the streams, then of two and of three.
        reduction: Of the streams with BERT; their rows alone are then returned, and the sums.
    """
    deeper = () if backbone == "resnet18" else (f"model.backbone={backbone}",)
    reduced = () if reduction is None else (f"model.reduction={reduction}",)
    streams = (
        ("rgb", "RGB, concatenation", _fused(backbone), (*deeper, "model.head=concat", _fusion("triple"))),
        ("flow", "flow, BERT", _net("bert", backbone, "flow", reduction=reduction), (*deeper, *reduced)),
        ("pose", "poses, BERT", _net("bert", backbone, "pose", reduction=reduction), (*deeper, *reduced)),
    )
    name = backbone if reduction is None else f"{backbone}, {reduction.upper()}"
    rows = [
        one(f"{name}, {what}", net, "", "", top1, recipe=f"metu2020/{modality}", changes=changes)
        for (modality, what, net, changes), top1 in zip(streams[3 - len(figures[:-2]) :], figures, strict=False)
    ]
    folder = backbone if reduction is None else f"{backbone}_{reduction}"
    for what, count, top1 in (("two streams", 2, figures[-2]), ("three streams", 3, figures[-1])):
        some = streams[:count]
        runs = [f"{backbone if modality == 'rgb' else folder}_{modality}" for modality, *_ in some]
        rows.append(
            Row(
                name=f"{name}, {what}",
                networks=tuple(net for _, _, net, _ in some),
                accuracies=(top1,),
                recipe=" and ".join(f"metu2020/{modality}" for modality, *_ in some),
                stream_changes=tuple(changes for *_, changes in some),
                fused=f"runs/{{{','.join(runs)}}}/split1-test-1-x10/scores.parquet",
            )
        )
    return tuple(rows)


TABLE_3_7 = Table(
    source="METU table 3.7",
    title="modalities and their sums, 16 images of 224 x 224",
    accuracies=(SPLITS,),
    note=_SUMS,
    rows=(
        *_streams("resnet18", ("52.02", "54.73", "46.45", "62.81", "65.56")),
        *_streams("resnet101", ("58.80", "57.58", "49.59", "65.21", "69.15")),
    ),
)
APPENDIX_C_4 = Table(
    source="METU appendix C.4",
    title="ResNet-101 with a reduced last block, 16 images of 224 x 224",
    accuracies=(SPLITS,),
    note="RGB is that of table 3.7: the text gives it no other network. Sums are made as there.",
    rows=_streams("resnet101", ("59.13", "48.56", "65.73", "68.62"), "frmb"),
)
TABLES = (TABLE_3_2, TABLE_3_3, TABLE_3_4, TABLE_3_5, TABLE_3_6, TABLE_3_7, APPENDIX_C_4)
