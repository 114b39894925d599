"""A small file of every annotation format, and what is in it.

All hold "groom" from 1.5 to 4.5 s of the recording v1, unless said otherwise.
"""

import json
from typing import NamedTuple

_BORIS = (
  'Observation id,Observation date,Observation type,Source,Time offset (s),'
  'Media duration (s),FPS (frame/s),Subject,Behavior,Behavioral category,'
  'Modifier #1,Behavior type'
)
_BORIS_ROW = (
  'o1,2025-06-01,Media file(s),player #1:/x/v0.mp4;/x/v1.mp4,0,20.000;30.000,'
  '25.000;25.000,m1,'
)


class Made(NamedTuple):
  """A file: its name, its contents, options to read it with."""

  name: str
  content: str
  options: dict = {}
  segment: tuple[float, float] = (1.5, 4.5)
  label: str = 'groom'


def _eaf():
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT FORMAT="3.0">'
    '<HEADER TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR '
    'MEDIA_URL="file:///x/v1.mp4"/></HEADER><TIME_ORDER>'
    '<TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="1500"/>'
    '<TIME_SLOT TIME_SLOT_ID="t2" TIME_VALUE="4500"/></TIME_ORDER>'
    '<TIER TIER_ID="what"><ANNOTATION><ALIGNABLE_ANNOTATION '
    'ANNOTATION_ID="a1" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2">'
    '<ANNOTATION_VALUE>groom</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>'
    '</ANNOTATION></TIER><TIER TIER_ID="empty"/></ANNOTATION_DOCUMENT>'
  )


def _project():
  return {
    'time_format': 'hh:mm:ss',
    'project_format_version': '7.0',
    'observations': {
      'o1': {
        'type': 'MEDIA',
        'file': {'1': ['/x/v0.mp4', '/x/v1.mp4'], '2': ['/x/other.mp4']},
        'media_info': {
          'length': {'/x/v0.mp4': 20.0, '/x/v1.mp4': 30.0},
          'fps': {'/x/v0.mp4': 25, '/x/v1.mp4': 25},
        },
        'events': [
          [21.5, 'm1', 'groom', '', ''], [24.5, 'm1', 'groom', '', ''],
          [23.0, 'm1', 'sneeze', '', ''],
        ],
      }
    },
    'behaviors_conf': {
      '0': {'type': 'State event', 'code': 'groom'},
      '1': {'type': 'Point event', 'code': 'sneeze'},
    },
  }  # fmt: skip


def _via():
  return {
    'project': {},
    'attribute': {'1': {'aname': 'what', 'options': {'0': 'groom'}}},
    'file': {'1': {'fid': '1', 'fname': 'v1.mp4'}},
    'view': {'1': {'fid_list': ['1']}},
    'metadata': {
      '1_a': {'vid': '1', 'z': [1.5, 4.5], 'xy': [], 'av': {'1': '0'}},
      '1_b': {'vid': '1', 'z': [], 'xy': [1, 2], 'av': {}},
    },
  }


def _label_studio(regions):
  result = [{'type': 'timelinelabels', 'value': one} for one in regions]
  return [
    {
      'id': 1,
      'data': {'video': '/data/upload/1/abcd1234-v1.mp4'},
      'annotations': [{'result': result}],
    }
  ]


def _calms21():
  entry = {
    'keypoints': [],
    'annotations': [3] * 15 + [0] * 30 + [3] * 45,
    'metadata': {'vocab': {'groom': 0, 'mount': 2, 'other': 3}},
  }
  return {'annotator-id_0': {'task1/train/v1': entry}}


_FRAMES_25 = {'fps': 10.0}
# name: of the format, and which kind of it
FILES = {
  'activitynet': Made(
    'a.json',
    json.dumps({'database': {'v1': {
      'subset': 'Train', 'duration': '30',
      'annotations': [{'segment': ['1.5', 4.5], 'label': 'groom'}],
    }}}),
  ),
  'activitynet, a list': Made(
    'train.json',
    json.dumps([{
      'video_id': 'v1', 'duration_second': 30,
      'annotations': [{'start': 1.5, 'end': 4.5, 'label': 'groom'}],
    }]),
  ),
  'activitynet, frames': Made(
    'val.json',
    json.dumps({'v1': {
      'duration': 30, 'fps': 10,
      'annotations': [{'segment(frames)': [15, 45], 'label': 'groom'}],
    }}),
  ),
  'activitynet, Ego4D': Made(
    'moments.json',
    json.dumps({'version': '1', 'videos': [{'video_uid': 'v', 'split': 'train',
      'clips': [{
        'clip_uid': 'v1', 'video_start_sec': 100, 'video_end_sec': 130.0,
        'annotations': [{'labels': [
          {'start_time': 1.5, 'end_time': 4.5, 'label': 'groom'},
        ]}],
      }]}]}),
  ),
  'csv': Made('a.csv', 'video,start,end,label\nv1.mp4,1.5,4.5,groom\n'),
  'csv, EPIC': Made(
    'EPIC_100_train.csv',
    'narration_id,participant_id,video_id,narration_timestamp,start_timestamp,'
    'stop_timestamp,start_frame,stop_frame,narration,verb,verb_class,noun\n'
    'n,P01,v1,00:00:01.00,00:00:01.50,00:00:04.50,90,270,groom it,groom,3,it\n',
  ),
  'csv, onset and duration': Made(
    'v1_events.tsv', 'onset\tduration\ttrial_type\n1.5\t3\tgroom\n',
    {'recording': 'v1'},
  ),
  'csv, German': Made(
    'a.csv', 'Datei;Beginn;Ende;Verhalten\nv1.mp4;1,5;4,5;groom\n'
  ),
  'boris': Made(
    'aggregated.csv',
    f'{_BORIS},Start (s),Stop (s),Duration (s),Media file name\n'
    f'{_BORIS_ROW}groom,,,STATE,21.500,24.500,3.000,v1.mp4\n'
    f'{_BORIS_ROW}sneeze,,,POINT,25.000,25.000,NA,v1.mp4\n',
  ),
  'boris, log': Made(
    'tabular.csv',
    f'{_BORIS},Time,Media file name,Comment\n'
    f'{_BORIS_ROW}groom,,,START,21.500,v1.mp4,\n'
    f'{_BORIS_ROW}sneeze,,,POINT,22.000,v1.mp4,\n'
    f'{_BORIS_ROW}groom,,,STOP,24.500,v1.mp4,\n',
  ),
  'boris, old': Made(
    'old.tsv',
    'Observation id\to1\n\nMedia file(s)\n\nTime\tMedia file path\tTotal length'
    '\tFPS\tSubject\tBehavior\tComment\tStatus\n'
    '1.5\t/x/v1.avi\t30\t25\tm\tgroom\t\tSTART\n'
    '4.5\t/x/v1.avi\t30\t25\tm\tgroom\t\tSTOP\n',
  ),
  'boris, project': Made('p.boris', json.dumps(_project())),
  'frames': Made(
    'v1_labels.csv',
    ',background,groom,rear\n'
    + ''.join(f'{k},{k < 15},{int(15 <= k < 45)},0\n' for k in range(60))
      .replace('True', '1').replace('False', '0'),
    _FRAMES_25,
  ),
  'frames, SimBA': Made(
    'v1.csv',
    ',Nose_x,Nose_y,Nose_p,groom\n'
    + ''.join(f'{k},{k}.5,2.25,0.9,{int(15 <= k < 45)}\n' for k in range(60)),
    _FRAMES_25,
  ),
  'frames, Solomon': Made(
    'v1.csv',
    'Time,Light,Behaviour\n'
    + ''.join(
      f'{k / 10},,{"groom" if 15 <= k < 45 else ""}\n' for k in range(60)
    ),
  ),
  'frames, lines': Made(
    'v1.txt', 'background\n' * 15 + 'groom\n' * 30 + 'background\n' * 15,
    _FRAMES_25,
  ),
  'frames, spans': Made(
    'v1.txt', '1-15 SIL\n16-45 groom\n46-60 SIL\n', _FRAMES_25
  ),
  'elan': Made('v1.eaf', _eaf()),
  'elan, table': Made(
    'e.txt',
    'Tier\tBegin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - '
    'hh:mm:ss.ms\tEnd Time - ss.msec\tDuration - ss.msec\twhat\tFile\n'
    'what\t00:00:01.500\t1.5\t00:00:04.500\t4.5\t3.0\tgroom\tv1.eaf\n',
  ),
  'elan, lines': Made(
    'v1.txt',
    'what\t\t00:00:01.500\t1.5\t00:00:04.500\t4.5\t00:00:03.000\t3.0\tgroom\n',
  ),
  'observer': Made(
    'o.csv',
    'Export of The Observer\n\nObservation;Subject;Behavior;Modifier_1;'
    'Event_Type;Time_Relative_sf;Duration_sf\n'
    'v1;m;groom;;State start;1,5;3,0\nv1;m;groom;;State stop;4,5;0\n'
    'v1;m;sneeze;;Point;5,25;0\n',
  ),
  'observer, without durations': Made(
    'o.csv',
    'Observation,Behavior,Event_Type,Time_Relative_sf\n'
    'v1,groom,State start,1.5\nv1,groom,State stop,4.5\n',
  ),
  'via': Made('via.json', json.dumps(_via())),
  'via, table': Made(
    'via.csv',
    '# Exported using VGG Image Annotator\n# CSV_HEADER = metadata_id,file_list,'
    'flags,temporal_coordinates,spatial_coordinates,metadata\n'
    '"1_a","[""v1.mp4""]",0,"[1.5,4.5]","[]","{""1"":""groom""}"\n',
  ),
  'labelstudio': Made(
    'ls.json',
    json.dumps(_label_studio([
      {'ranges': [{'start': 16, 'end': 45}], 'timelinelabels': ['groom']},
    ])),
    _FRAMES_25,
  ),
  'labelstudio, seconds': Made(
    'ls.json',
    json.dumps(_label_studio([
      {'start': 1.5, 'end': 4.5, 'labels': ['groom']},
    ])),
  ),
  'bento': Made(
    'b.annot',
    'Bento annotation file\nMovie file(s): v1.mp4\n\nStimulus name: \n'
    'Annotation start frame: 1\nAnnotation stop frame: 300\n'
    'Annotation framerate: 10.000000\n\nList of channels:\nCh1\n\n'
    'List of annotations:\ngroom\n\nCh1----------\n>groom\n'
    'Start\t Stop\t Duration\n16\t45\t30\n\n>other\n1\t15\t15\n',
  ),
  'bento, Caltech': Made(
    'v1.txt',
    'Caltech Behavior Annotator - Annotation File\n\nConfiguration file:\n'
    'other o\ngroom g\n\nS1: start    end     type\n'
    '-----------------------------\n  1  15  other\n  16  45  groom\n',
    _FRAMES_25,
  ),
  'calms21': Made('calms21.json', json.dumps(_calms21()), {'fps': 10.0}),
  'audacity': Made('v1.txt', '1.500000\t4.500000\tgroom\n\\\t100\t200\n'),
  'charades': Made(
    'Charades_v1_test.csv',
    'id,subject,scene,script,actions,length\n'
    'v1,A,Kitchen,"a, b",groom 1.50 4.50,30.0\nv2,A,Kitchen,c,,10.5\n',
  ),
  'soccernet': Made(
    'Labels-v2.json',
    json.dumps({'UrlLocal': 'league/v/', 'annotations': [
      {'gameTime': '1 - 00:03', 'label': 'groom', 'position': '3000'},
    ]}),
    {'point_events': 3.0},
  ),
  'ava': Made(
    'ava.csv',
    'v1,0002,0.1,0.1,0.5,0.9,12,0\nv1,0003,0.1,0.1,0.5,0.9,12,0\n'
    'v1,0004,0.1,0.1,0.5,0.9,12,0\nv1,0004,0.1,0.1,0.5,0.9,7,1\n',
    {}, (1.5, 4.5), '12',
  ),
  'thumos14': Made(
    'thumos14_test.csv',
    'video,type,type_idx,start,end,startFrame,endFrame\n'
    'video_test_0000004,Diving,8,1.5,4.5,45,135\n',
    {}, (1.5, 4.5), 'Diving',
  ),
}  # fmt: skip
# The recording, where it is not v1.
RECORDINGS = {'thumos14': 'video_test_0000004', 'soccernet': 'v_1'}
