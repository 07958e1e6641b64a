"""Where the tasks of an extraction report the videos that they are done with."""

from kinebert.preprocessing.sets.writer import VideoSummary


class Board:
    """An actor that hears of every video. It holds no CPU, so that it never stands in a task's way."""

    def __init__(self) -> None:
        self._videos: dict[str, VideoSummary] = {}
        self._seen = 0

    def add(self, video: VideoSummary) -> None:
        """Hear of a video."""
        self._videos[video.video_id] = video  # a task that starts again reports its videos again

    def news(self) -> list[VideoSummary]:
        """Videos that came since the last call."""
        videos = list(self._videos.values())[self._seen :]
        self._seen = len(self._videos)
        return videos
