"""Videos: the right frames at the right times, upright; one sentence for what cannot be used."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
from PIL import Image

from trimviz.video import frames_of, is_video, open_source, read_video


def write(path, shades, rate=4, sound=False, size=(64, 48)):
    """A video whose frames are plain grey in the given shades."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        audio = container.add_stream("aac", rate=8000) if sound else None
        for shade in shades:
            plain = np.full((size[1], size[0], 3), shade, dtype=np.uint8)
            plain[:8, :8] = 255  # a mark in the upper left corner
            container.mux(stream.encode(av.VideoFrame.from_ndarray(plain, format="rgb24")))
        container.mux(stream.encode(None))
        if audio is not None:
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, 8000), dtype=np.float32), format="fltp", layout="mono")
            quiet.sample_rate = 8000
            container.mux(audio.encode(quiet))
            container.mux(audio.encode(None))
    return path


def shades_of(video):
    return [round(float(np.asarray(frame)[20:40, 20:40].mean())) for frame in video.frames]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
@pytest.mark.parametrize("sound", [False, True])
def test_frames_are_evenly_spread(tmp_path, suffix, sound):
    shades = [10 * i for i in range(24)]
    path = write(tmp_path / f"clip{suffix}", shades, sound=sound)
    assert is_video(path)
    video = read_video(path, frames=6)
    assert video.times == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.02)
    assert shades_of(video) == pytest.approx([0, 40, 80, 120, 160, 200], abs=3)
    assert video.frames[0].size == (64, 48) and video.frames[0].mode == "RGB"
    assert video.fps == pytest.approx(1, abs=0.01)


def test_a_short_file_gives_all_frames_it_has(tmp_path):
    video = read_video(write(tmp_path / "short.mp4", [0, 100, 200]), frames=32)
    assert shades_of(video) == pytest.approx([0, 100, 200], abs=3)
    one = read_video(write(tmp_path / "one.mp4", [77]), frames=8)
    assert len(one.frames) == 1 and one.fps is None


def test_a_turned_video_is_upright(tmp_path):
    path = write(tmp_path / "phone.mp4", [50, 50])
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # in a version 0 track header
    assert struct.unpack(">9i", data[matrix : matrix + 36])[0] == 1 << 16
    data[matrix : matrix + 36] = struct.pack(
        ">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30
    )  # a quarter clockwise
    path.write_bytes(data)
    frame = np.asarray(read_video(path, frames=1).frames[0])
    assert frame.shape == (64, 48, 3)
    assert frame[2, -3].mean() > 200 > frame[2, 2].mean()  # the mark went from upper left to upper right


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "sound"])
def test_a_broken_file_is_refused_in_a_sentence(tmp_path, damage):
    path = tmp_path / "broken.mp4"
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("this is no video")
    elif damage == "cut":
        whole = write(tmp_path / "whole.mp4", range(20)).read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
    else:
        with av.open(str(path), "w") as container:
            audio = container.add_stream("aac", rate=8000)
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, 8000), dtype=np.float32), format="fltp", layout="mono")
            quiet.sample_rate = 8000
            container.mux(audio.encode(quiet))
            container.mux(audio.encode(None))
    with pytest.raises(ValueError, match=r"^broken\.mp4 .*; (save it again as MP4|give a video file)\.$"):
        read_video(path)


def test_a_missing_or_endless_file_is_refused_in_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="There is no file"):
        read_video(tmp_path / "nothing.mp4")
    path = write(tmp_path / "long.mp4", [0] * 8)
    monkeypatch.setattr("trimviz.video.LONGEST", 1)
    with pytest.raises(ValueError, match="hours long"):
        read_video(path)
    with pytest.raises(ValueError, match="at least 1 frame"):
        read_video(path, frames=0)


def test_frames_by_hand():
    frames = [Image.new("L", (20, 10), shade) for shade in (0, 255)]
    video = frames_of(frames)
    assert video.times == (0.0, 1.0) and [f.mode for f in video.frames] == ["RGB", "RGB"]
    with pytest.raises(ValueError, match="one size"):
        frames_of([*frames, Image.new("L", (10, 20))])
    with pytest.raises(ValueError, match="at least one frame"):
        frames_of([])


def test_a_folder_of_frames(tmp_path):
    for i in range(12):
        Image.new("L", (20, 10), 10 * i).save(tmp_path / f"frame {i}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    assert is_video(tmp_path)
    video = open_source(tmp_path, frames=4)
    assert video.times == (0, 3, 6, 9) and [f.getpixel((5, 5))[0] for f in video.frames] == [0, 30, 60, 90]
    assert len(open_source(tmp_path, frames=99).frames) == 12
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no frames"):
        open_source(tmp_path / "empty")
    with pytest.raises(ValueError, match="at least 1 frame"):
        open_source(tmp_path, frames=0)
