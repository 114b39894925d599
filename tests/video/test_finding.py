"""Which files an input means, and what is said of the others."""

import os

import numpy as np
import pytest
from PIL import Image

from cmsn_jax.video import decoding, finding, reader, video_files
from tests.video import made_kinds, made_videos


@pytest.fixture
def tree(tmp_path):
  """Files of no content: only their names matter here."""
  for name in (
    'a.mp4', 'b [1].MKV', 'c.VOB', 'd.MOD', 'e.f4v', 'f.m2v', 'g.divx',
    'labels.csv', 'day1/GX010001.MP4', 'day2/GX010001.MP4', 'day2/x/deep.avi',
  ):  # fmt: skip
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  (tmp_path / 'gone.mp4').symlink_to(tmp_path / 'nowhere.mp4')
  return tmp_path


def names(found, root):
  return {
    video_id: os.path.relpath(path, root)
    for video_id, path in found.videos.items()
  }


def test_a_folder_says_what_it_leaves_out(tree):
  found = finding.find(tree)
  assert list(found.videos) == ['a', 'b [1]', 'c', 'd', 'e', 'f', 'g']
  (note,) = found.notes
  for words in (
    '7 videos', '2 folders (--recursive takes them in): day1, day2',
    '1 dangling links: gone.mp4', '1 other files: labels.csv',
  ):  # fmt: skip
    assert words in note
  assert not found.failures


def test_folders_below_keep_their_path_in_the_id(tree):
  found = finding.find(tree, recursive=True)
  assert names(found, tree) == {
    'a': 'a.mp4', 'b [1]': 'b [1].MKV', 'c': 'c.VOB', 'd': 'd.MOD',
    'e': 'e.f4v', 'f': 'f.m2v', 'g': 'g.divx',
    'day1__GX010001': 'day1/GX010001.MP4',
    'day2__GX010001': 'day2/GX010001.MP4', 'day2__x__deep': 'day2/x/deep.avi',
  }  # fmt: skip


def test_patterns_brackets_and_several_inputs(tree, monkeypatch):
  assert list(finding.find(f'{tree}/**/*.avi').videos) == ['deep']
  assert list(finding.find(f'{tree}/b [1].MKV').videos) == ['b [1]']
  odd = tree / 'set[1]'
  odd.mkdir()
  (odd / 'z.mp4').touch()
  assert list(finding.find(f'{odd}/*.mp4').videos) == ['z']
  found = finding.find([f'{tree}/[ac].*', odd])
  assert list(found.videos) == ['a', 'c', 'z']
  monkeypatch.setenv('HOME', str(tree))
  assert list(finding.find('~/day1').videos) == ['GX010001']
  found = finding.find(f'{tree}/*')
  assert 'folders' in found.notes[0] and len(found.videos) == 7


def test_two_of_a_name_do_not_stop_the_others(tree):
  inputs = [tree / 'day1', tree / 'day2', tree / 'a.mp4']
  found = finding.find(inputs)
  assert list(found.videos) == ['a']
  assert '--ids=path' in found.failures['GX010001']
  found = finding.find(inputs, ids='path')
  assert names(found, tree) == {
    'day1__GX010001': 'day1/GX010001.MP4',
    'day2__GX010001': 'day2/GX010001.MP4', f'{tree.name}__a': 'a.mp4',
  }  # fmt: skip
  # The same file twice is one.
  assert list(finding.find([tree / 'a.mp4', f'{tree}/a*']).videos) == ['a']


def test_an_odd_name_does_not_stop_the_others(tree):
  (tree / 'bad\n.mp4').touch()
  found = finding.find(tree)
  assert len(found.videos) == 7
  ((name, words),) = found.failures.items()
  assert 'control characters' in words and '\n' not in name


def test_a_list(tree):
  listed = tree / 'list.txt'
  listed.write_text(f'# mine\na.mp4\n{tree}/day2\n\nnone.mp4\n')
  found = finding.find(listed)
  assert list(found.videos) == ['a', 'GX010001']
  assert 'no such file' in found.failures['none.mp4']


@pytest.mark.parametrize(
  'text, words',
  [
    ('https://a.org/b.mp4', 'addresses and streams are not read: download'),
    ('rtsp://cam', 'record it to a file first'),
    ('/dev/null', 'a camera, a pipe or another device is not read'),
    ('nowhere.mp4', 'no such file or folder'),
    ('no_*.mp4', 'no video at no_'),
  ],
)
def test_what_is_no_video(text, words):
  with pytest.raises(decoding.VideoError, match=words):
    finding.find(text)


def write_pictures(folder, numbers, pattern='img_{:05d}.png'):
  folder.mkdir()
  for shown, number in enumerate(numbers):
    image = Image.fromarray(made_videos.picture(shown))
    image.save(folder / pattern.format(number))


def test_a_folder_of_pictures(tmp_path):
  write_pictures(tmp_path / 'frames', range(8, 20))
  with pytest.raises(decoding.VideoError, match='by --fps'):
    finding.find(tmp_path / 'frames')
  found = finding.find(tmp_path / 'frames', fps=10.0)
  assert list(found.videos) == ['frames']
  sequence = found.videos['frames']
  info = decoding.probe(sequence)
  assert (info.num_frames, info.duration_sec) == (12, 1.2)
  frames = decoding.read(sequence, fps=10.0, size=None)
  assert [made_videos.index_of(f) for f in frames] == list(range(12))
  part = decoding.read(sequence, fps=20.0, start_frame=10, stop_frame=14)
  assert [made_videos.index_of(f) for f in part] == [5, 5, 6, 6]
  pattern = tmp_path / 'frames' / 'img_%05d.png'
  found = finding.find(pattern, fps=5.0, ids='name')
  assert list(found.videos) == ['frames']
  assert decoding.probe(found.videos['frames']).duration_sec == 2.4


def test_missing_pictures_keep_the_clock(tmp_path):
  write_pictures(tmp_path / 'frames', [1, 2, 5, 6])
  with pytest.warns(decoding.VideoWarning, match='2 of 6 numbers'):
    found = finding.find(tmp_path / 'frames', fps=1.0)
  frames = decoding.read(found.videos['frames'], fps=1.0, size=None)
  assert [made_videos.index_of(f) for f in frames] == [0, 1, 1, 1, 2, 3]
  # Every fifth frame: these are the frames.
  write_pictures(tmp_path / 'fifth', [0, 5, 10])
  (sequence,) = finding.find(tmp_path / 'fifth', fps=1.0).videos.values()
  assert decoding.probe(sequence).duration_sec == 3


def test_a_damaged_picture(tmp_path):
  write_pictures(tmp_path / 'frames', range(4))
  (tmp_path / 'frames' / 'img_00001.png').write_bytes(b'none')
  (sequence,) = finding.find(tmp_path / 'frames', fps=1.0).videos.values()
  with pytest.raises(decoding.VideoError, match='img_00001.png.*allow_damage'):
    decoding.read(sequence, fps=1.0)
  with pytest.warns(decoding.VideoWarning, match='img_00001'):
    frames = decoding.read(sequence, fps=1.0, size=None, allow_damage=True)
  assert [made_videos.index_of(f) for f in frames] == [0, 0, 2, 3]


def test_grey_of_16_bits_is_not_clipped(tmp_path):
  (tmp_path / 'frames').mkdir()
  for number in range(2):
    grey = np.full((20, 30), 40000, np.uint16)
    Image.fromarray(grey).save(tmp_path / 'frames' / f'{number}.png')
  (sequence,) = finding.find(tmp_path / 'frames', fps=1.0).videos.values()
  assert decoding.read(sequence, fps=1.0, size=None)[0, 0, 0, 0] == 156


def test_the_worker_reads_pictures_and_knows_of_allowed_damage(tmp_path):
  write_pictures(tmp_path / 'frames', range(4))
  (tmp_path / 'frames' / 'img_00003.png').write_bytes(b'none')
  (sequence,) = finding.find(tmp_path / 'frames', fps=1.0).videos.values()
  with made_kinds.damage_allowed(), reader.VideoReader() as worker:
    with pytest.warns(decoding.VideoWarning, match='img_00003'):
      frames = list(worker.frames(sequence, fps=1.0))
  assert sum(map(len, frames)) == 3


def test_links_that_lead_back_are_followed_once(tmp_path):
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in' / 'a.mp4').touch()
  (tmp_path / 'in' / 'self').symlink_to(tmp_path / 'in')
  found = finding.find(tmp_path / 'in', recursive=True)
  assert list(found.videos) == ['a']
  assert 'links to a folder above: self' in found.notes[0]
  found = finding.find(f'{tmp_path}/**/*.mp4', ids='path')
  assert list(found.videos) == ['in__a']


def test_what_macos_keeps_beside_videos_is_no_video(tmp_path):
  (tmp_path / 'a.mp4').touch()
  (tmp_path / '._a.mp4').touch()
  found = finding.find(tmp_path)
  assert list(found.videos) == ['a']
  assert '._a.mp4' in found.notes[0]
  assert list(video_files.find_videos(tmp_path)) == ['a']


def test_quoted_paths_in_a_list(tmp_path):
  (tmp_path / 'a b.mp4').touch()
  (tmp_path / 'list.txt').write_text('"a b.mp4"\n', encoding='utf-8')
  found = finding.find(tmp_path / 'list.txt')
  assert list(found.videos) == ['a b'] and not found.failures


def test_a_pattern_of_pictures_has_a_remedy(tmp_path):
  write_pictures(tmp_path / 'frames', range(3))
  with pytest.raises(video_files.VideoError, match=r'img_%05d\.jpg'):
    finding.find(tmp_path / 'frames' / 'img_*.png', fps=1.0)


def test_a_list_as_ffmpeg_joins_files_by(tree):
  listed = tree / 'join.txt'
  listed.write_text("file 'a.mp4'\nfile 'day1/GX010001.MP4'\n")
  found = finding.find(listed)
  assert list(found.videos) == ['a', 'GX010001'] and not found.failures


def test_a_dangling_link_says_where_it_leads(tmp_path):
  (tmp_path / 'a.mp4').symlink_to('nowhere.mp4')
  with pytest.raises(video_files.VideoError, match='a link to nowhere.mp4'):
    finding.find(tmp_path / 'a.mp4')
