"""Tables 5.1 and 5.2 of Kalfaoglu's thesis (METU, 2020): students of networks of other pictures."""

from kinebert.training.models.sizes.papers.eccv2020 import resnext
from kinebert.training.models.sizes.papers.metu2020_clips import OF_MARS, RESNEXT_64, SPLIT_1
from kinebert.training.models.sizes.papers.rows import Table, one

_STUDENTS = {"FRMB": resnext("bert"), "FRAB": resnext("bert", "frab")}
_DISTILLED = "metu2020/distill_bert_frmb"
TABLE_5_1 = Table(
    source="METU table 5.1",
    title="ResNeXt-101 with FRMB and BERT, RGB, 64 frames of 112 x 112, distilled from flow: the weight of its loss",
    accuracies=SPLIT_1,
    note="The teacher is trained by `eccv2020/table3_flow_frmb_bert`. The whole table: "
    f"`kinebert tune {_DISTILLED}`, whose validation is the test part, as the thesis chose lambda.",
    rows=tuple(
        one(
            f"lambda {weight}",
            _STUDENTS["FRMB"],
            "",
            "",
            top1,
            top3,
            recipe=_DISTILLED,
            changes=() if weight == "100k" else (f"distill.weight={weight.replace('k', '000')}",),
        )
        for weight, top1, top3 in (
            ("25k", "77.45", "91.50"),
            ("50k", "78.69", "91.11"),
            ("100k", "78.17", "92.22"),
            ("250k", "78.37", "91.44"),
            ("500k", "78.63", "91.18"),
        )
    ),
)
TABLE_5_2 = Table(
    source="METU table 5.2",
    title="ResNeXt-101, RGB, 64 frames of 112 x 112, distilled",
    accuracies=("HMDB51, top-1",),
    note="Teachers: of BERT from flow `eccv2020/table3_flow_frmb_bert`, of BERT from R(2+1)D `eccv2020/table6_bert "
    "--set data.frame_interval=2`, of MARS on HMDB51 `eccv2020/table3_flow`, of MARS on Kinetics the published flow "
    "network. The last row has two stages: `metu2020/mars_kinetics`, then its row's recipe, without a teacher. MARS' "
    "own second stage has one: `metu2020/mars_hmdb51`.",
    rows=(
        one("BERT, FRMB", _STUDENTS["FRMB"], "", "", "77.49", recipe="eccv2020/table1_frmb_bert"),
        one(
            "BERT, FRAB",
            _STUDENTS["FRAB"],
            "",
            "",
            "77.10",
            recipe="eccv2020/table1_frmb_bert",
            changes=("model.reduction=frab",),
        ),
        one("BERT, FRMB, from flow BERT, FRMB", _STUDENTS["FRMB"], "", "", "78.30", recipe=_DISTILLED),
        one(
            "BERT, FRAB, from flow BERT, FRMB",
            _STUDENTS["FRAB"],
            "",
            "",
            "78.72",
            recipe=_DISTILLED,
            changes=("model.reduction=frab",),
        ),
        one(
            "BERT, FRAB, from RGB R(2+1)D BERT (32 x 2)",
            _STUDENTS["FRAB"],
            "",
            "",
            "78.15",
            recipe="metu2020/distill_bert_frab_rgb",
        ),
        one("average pooling", RESNEXT_64, "", "", "74.46", recipe="eccv2020/table1_average_sgd"),
        one(
            "MARS, from flow, on HMDB51",
            RESNEXT_64,
            "",
            "",
            "71.15",
            recipe="metu2020/mars_hmdb51",
            changes=("model.weights=resnext-101-64f-kinetics.pth",),
        ),
        one(
            "MARS, from flow, on Kinetics",
            RESNEXT_64,
            "",
            "",
            "81.22",
            recipe="eccv2020/table1_average_sgd",
            changes=(OF_MARS,),
        ),
    ),
)
TABLES = (TABLE_5_1, TABLE_5_2)
