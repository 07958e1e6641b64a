"""Tables C.1 to C.4 of Kalfaoglu's thesis (METU, 2020): networks of clips, by tests and by splits."""

from kinebert.training.models.sizes.papers.eccv2020 import resnext
from kinebert.training.models.sizes.papers.metu2020_clips import (
    I3D,
    I3D_FLOW,
    METHODS,
    R2PLUS1D,
    RESNEXT_64,
    RESNEXT_FLOW,
)
from kinebert.training.models.sizes.papers.rows import Row, Table, network

FOUR_TESTS = ("all clips, 10 crops: top-1 / top-3", "all clips, 1 crop", "1 clip, 10 crops", "1 clip, 1 crop")
SPLITS = ("split 1: top-1 / top-3", "split 2", "split 3", "mean")
R2PLUS1D_BERT = network("r2plus1d_34", "bert", 32, 112)
TABLE_C_1 = Table(
    source="METU table C.1",
    title="streams of 3D networks, four tests, HMDB51 split 1",
    accuracies=FOUR_TESTS,
    rows=tuple(
        Row(name=name, networks=nets, accuracies=scores, recipe=recipe)
        for name, nets, recipe, scores in (
            (
                "ResNeXt-101, RGB",
                (RESNEXT_64,),
                "eccv2020/table3_rgb",
                ("73.07 / 90.20", "73.73 / 89.41", "72.88 / 89.87", "73.20 / 88.89"),
            ),
            (
                "ResNeXt-101, flow",
                (RESNEXT_FLOW,),
                "eccv2020/table3_flow",
                ("79.80 / 91.63", "79.74 / 90.72", "78.50 / 91.18", "78.50 / 90.20"),
            ),
            (
                "ResNeXt-101, both",
                (RESNEXT_64, RESNEXT_FLOW),
                "eccv2020/table3_rgb and eccv2020/table3_flow",
                ("82.35 / 94.38", "81.83 / 94.12", "81.96 / 94.05", "81.24 / 93.86"),
            ),
            (
                "I3D, RGB",
                (I3D,),
                "eccv2020/table4_rgb",
                ("74.90 / 91.63", "74.64 / 90.59", "74.51 / 91.50", "74.51 / 90.26"),
            ),
            (
                "I3D, flow",
                (I3D_FLOW,),
                "eccv2020/table4_flow",
                ("76.21 / 91.18", "77.06 / 91.50", "75.36 / 90.98", "75.88 / 91.24"),
            ),
            (
                "I3D, both",
                (I3D, I3D_FLOW),
                "eccv2020/table4_rgb and eccv2020/table4_flow",
                ("80.59 / 93.59", "80.46 / 93.53", "80.59 / 93.46", "80.20 / 93.40"),
            ),
        )
    ),
)
TABLE_C_2 = Table(
    source="METU table C.2",
    title="the networks of table 3.10, four tests, HMDB51 split 1",
    accuracies=FOUR_TESTS,
    note="The table prints 64 frames for Rep-Flow-50, table 3.10 prints 32: its sizes are those of 32.",
    rows=tuple(
        Row(name=name, accuracies=scores, **METHODS[name])
        for name, scores in zip(
            METHODS,
            (
                ("63.33 / 82.61", "62.09 / 82.35", "62.35 / 81.05", "60.65 / 80.33"),
                ("73.07 / 90.20", "73.73 / 89.41", "72.88 / 89.87", "73.20 / 88.89"),
                ("70.20 / 87.58", "70.52 / 87.52", "68.24 / 86.34", "68.37 / 88.82"),
                ("72.42 / 89.54", "71.57 / 89.02", "70.00 / 88.04", "69.35 / 87.39"),
                ("66.80 / 87.25", "67.97 / 87.45", "64.12 / 84.84", "64.71 / 85.10"),
                ("72.03 / 89.54", "72.81 / 89.15", "72.03 / 89.35", "72.88 / 89.02"),
                ("73.79 / 90.13", "73.14 / 89.28", "73.73 / 89.87", "72.94 / 89.15"),
                ("71.44 / 88.69", "71.57 / 88.76", "71.44 / 88.69", "71.31 / 88.56"),
                ("72.88 / 91.44", "72.61 / 90.33", "72.55 / 91.31", "73.07 / 90.26"),
                ("73.79 / 91.70", "74.12 / 90.92", "73.92 / 91.44", "73.92 / 90.78"),
                ("73.27 / 90.26", "73.14 / 89.54", "73.01 / 89.87", "72.81 / 89.22"),
                ("74.90 / 91.63", "74.64 / 90.59", "74.51 / 91.50", "74.51 / 90.26"),
                ("78.37 / 92.68", "78.69 / 92.22", "77.65 / 92.61", "78.43 / 92.16"),
                ("80.72 / 92.75", "80.07 / 92.03", "80.26 / 92.35", "79.80 / 91.44"),
                ("81.76 / 93.86", "82.16 / 93.46", "81.83 / 93.07", "82.22 / 92.81"),
            ),
            strict=True,
        )
    ),
)


def _splits(source: str, data: str, figures: tuple[tuple[str, ...], ...]) -> Table:
    """Return table C.3 or C.4: four networks, each without and with BERT."""
    plain = ((R2PLUS1D,), (RESNEXT_64,), (RESNEXT_FLOW,), (RESNEXT_64, RESNEXT_FLOW))
    bert = ((R2PLUS1D_BERT,), (resnext("bert"),), (resnext("bert", modality="flow"),))
    nets = [net for pair in zip(plain, (*bert, (*bert[1], *bert[2])), strict=True) for net in pair]
    names = ("R(2+1)D-34, 32 frames", "ResNeXt-101, RGB", "ResNeXt-101, flow", "ResNeXt-101, both")
    table_3 = ("table3_rgb", "table3_rgb_frmb_bert", "table3_flow", "table3_flow_frmb_bert")
    recipes = ["table6_average", "table6_bert", *table_3]
    recipes += [f"{rgb} and eccv2020/{flow}" for rgb, flow in zip(table_3[:2], table_3[2:], strict=True)]
    rows = zip([name + bert for name in names for bert in ("", ", BERT")], nets, recipes, figures, strict=True)
    return Table(
        source=source,
        title=f"all splits of {data}",
        accuracies=SPLITS,
        rows=tuple(
            Row(name=name, networks=some, recipe=f"eccv2020/{recipe}", accuracies=scores)
            for name, some, recipe, scores in rows
        ),
    )


TABLE_C_3 = _splits(
    "METU table C.3",
    "HMDB51",
    (
        ("81.76 / 93.86", "82.03 / 93.99", "79.87 / 93.07", "81.22 / 93.64"),
        ("84.77 / 95.16", "84.18 / 95.23", "83.01 / 94.71", "83.99 / 95.03"),
        ("73.07 / 90.20", "73.46 / 87.97", "76.14 / 90.39", "74.22 / 89.52"),
        ("77.25 / 92.75", "77.52 / 91.24", "77.71 / 91.31", "77.49 / 91.77"),
        ("79.80 / 91.63", "77.97 / 90.65", "80.07 / 91.70", "79.28 / 91.32"),
        ("81.76 / 92.88", "81.18 / 92.29", "80.92 / 92.42", "81.29 / 92.53"),
        ("82.35 / 94.38", "79.93 / 92.16", "83.07 / 93.27", "81.78 / 93.27"),
        ("83.99 / 94.90", "83.46 / 94.18", "83.20 / 93.92", "83.55 / 94.33"),
    ),
)
TABLE_C_4 = _splits(
    "METU table C.4",
    "UCF101",
    (
        ("97.46 / 99.26", "98.55 / 99.68", "98.51 / 99.84", "98.17 / 99.59"),
        ("98.63 / 99.87", "98.90 / 99.73", "98.43 / 99.76", "98.65 / 99.79"),
        ("94.61 / 98.55", "94.62 / 98.77", "95.48 / 99.03", "94.90 / 98.78"),
        ("95.80 / 98.89", "96.63 / 99.09", "96.29 / 99.32", "96.24 / 99.1"),
        ("95.56 / 98.68", "95.96 / 99.12", "96.35 / 99.08", "95.95 / 98.96"),
        ("95.74 / 99.07", "96.92 / 99.25", "96.83 / 99.27", "96.49 / 99.20"),
        ("97.20 / 99.10", "97.38 / 99.54", "97.81 / 99.89", "97.46 / 99.51"),
        ("98.21 / 99.60", "97.49 / 99.29", "97.92 / 99.89", "97.87 / 99.59"),
    ),
)
TABLES = (TABLE_C_1, TABLE_C_2, TABLE_C_3, TABLE_C_4)
