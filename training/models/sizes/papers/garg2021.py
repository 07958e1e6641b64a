"""K. Garg & K. Murugan, "CNN+BERT for video recognition", 2021: its one table, of 13 classes that are not public."""

from kinebert.training.models.sizes.papers.rows import Network, Table, network, one


def _net(backbone: str, head: str, reduction: str | None = None) -> Network:
    return network(backbone, head, 32 if backbone == "r2plus1d_34" else 64, 112, reduction, num_classes=13)


TABLE_1 = Table(
    source="Garg & Murugan table 1",
    title="13 classes, RGB, 112 x 112: ResNeXt-101 on 64 frames, R(2+1)D on 32",
    accuracies=("C5AR, top-1",),
    note="The data are the authors' own, and no sizes are printed. How deep the R(2+1)D is does not stand there: it is "
    "taken to be that of the paper that they follow, of 34 layers.",
    rows=tuple(
        one(name, _net(backbone, head, reduction), "", "", top1, recipe="garg2021/table1", changes=changes)
        for name, backbone, head, reduction, top1, changes in (
            (
                "ResNeXt-101, average pooling",
                "resnext101",
                "tgap",
                None,
                "79.58",
                ("model.head=tgap", "model.reduction=none"),
            ),
            ("ResNeXt-101, BERT, FRMB", "resnext101", "bert", "frmb", "82.12", ()),
            ("ResNeXt-101, BERT, FRAB", "resnext101", "bert", "frab", "82.56", ("model.reduction=frab",)),
            (
                "R(2+1)D, average pooling",
                "r2plus1d_34",
                "tgap",
                None,
                "79.93",
                ("model.backbone=r2plus1d_34", "model.head=tgap", "model.reduction=none", "data.clip_length=32"),
            ),
            (
                "R(2+1)D, BERT",
                "r2plus1d_34",
                "bert",
                None,
                "82.86",
                ("model.backbone=r2plus1d_34", "model.reduction=none", "data.clip_length=32"),
            ),
        )
    ),
)
TABLES = (TABLE_1,)
