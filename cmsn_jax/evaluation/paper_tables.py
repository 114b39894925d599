"""The paper's published figures: AR@AN on THUMOS14's test set, in per cent.

Averages over eleven tIoUs .5:.05:1, in the `thumos` protocol; they compare
with nothing else.
"""

ANS = (50, 100, 200)

# Table 1: C3D network. Method -> AR@50, AR@100, AR@200.
C3D = {
  'DAPs': (13.56, 23.83, 33.96),
  'SCNN-prop': (17.22, 26.17, 37.01),
  'SST': (19.90, 28.36, 37.90),
  'TURN': (19.63, 27.96, 38.34),
  'BSN+Greedy-NMS': (27.19, 35.38, 43.61),
  'BSN+Soft-NMS': (29.58, 37.38, 45.55),
  'BMN+Greedy-NMS': (29.04, 37.72, 46.79),
  'BMN+Soft-NMS': (32.73, 40.68, 47.86),
  'CMSN+Greedy-NMS': (40.45, 46.48, 52.23),
  'CMSN+Soft-NMS': (40.40, 46.71, 52.46),
}

# Table 2: 2-Stream network (TURN: flow alone).
TWO_STREAM = {
  'TURN (flow)': (21.86, 31.89, 43.02),
  'TAG': (18.55, 29.00, 39.61),
  'CTAP': (32.49, 42.61, 51.97),
  'BSN+Greedy-NMS': (35.41, 43.55, 52.23),
  'BSN+Soft-NMS': (37.46, 46.06, 53.21),
  'BMN+Greedy-NMS': (37.15, 46.75, 54.84),
  'BMN+Soft-NMS': (39.36, 47.72, 54.70),
  'CMSN+Greedy-NMS': (43.24, 50.22, 56.11),
  'CMSN+Soft-NMS': (43.77, 50.55, 56.48),
}
