"""From videos to shard sets, for Python: functions that run what the programs of the same names do.

What is wrong is raised as in :mod:`kinebert.functions`.
"""

from collections.abc import Mapping
from os import fspath
from typing import TYPE_CHECKING, Any

from kinebert.arguments import Location, audience, frame_recipe, plain, texts
from kinebert.orchestration.jobs import extraction_requests, requests
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe

if TYPE_CHECKING:
    from kinebert.orchestration.jobs.extraction import Extraction
    from kinebert.orchestration.jobs.indexing import Index


def index(
    source: str, *paths: Location, output: Location = "manifest.parquet", verbose: bool = False, **options: Any
) -> "Index":
    """List the videos of a data set, look into each file once, and write the manifest that extractions read.

    Args:
        source: Kind of the data set: ``folder`` (one sub-folder per class), ``csv``, ``hmdb51`` and so on, see
            ``kinebert index --help``.
        paths: Videos and lists, as the source wants them.
        output: The manifest to write. One that is there is replaced.
        verbose: Show progress.
        options: Other fields of :class:`.IndexRequest`: ``split_name``, ``val``, ``test``, ``seed``, ``group_regex``,
            ``same_content``, ``max_problems``, ``timeout_s``, ``num_workers``, ``video_stream``, ``max_pixels``.
    """
    from kinebert.orchestration.jobs import indexing

    request = requests.IndexRequest(source=source, paths=texts(paths), output=fspath(output), **plain(options))
    return indexing.index(request, audience(verbose))


def extract(
    manifest: "Location | Index",
    output: Location,
    *,
    modality: str = "rgb",
    recipe: "FrameRecipe | Mapping[str, Any] | Location | None" = None,
    verbose: bool = False,
    **options: Any,
) -> "Extraction":
    """Make a shard set of frames, poses or flow, or complete one that was begun.

    Args:
        manifest: What :func:`index` wrote, or its result.
        output: Folder of the set.
        modality: ``rgb``, ``flow`` or another that the project knows; says nothing beside a whole recipe.
        recipe: How pictures are made: a recipe, some values of one (``{"width": 170}``), or a TOML file of such (or
            the name of one that comes with the project); None for the defaults.
        verbose: Show progress.
        options: Other fields of :class:`.ExtractionRequest`: ``backend``, ``workers``, ``videos_per_shard`` and so on.
    """
    from kinebert.orchestration.jobs import extraction
    from kinebert.orchestration.jobs.indexing import Index

    location = manifest.manifest if isinstance(manifest, Index) else fspath(manifest)
    request = extraction_requests.ExtractionRequest(
        manifest=location, output=fspath(output), recipe=frame_recipe(recipe, modality), **plain(options)
    )
    return extraction.extract(request, audience(verbose))


def extract_both(
    manifest: "Location | Index",
    frames: Location,
    flow: Location,
    *,
    modality: str = "rgb",
    recipe: "FrameRecipe | Mapping[str, Any] | Location | None" = None,
    flow_recipe: "FrameRecipe | Mapping[str, Any] | Location | None" = None,
    verbose: bool = False,
    **options: Any,
) -> "tuple[Extraction, Extraction]":
    """Make a set of frames and one of flow, or complete them, with one decoding of each video.

    Args:
        manifest: What :func:`index` wrote, or its result.
        frames: Folder of the set of frames.
        flow: Folder of the set of flow.
        modality: What the frames show, ``rgb`` or another that the project knows.
        recipe: How frames are stored, as for :func:`extract`.
        flow_recipe: How flow is computed and stored, as for :func:`extract`; its size may be another.
        verbose: Show progress.
        options: Other fields of :class:`.TwoSetsRequest`: ``backend``, ``workers``, ``videos_per_shard`` and so on.

    Returns:
        The set of frames, and that of flow.
    """
    from kinebert.orchestration.jobs import extraction
    from kinebert.orchestration.jobs.indexing import Index

    of_flow = frame_recipe(flow_recipe, "flow")
    if not isinstance(of_flow, FlowRecipe):
        raise ConfigError(f"flow_recipe must be one for flow, got one for {of_flow.modality}.")
    request = extraction_requests.TwoSetsRequest(
        manifest=manifest.manifest if isinstance(manifest, Index) else fspath(manifest),
        frames=fspath(frames),
        flow=fspath(flow),
        recipe=frame_recipe(recipe, modality),
        flow_recipe=of_flow,
        **plain(options),
    )
    return extraction.extract_both(request, audience(verbose))


def extract_pose(
    output: Location,
    *,
    manifest: "Location | Index | None" = None,
    from_set: Location | None = None,
    redraw: Location | None = None,
    recipe: "FrameRecipe | Mapping[str, Any] | Location | None" = None,
    weights: Mapping[str, Location] | None = None,
    verbose: bool = False,
    **options: Any,
) -> "Extraction":
    """Make a set of poses that are looked for, or complete one that was begun: pictures drawn of people, and joints.

    Args:
        output: Folder of the set.
        manifest: What :func:`index` wrote, or its result: the videos to look at.
        from_set: A set of frames to look at in their place.
        redraw: A set of poses to draw anew of its joints; ``recipe`` says how, nothing is looked for.
        recipe: As for :func:`extract`: ``{"backend": "openpose", "params": {...}}`` and so on.
        weights: Files of the backend's weights by their roles; others are found by the digests of the recipe.
        verbose: Show progress.
        options: Other fields of :class:`.PoseRequest`: ``gpus_per_task``, ``workers``, ``videos_per_shard`` and so on.
    """
    from kinebert.orchestration.jobs import extraction
    from kinebert.orchestration.jobs.indexing import Index

    of_poses = frame_recipe(recipe, "pose")
    if not isinstance(of_poses, PoseRecipe):
        raise ConfigError(f"recipe must be one for poses, got one for {of_poses.modality}.")
    request = extraction_requests.PoseRequest(
        output=fspath(output),
        manifest=manifest.manifest if isinstance(manifest, Index) else fspath(manifest or ""),
        from_set=fspath(from_set or ""),
        redraw=fspath(redraw or ""),
        recipe=of_poses,
        files=plain(weights or {}),
        **plain(options),
    )
    return extraction.extract_poses(request, audience(verbose))
