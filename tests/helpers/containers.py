"""Files that hold more than one stream, or none, or the names of others; and a writer for every kind of video file."""

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.helpers.videos import moving_texture, write_video

UInt8 = NDArray[np.uint8]

_MPEG2, _H264 = ("mpeg2video", 128, "yuv420p"), ("libx264", 128, "yuv420p")
WRITERS: dict[str, tuple[str, str, int, str]] = {
    **dict.fromkeys((".264", ".h264"), ("h264", *_H264)),
    **dict.fromkeys((".mp4", ".m4v"), ("mp4", *_H264)),
    **dict.fromkeys((".ts", ".m2ts", ".mts"), ("mpegts", *_H264)),
    **dict.fromkeys((".mpg", ".mpeg", ".mpe"), ("mpeg", *_MPEG2)),
    **dict.fromkeys((".avi", ".divx"), ("avi", "mpeg4", 128, "yuv420p")),
    **dict.fromkeys((".mjpg", ".mjpeg"), ("mjpeg", "mjpeg", 128, "yuvj420p")),
    **dict.fromkeys((".asf", ".wmv"), ("asf", "wmv2", 128, "yuv420p")),
    **dict.fromkeys((".rm", ".rmvb"), ("rm", "rv20", 176, "yuv420p")),
    **dict.fromkeys((".ogg", ".ogv"), ("ogg", "libvpx", 128, "yuv420p")),
    ".3gp": ("3gp", *_H264),
    ".flv": ("flv", *_H264),
    ".gif": ("gif", "gif", 128, "rgb8"),
    ".hevc": ("hevc", "libx265", 128, "yuv420p"),
    ".mkv": ("matroska", *_H264),
    ".mov": ("mov", *_H264),
    ".mxf": ("mxf", *_MPEG2),
    ".vob": ("vob", *_MPEG2),
    ".webm": ("webm", "libvpx-vp9", 128, "yuv420p"),
    ".y4m": ("yuv4mpegpipe", "wrapped_avframe", 128, "yuv420p"),
}
"""Writer of libavformat, codec, width and kind of pixels, by the suffix of a file."""

LISTS_OF_OTHERS = {
    "concat": "ffconcat version 1.0\nfile {other}.mkv\n",
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}.ts\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT1S"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{other}.mp4</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={other}\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "svg": '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="{other}.mp4"/></svg>',
    "asx": '<asx version="3.0"><entry><ref href="{other}.mp4"/></entry></asx>',
    "m3u": "{other}.mp4\n",
    "vobsub": "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\nid: en, index: 0\n",
    "tty": "\x1b[2J{other}",
}
"""Texts that name other files or addresses, by the reader that would follow them."""


def with_cover(path: Path, pictures: Sequence[UInt8]) -> Path:
    """Write an MP4 file whose first stream is a cover; then come sound, and a film if there are ``pictures``."""
    cover = av.VideoFrame.from_ndarray(np.full((120, 120, 3), 90, np.uint8), format="rgb24")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 120, 120, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        sound = file.add_stream("aac", rate=8000, layout="mono")
        assert isinstance(sound, av.AudioStream)
        film = file.add_stream("libx264", rate=25) if pictures else None
        if film is not None:
            assert isinstance(film, av.VideoStream)
            film.height, film.width = pictures[0].shape[:2]
            film.pix_fmt = "yuv420p"
        file.mux(stream.encode(cover))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        file.mux(sound.encode(silence))
        file.mux(stream.encode())
        file.mux(sound.encode())
        if film is not None:
            for picture in pictures:
                file.mux(film.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(film.encode())
    return path


def write_streams(path: Path, streams: Sequence[tuple[int, int, int]], default: int | None) -> Path:
    """Write video streams of (width, height, frames) each, one of them or none marked as default."""
    with av.open(str(path), "w", options={"default_mode": "passthrough"}) as file:
        made = []
        for number, (width, height, count) in enumerate(streams):
            stream = file.add_stream("libx264", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.disposition = av.stream.Disposition(number == default)
            made.append((stream, moving_texture(count, width, height)))
        for stream, pictures in made:
            for picture in pictures:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream, _ in made:
            file.mux(stream.encode())
    return path


def with_external_data(other: Path, path: Path) -> Path:
    """Write a film whose table of contents is that of ``other``, and says that the pictures lie there."""
    data = other.read_bytes()
    name = str(other).encode()
    name += b"\0" * (len(name) % 2)
    alias = bytes(10) + bytes([0]) + bytes(27) + bytes(12) + bytes([len(other.name)]) + other.name.encode().ljust(63)
    alias += bytes(16) + struct.pack(">HH", 1, 1) + bytes(16) + struct.pack(">HH", 2, len(name)) + name + b"\xff\xff"
    alias += bytes(2)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    old = struct.pack(">I4sI", 12, b"url ", 1)
    at = data.index(old)
    grown = bytearray(data[:at] + entry + data[at + len(old) :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = data.rindex(box, 0, at) - 4
        (size,) = struct.unpack_from(">I", data, start)
        struct.pack_into(">I", grown, start, size + len(entry) - len(old))
    media = data.index(b"mdat") - 4
    (size,) = struct.unpack_from(">I", data, media)
    grown[media + 8 : media + size] = bytes(size - 8)  # what is here is no picture
    path.write_bytes(grown)
    return path


def giant(path: Path, size: int = 8000) -> Path:
    """Write two pictures of ``size`` x ``size`` pixels, in few bytes."""
    return write_video(path, [np.full((size, size, 3), 90, np.uint8)] * 2, "mpeg4")


WITH_SOUND: dict[str, tuple[str, str, dict[str, str]]] = {
    "a.mkv": ("libx264", "aac", {}),
    "a.webm": ("libvpx", "libopus", {}),
    "front.mp4": ("libx264", "aac", {"movflags": "faststart"}),
    "back.mp4": ("libx264", "aac", {}),
    "fragments.mp4": ("libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    "a.mov": ("libx264", "aac", {"movflags": "faststart"}),
    "a.avi": ("mpeg4", "mp3", {}),
    "a.wmv": ("wmv2", "mp3", {}),
    "a.flv": ("flv", "aac", {}),
    "a.ogg": ("libvpx", "libopus", {}),
    "a.ts": ("libx264", "aac", {}),
}
"""Codecs of picture and sound, and options of the container, by the name of a file."""


def write_with_sound(path: Path, pictures: Sequence[UInt8], sound_s: float) -> Path:
    """Write a film of 25 pictures a second with noise beside it, woven together as cameras and programs do."""
    codec, sound_codec, options = WITH_SOUND[path.name]
    rate = 48_000 if sound_codec == "libopus" else 44_100
    noise = np.random.default_rng(0).integers(-9000, 9000, (1, int(rate * sound_s)), np.int16)
    with av.open(str(path), "w", options=options) as file:
        film = file.add_stream(codec, rate=25, options={"g": "10"})
        sound = file.add_stream(sound_codec, rate=rate, layout="mono")
        assert isinstance(film, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        film.height, film.width = pictures[0].shape[:2]
        film.pix_fmt = "yuv420p"
        resampler = av.AudioResampler(sound.codec_context.format, "mono", rate, sound.codec_context.frame_size or 1024)
        step = rate // 25
        for i in range(max(len(pictures), -(-noise.shape[1] // step))):
            if i < len(pictures):
                file.mux(film.encode(av.VideoFrame.from_ndarray(pictures[i], format="rgb24")))
            if i * step < noise.shape[1]:
                piece = np.ascontiguousarray(noise[:, i * step : (i + 1) * step])
                frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
                frame.sample_rate, frame.pts = rate, i * step
                for part in resampler.resample(frame):
                    file.mux(sound.encode(part))
        file.mux(film.encode())
        for part in resampler.resample(None):
            file.mux(sound.encode(part))
        file.mux(sound.encode())
    return path
