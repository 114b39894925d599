"""Every key of a run, with the paper's value as its default.

The other files of this folder take this config, lock it and override what
differs, so that a misspelt key is an error with a suggestion.  On the command
line: `--config=configs/custom.py --config.train.seed=1`.

The paper is CMSN (Hu et al., "Continuous Multi-stage Network and Variable
Margin Cosine Loss for Temporal Action Proposal Generation", 2020).
"""

import ml_collections

from cmsn_jax.settings import bmn


def get_config() -> ml_collections.ConfigDict:
  """Returns the default configuration: the paper's, on features."""
  config = ml_collections.ConfigDict()
  # How snippets become proposals: 'paper' (Sec. 3), 'template' (every start and
  # duration, docs/template_chain.md), 'bmn' and 'tag' (the paper's rivals,
  # docs/compare.md), or the import path of a chain of your own
  # (docs/your_own_chain.md). A key that it does not read is an error.
  config.chain = 'paper'
  config.data = _data()
  config.video = _video()
  config.extractor = _extractor()
  config.windows = _windows()
  config.stages = _stages()
  config.proposals = _proposals()
  config.evaluator = _evaluator()
  config.template = _template()
  config.bmn = bmn.section()
  config.calibration = _calibration()
  config.nms = _nms()
  config.train = _train()
  config.evaluation = _evaluation()
  return config.lock()


def _data():
  data = ml_collections.ConfigDict()
  # Ground truth, ActivityNet JSON.
  data.annotations = ''
  # 'features': one array [T, D] a video.  'video': frames, decoded by us.
  data.input = 'features'
  # Folder of .npy / .npz / BSN .csv, or one .h5 file.  Several folders,
  # separated by commas, are concatenated on the grid of the first.
  data.features = ''
  # Snippets a second.  0: taken from the feature folder's sidecar file or from
  # the annotations' "feature_fps"; with neither it is an error.
  # Recordings of several rates (an entry's "feature_fps", or a dict by id in
  # the sidecar) are resampled to this one; 0: to the commonest of them.
  data.feature_fps = 0.0
  # Frames that a row is computed from, and from a row to the next: row i is
  # centred at (feature_offset + i feature_stride + feature_window / 2) / fps.
  # 0: a row covers the time until the next.  fps: feature_fps times the stride,
  # or the annotations' "fps".
  data.feature_window = 0.0
  data.feature_stride = 0.0
  # Frame at which the first window begins; below 0 where the extractor pads.
  data.feature_offset = 0.0
  # Every video was stretched to some number of rows, whatever its duration
  # (ActivityNet's usual form): a row lasts duration / rows.
  data.rescaled = False
  # Which array of each file, where it has several; '' the only one possible.
  data.feature_key = ''
  # Missing values (NaN) of one feature are interpolated over stretches of up to
  # this many seconds, in training and proposing. Longer ones are masked: their
  # values become the feature's mean, and nothing is learned where half of the
  # features are missing. 0: a NaN is an error, which names the file and row.
  data.fill_gaps_sec = 0.0
  # Videos named <id>.<extension> (input 'video'): a folder, a pattern
  # ('videos/**/*.mp4'), or a list (.txt, a path a line).
  data.videos = ''
  # Where decoded frames are kept; '' keeps them in the workdir.
  data.frames_cache = ''
  data.train_subset = 'training'
  # Share of its instances to learn from: whole videos, drawn by `train.seed`.
  data.train_share = 1.0
  # Choices (best epoch, NMS) are made on this subset.  Where the annotations
  # have no 'validation' videos, `holdout` of the training videos take its place
  # (0: none); any other name must have videos.
  data.eval_subset = 'validation'
  data.holdout = 0.2
  # Go on without the videos that have annotations but no file (a warning
  # counts them); False makes them an error.
  data.allow_missing = False
  # Labels that are no ground truth, e.g. ('Ambiguous',) on THUMOS14.
  data.exclude_labels = ()
  # Standardise features with the training videos' mean and deviation.
  data.standardize = True
  # Instead of that, make each feature normally distributed over the training
  # videos (normal scores of its quantiles), where `standardize` is on.
  data.normal_scores = False
  # Average this many neighbouring snippets into one before everything else;
  # 0 chooses the factor from the training segments' durations, so that a
  # median instance spans about `target_snippets`.
  data.pool = 1
  data.target_snippets = 24.0
  # Append the logarithm of each feature's deviation among the rows averaged.
  data.pool_deviation = False
  return data


def _video():
  video = ml_collections.ConfigDict()
  # Sec. 5.1 adapts R-C3D, which samples 25 frames a second.
  video.fps = 25.0
  # Frames are resized to (height, width), then cropped (Sec. 5.1).
  video.size = (128, 171)
  video.crop = (112, 112)
  # Random crop and flip in training; centre crop else.
  video.random_crop = True
  video.random_flip = True
  return video


def _extractor():
  extractor = ml_collections.ConfigDict()
  # Feature extractor subnet (FES, Sec. 3.1) of input 'video'.
  extractor.name = 'c3d'
  # Output channels of the five blocks conv1 .. conv5.
  extractor.widths = (64, 128, 256, 512, 512)
  # Folder made by launch.convert_weights or launch.pretrain; '' starts from
  # random weights.
  extractor.weights = ''
  # The first two convolutions stay as they are (Sec. 5.1); 8 freezes all, as
  # the UCF-101 variant does (Sec. 5.2).
  extractor.frozen_layers = 2
  # Subtracted from values of 0 to 255, by channel; then multiplied by scale.
  # A weight set's own description takes the place of these three.
  extractor.mean = (101.4, 97.7, 90.2)
  extractor.scale = (1.0, 1.0, 1.0)
  # 'rgb' or 'bgr': the order the weights were trained with.
  extractor.channel_order = 'rgb'
  # Recompute activations in the backward pass: less memory, more time.
  extractor.remat = False
  return extractor


def _windows():
  windows = ml_collections.ConfigDict()
  # Snippets a window: 768 frames at stride 8 (Sec. 5.1).
  windows.length = 96
  # Share by which neighbouring windows overlap (Sec. 3.4).
  windows.overlap = 0.5
  # Train only on windows that hold part of an instance.
  windows.require_instance = True
  # Shift each training window by up to this share of its hop, at random.
  windows.jitter = 0.0
  # Random changes of the training features; see data/augmentation.py.
  windows.time_stretch = 0.0
  windows.channel_drop = 0.0
  windows.noise = 0.0
  windows.scale = 0.0
  return windows


def _stages():
  stages = ml_collections.ConfigDict()
  # A snippet's label: 'centre' samples the frame labels at its centre,
  # 'majority' takes the commonest of its frames.
  stages.label_rule = 'centre'
  # Width of the convolution(s) before the LSTM; their output is what the
  # evaluator pools (Sec. 3.1, 3.3).
  stages.width = 512
  # A direction of the bidirectional LSTM (Sec. 3.1; width is our choice).
  stages.lstm_width = 512
  stages.lstm_layers = 2
  stages.dropout = 0.5
  # 'softmax' (Eq. 2), 'lmcl' (Eq. 3), 'vmcl' (Eq. 5), 'vmcl_arc' (Eq. 8).
  stages.loss = 'vmcl'
  # s of Eq. 3, 5, 8.
  stages.scale = 30.0
  # Weight of a second target of the chain 'paper', the action (its label in the
  # annotations) of each snippet, by which proposals get labels; the paper has
  # none. 0: labels are not looked at. The labels are those of the training
  # instances.
  stages.action_weight = 0.0
  stages.label_names = ()
  # m of Eq. 3.
  stages.lmcl_margin = 0.35
  # m and n of Eq. 7 (Sec. 5.1, Table 6).
  stages.margin_m = 0.1
  stages.margin_n = 0.15
  # 'worked_example' is (D-1)m + n, which reproduces Sec. 4.2's example;
  # 'equation_7' is Dm + n.
  stages.margin_form = 'worked_example'
  return stages


def _proposals():
  proposals = ml_collections.ConfigDict()
  # Stage of a snippet: 'argmax' as Sec. 3.2, or 'grammar', the most probable
  # sequence in the order of Sec. 3.1.
  proposals.decoder = 'argmax'
  # i of Eq. 1, per snippet.
  proposals.decay_rate = 0.09
  # Split a run where End or Follow is followed by Ready or Start.
  proposals.split_runs = True
  # A candidate holds at least one ('any') or each ('all') of these stages.
  proposals.required_stages = (2, 3, 5)
  proposals.required_rule = 'any'
  # Windows of one video: 'pool' generates in each window and pools the
  # proposals (Sec. 3.4); 'average' averages the overlapping stage
  # probabilities and features and generates once.
  proposals.stitch = 'pool'
  # Best candidates a window that the evaluator scores; 0: all.
  proposals.max_candidates = 0
  return proposals


def _evaluator():
  evaluator = ml_collections.ConfigDict()
  # Proposal evaluation subnet (PES, Sec. 3.3); off is Table 4's first rows.
  evaluator.enabled = True
  evaluator.roi_bins = 4
  evaluator.hidden = 2048
  evaluator.dropout = 0.5
  # Proposals a window and step.
  evaluator.max_rois = 192
  return evaluator


def _template():
  template = ml_collections.ConfigDict()
  # The template chain (config.chain 'template'): one network with a stage
  # head and a context evaluator, trained in one phase.  See docs/template_chain.md.
  # Networks whose predictions are averaged.  Each learns from its own share of
  # every batch: train.batch_per_device is to be a multiple.
  template.members = 3
  # Steps of the phase, rounded up to whole epochs.
  template.steps = 1000
  # Times that the held-out videos are evaluated on the way.
  template.evaluations = 5
  template.width = 128
  template.dilations = (1, 2, 4, 8, 16)
  # Where more than a hundredth of the training instances is longer than
  # `windows.length`, windows grow up to so many snippets, and dilations with
  # them; a step then takes fewer windows. 0: they stay.
  template.max_window = 4096
  template.dropout = 0.3
  # Channels that the evaluator pools, beside the probabilities of the stages and
  # of the actions.
  template.pooled_width = 48
  template.hidden = 256
  # Training proposals a window and step.
  template.proposals = 192
  # Weights in the loss: stages, tIoU reached or not, borders.
  template.stage_weight = 2.0
  # Of the action (its label in the annotations) of each snippet, a second target
  # beside the stages; 0: labels are not looked at.
  template.action_weight = 0.25
  template.match_weight = 4.0
  template.offset_weight = 1.0
  # Then one network, the student, learns what the members say together, from so
  # many steps (`steps` at most) of so many windows; it proposes alone, and launch.propose
  # --phase=joint the members. 0 steps: no student.
  template.student_steps = 0
  template.student_windows = 16
  # From fewer steps where there are few windows: what is shown more often than so
  # is known by heart once more. 0: as often as it comes.
  template.student_epochs = 15
  # Each member leaves a part of the training videos out, so that the student is
  # taught what is said of videos by one that has not seen them.
  template.cross_fit = False
  # That one counts so many times as much as another. 0: from the data, 9 where
  # there are few training instances, else 3.
  template.honest_weight = 0.0
  # Weight of the classifier that gives proposals their labels, and its width;
  # what it learns shapes the evaluator's features too: of fewer than seven
  # labels in proportion, of two 2/7. 0: none.
  template.label_weight = 1.0
  template.label_hidden = 64
  # Labels of the training instances; 0 and (): taken from the training data.
  template.num_actions = 0
  template.label_names = ()
  # Durations of candidates in snippets, and their median; () and 0: from the
  # training instances, on a geometric grid.
  template.durations = ()
  template.typical_duration = 0.0
  # So many times as slowly snippets are played to networks that tell their
  # stages, by which candidates and borders go, and to those that give the features
  # which the evaluator sees; 1: as they come. From the data (0, 0): 1 and 1, but
  # where a tenth of the training instances is short 1.5 and 1.5, or where there are
  # few of them 1.5 and 1.
  template.slow_stages = 0.0
  template.slow_features = 0.0
  # Power of the borders' clearness in a proposal's score; 0: without it.
  template.clear_weight = 0.2
  # Of a proposal of L snippets the evaluator's probabilities count to the power
  # `temper + doubt_snippets / L`: it is far too sure of short ones. `temper` 0:
  # from the data, .7 where there are few training instances, else 1.
  template.temper = 0.0
  template.doubt_snippets = 5.0
  # Snippets by which borders are known at best: short proposals count less.
  template.border_error = 0.0
  # Power of the borders' clearness in choosing candidates; 0: without it.
  template.clear_candidates = 0.5
  # Per snippet of video: candidates that the evaluator scores; of them, those
  # that are the best of their place and duration (others are near copies of the
  # best); those whose borders it mends and scores again, beside them; and those
  # that reach the NMS (0: all). From the data (0, -1, -1): 2, 1.3 and .4, or
  # 4.7, 4 and .8 where there are few training instances: what learned from few
  # knows less well which are the best, so that more must be tried. Of a number of
  # candidates that is stated as many differ, in proportion.
  template.per_snippet = 0.0
  template.different_per_snippet = -1.0
  template.mend_per_snippet = -1.0
  template.keep_per_snippet = 0.0
  # Proposals kept of a video at most, where `nms.max_proposals` is 0: so many a
  # snippet, but not fewer than `most_at_least`. Both 0: all that the NMS leaves.
  template.most_per_snippet = 0.2
  template.most_at_least = 400
  return template


def _calibration():
  calibration = ml_collections.ConfigDict()
  # Fit slope and offset of the log odds of scores on the held-out videos and
  # keep them with the checkpoint: scores then mean what they say.
  calibration.fit = False
  # Given instead of fitted; (1.0, 0.0): scores stay as they come.
  calibration.given = ()
  # The same of labels: one slope, and an offset a label of
  # `template.label_names`.
  calibration.labels = ()
  return calibration


def _nms():
  nms = ml_collections.ConfigDict()
  # 'soft', 'greedy' or 'none'; without an evaluator none is applied.
  # 'threshold' (chain 'template' only) has nothing to tune.
  nms.method = 'soft'
  # BSN's setting for THUMOS14.
  nms.sigma = 0.75
  nms.threshold = 0.65
  nms.greedy_tiou = 0.8
  # Proposals kept a video; 0: all, in the template chain as many as
  # `template.most_per_snippet` says.
  nms.max_proposals = 0
  return nms


def _train():
  train = ml_collections.ConfigDict()
  train.seed = 0
  # Windows a device and step (Sec. 5.1).
  train.batch_per_device = 1
  # Steps whose gradients are averaged before one update.
  train.accumulate = 1
  # Sec. 5.1: 3 and 4 epochs from video; features 12 and 10.
  train.stages_epochs = 12
  train.evaluator_epochs = 10
  train.learning_rate = 1e-4
  train.weight_decay = 5e-4
  # 'adam' or 'sgd' (momentum .9, as in R-C3D).
  train.optimizer = 'adam'
  train.momentum = 0.9
  # 'constant' or 'cosine' (after `warmup_steps` of linear growth).
  train.schedule = 'constant'
  train.warmup_steps = 0
  # Global gradient norm; 0: unclipped.
  train.clip_norm = 0.0
  # Decay of the moving average of parameters that is evaluated; 0: off.
  train.ema = 0.0
  # Folder of a trained run whose parameters, by name, this one begins with;
  # '': from scratch (launch.train --init_from).
  train.init_from = ''
  # Regular expressions of parameter paths that stay as they are.
  train.frozen = ()
  # 'float32' or 'bfloat16' computation; parameters stay float32.
  train.dtype = 'float32'
  # Evaluate and keep the best after every so many epochs.
  train.eval_every_epochs = 1
  # Resume checkpoints: at least every so many seconds (more often where it
  # costs next to nothing; 0: never by time), and every so many steps (0: not by
  # steps).
  train.checkpoint_every_sec = 60.0
  train.checkpoint_every_steps = 0
  train.log_every_steps = 10
  return train


def _evaluation():
  evaluation = ml_collections.ConfigDict()
  # Chooses the best epoch: 'thumos', 'anet' or 'top_k'.
  evaluation.protocol = 'top_k'
  evaluation.ans = (10, 20, 50, 100, 200)
  # The best epoch has the highest mean of these ARs.
  evaluation.best_ans = (50, 100)
  return evaluation
