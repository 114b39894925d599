'use strict';
// One recording in the browser: items by key, and arrays sorted by time for
// drawing. Only the server changes items; here its answers are put in.

const CHUNK = 128;

// Spans sorted by start, with the latest end of every chunk of them, so that
// what is visible of ten hours is found without looking at all of it.
class Spans {
  constructor(items) {
    this.items = items.sort((a, b) => a.start - b.start || a.end - b.end);
    const n = items.length;
    this.starts = Float64Array.from(this.items, (item) => item.start);
    this.ends = Float64Array.from(this.items, (item) => item.end);
    this.scores = Float32Array.from(this.items, (item) => item.score ?? 1);
    this.chunks = new Float64Array(Math.ceil(n / CHUNK));
    for (let i = 0; i < n; i++) {
      const c = Math.floor(i / CHUNK);
      this.chunks[c] = Math.max(this.chunks[c], this.ends[i]);
    }
    this.lanes = new Uint16Array(n);
    this.laneCount = 0;
  }

  // One past the last that starts before a time.
  before(time) {
    let low = 0;
    let high = this.starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Calls visit(i) for those that overlap [from, to).
  within(from, to, visit) {
    const last = this.before(to);
    for (let c = 0; c * CHUNK < last; c++) {
      if (this.chunks[c] < from) continue;
      const end = Math.min(last, (c + 1) * CHUNK);
      for (let i = c * CHUNK; i < end; i++)
        if (this.ends[i] >= from) visit(i);
    }
  }

  // Rows without overlap, first fit; what the threshold hides takes no room.
  pack(threshold) {
    const ends = [];
    for (let i = 0; i < this.items.length; i++) {
      if (this.scores[i] < threshold) continue;
      let lane = 0;
      while (lane < ends.length && ends[lane] > this.starts[i]) lane++;
      ends[lane] = this.ends[i];
      this.lanes[i] = Math.min(lane, 65535);
    }
    this.laneCount = ends.length;
    this.packed = threshold;
  }
}

class Recording {
  constructor(data) {
    this.id = data.id;
    this.duration = data.duration;
    this.fps = data.fps;
    this.video = data.video;
    this.stageRate = data.stages;
    this.hasCurves = data.curves;
    this.columns = data.columns;
    this.items = new Map();
    for (const row of data.items) this.put(row[0], row.slice(1));
    this.take(data);
    this.rebuild();
  }

  put(key, values) {
    if (values === null) {
      this.items.delete(key);
      return;
    }
    const item = { key };
    values.forEach((value, i) => { item[this.columns[i + 1]] = value; });
    this.items.set(key, item);
  }

  // What every answer of the server says of a recording.
  take(state) {
    this.number = state.number;
    this.done = state.done;
    this.seen = state.seen;
    this.canUndo = state.can_undo;
    this.canRedo = state.can_redo;
    this.ranking = state.ranking;
    this.summary = state.summary;
  }

  apply(answer) {
    for (const [key, values] of Object.entries(answer.changed))
      this.put(key, values);
    this.take(answer);
    if (Object.keys(answer.changed).length) this.rebuild();
  }

  rebuild() {
    const kept = [];
    const open = [];
    const rejected = [];
    for (const item of this.items.values())
      (item.status === 'open' ? open
        : item.status === 'rejected' ? rejected : kept).push(item);
    this.open = new Spans(open);
    this.kept = new Spans(kept);
    this.kept.pack(-Infinity);
    this.rejected = new Spans(rejected);
    this.rejected.pack(-Infinity);
    const scores = open.map((item) => item.score ?? 0).sort((a, b) => b - a);
    this.sortedScores = scores;
    this.low = scores.length ? Math.min(0, scores[scores.length - 1]) : 0;
    this.high = this.low + 1e-6;
    for (const item of this.items.values())
      if (item.score !== null && item.score > this.high) this.high = item.score;
  }

  snap(time) {
    return clamp(Math.round(time * this.fps) / this.fps, 0, this.duration);
  }

  // Score above which there are enough to look at and not too many.
  usefulThreshold() {
    const room = Math.max(60, Math.round(this.duration / 12));
    const scores = this.sortedScores;
    return scores.length <= room ? this.low : scores[room];
  }

  countAbove(threshold) {
    const scores = this.sortedScores;
    let low = 0;
    let high = scores.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (scores[middle] >= threshold) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  reasonOf(key) {
    const row = this.ranking.find((entry) => entry[0] === key);
    return row ? row[2] : '';
  }

  // The next one worth a look after a key, in the ranking's order.
  nextRanked(key, direction) {
    const order = this.ranking.map((entry) => entry[0]);
    const at = order.indexOf(key);
    const next = at < 0 ? (direction > 0 ? 0 : -1) : at + direction;
    return order[next] ?? null;
  }

  // Neighbour in time among what is shown.
  neighbour(time, key, direction, threshold) {
    const shown = [...this.items.values()].filter((item) =>
      item.status === 'accepted' || item.status === 'given' ||
      (item.status === 'open' && (item.score ?? 1) >= threshold));
    shown.sort((a, b) => a.start - b.start || a.end - b.end);
    const at = shown.findIndex((item) => item.key === key);
    if (at >= 0) return shown[at + direction] || null;
    return direction > 0
      ? shown.find((item) => item.start >= time) || null
      : shown.filter((item) => item.start < time).pop() || null;
  }
}

// Stage bytes at several coarsenesses: the likeliest, and how likely any action.
class Stages {
  constructor(bytes) {
    this.count = bytes.length / 6;
    this.levels = [];
    let means = Float32Array.from(bytes);
    for (let size = 1; ; size *= 4) {
      const n = means.length / 6;
      const tops = new Uint8Array(n);
      const action = new Uint8Array(n);
      for (let t = 0; t < n; t++) {
        let top = 0;
        for (let s = 1; s < 6; s++)
          if (means[6 * t + s] > means[6 * t + top]) top = s;
        tops[t] = top;
        action[t] = 255 - means[6 * t];
      }
      this.levels.push({ size, tops, action });
      if (n < 500) break;
      means = Stages.coarser(means);
    }
  }

  static coarser(means) {
    const n = Math.ceil(means.length / 24);
    const found = new Float32Array(6 * n);
    for (let t = 0; t < n; t++) {
      const last = Math.min(4, means.length / 6 - 4 * t);
      for (let k = 0; k < last; k++)
        for (let s = 0; s < 6; s++)
          found[6 * t + s] += means[6 * (4 * t + k) + s] / last;
    }
    return found;
  }

  level(perPixel) {
    let best = this.levels[0];
    for (const level of this.levels) if (level.size <= perPixel) best = level;
    return best;
  }
}
