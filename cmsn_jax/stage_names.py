"""The six stages of an action instance (Sec. 3.1): numbers, names, count.

Ready is half a duration before the instance, Start, Confirm and End are its
thirds, Follow is half a duration after it; all else is Background.
"""

NAMES = ('Background', 'Ready', 'Start', 'Confirm', 'End', 'Follow')
COUNT = len(NAMES)
BACKGROUND, READY, START, CONFIRM, END, FOLLOW = range(COUNT)
