"""Reading videos that people bring: a few frames evenly spread in time, upright RGB; sound is not looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
from av.error import FFmpegError
from PIL import Image

from trimviz.pictures import open_picture
from trimviz.types import Video

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ogv")
STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FRAMES = 8  # unless told otherwise
LONGEST = 3 * 3600  # seconds


def is_video(source: str | Path) -> bool:
    """Whether this is the path of a video, which a file is by its ending, and every folder."""
    return Path(source).suffix.lower() in SUFFIXES or Path(source).is_dir()


def open_source(source: str | Path | Image.Image | Video, frames: int = FRAMES) -> Image.Image | Video:
    """A picture or a video, from whatever holds one; ValueError as of `open_picture` and `read_video`."""
    if isinstance(source, Video):
        return source
    if isinstance(source, Image.Image):
        return open_picture(source)
    if Path(source).is_dir():
        return read_folder(source, frames)
    return read_video(source, frames) if is_video(source) else open_picture(source)


def read_video(source: str | Path, frames: int = FRAMES) -> Video:
    """`frames` frames of a video file, the first at its start, the others at equal steps of time.

    A file with fewer frames gives all it has. Raises ValueError for a file that is missing, no video, cut off before
    its first frame, or longer than three hours.
    """
    name = Path(source).name
    if frames < 1:
        raise ValueError(f"Expected at least 1 frame to take from {name}, got {frames}.")
    if not Path(source).is_file():
        raise ValueError(f"There is no file {source}; give the path of a video.")
    try:
        with av.open(str(source)) as container:
            if not container.streams.video:
                raise ValueError(f"{name} holds no pictures, only sound or text; give a video file.")
            duration = _duration(container)
            if duration > LONGEST:
                hours = f"{duration / 3600:.1f} hours long; at most {LONGEST // 3600} are taken"
                raise ValueError(f"{name} is {hours}, so cut it.")
            taken = dict(_pick(container, [duration * i / frames for i in range(frames)]))
    except FFmpegError as error:
        raise ValueError(f"{name} is not a video that can be read ({error.strerror}); save it again as MP4.") from None
    if not taken:
        raise ValueError(f"{name} holds no frame that can be read; save it again as MP4.")
    times = sorted(taken)
    return replace(frames_of([taken[t] for t in times], times), duration=duration)


def read_folder(source: str | Path, frames: int = FRAMES) -> Video:
    """`frames` of the pictures in a folder, evenly spread and in the order of the numbers in their names, as a video.

    A folder with fewer gives all it has; they count as a second apart. Raises ValueError for a folder without pictures.
    """
    if frames < 1:
        raise ValueError(f"Expected at least 1 frame to take from {source}, got {frames}.")
    found = sorted((p for p in Path(source).iterdir() if p.suffix.lower() in STILLS), key=_in_order)
    if not found:
        raise ValueError(f"The folder {source} holds no frames; put PNG, JPEG or WebP files in it.")
    count = min(frames, len(found))
    picked = [len(found) * i // count for i in range(count)]
    return frames_of([found[i] for i in picked], picked)


def _in_order(path: Path) -> list[tuple[int, str]]:
    """A name as words and numbers, so that frame 10 comes behind frame 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def frames_of(pictures: Sequence[str | Path | Image.Image], times: Sequence[float] | None = None) -> Video:
    """A video from pictures in order, shown at `times` in seconds, by default one a second.

    Raises ValueError for no frame and for frames of several sizes.
    """
    opened = tuple(open_picture(p) for p in pictures)
    if not opened:
        raise ValueError("Expected at least one frame, got none.")
    sizes = {p.size for p in opened}
    if len(sizes) > 1:
        shown = " and ".join(f"{w} x {h}" for w, h in sorted(sizes)[:2])
        raise ValueError(f"The frames of a video have one size, these are {shown} pixels; bring them to one size.")
    return Video(opened, tuple(float(t) for t in (range(len(opened)) if times is None else times)))


def _duration(container: av.container.InputContainer) -> float:
    """Seconds from the start to behind the last frame; where the file does not say, all of it is decoded to know."""
    stream = container.streams.video[0]
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / av.time_base
    end = 0.0
    for frame in container.decode(stream):
        end = max(end, (frame.time or 0.0) + 1 / float(stream.average_rate or 1))
        if end > LONGEST:
            break
    return end


def _pick(container: av.container.InputContainer, targets: Sequence[float]) -> Iterator[tuple[float, Image.Image]]:
    """(seconds, picture) of the frame on screen at each target; a frame that serves two targets comes twice."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    tick = float(stream.time_base or 1)
    start = (stream.start_time or 0) * tick
    for target in targets:
        container.seek(int((start + target) / tick), stream=stream)  # to the key frame before it
        shown = None
        for frame in container.decode(stream):
            if shown is not None and (frame.time or 0.0) > start + target + 1e-6:
                break
            shown = frame
        if shown is not None:
            yield (shown.time or 0.0) - start, shown.to_image().rotate(shown.rotation, expand=True)
