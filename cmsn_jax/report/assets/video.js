'use strict';
// One video's packed numbers: proposals, posterior, overlaps with the truth.

// A tIoU of exactly 0.5 may come back as 0.4999 from times in milliseconds.
const SLACK = 1e-3;
// Rows of overlapping bars; what does not fit goes into the last one.
const MOST_LANES = 110;

// Proposals of one run, best first: n, starts, ends (seconds), scores, labels
// (numbers, or null), sure (of the label, or null).
function unpack(packed, [low, high]) {
  const bytes = bytesOf(packed.packed);
  const n = bytes.length / 10;
  const raw = new Uint16Array(bytes.buffer, 8 * n, n);
  const sec = (ms) => ms / 1000;
  return {
    n,
    starts: Float64Array.from(new Uint32Array(bytes.buffer, 0, n), sec),
    ends: Float64Array.from(new Uint32Array(bytes.buffer, 4 * n, n), sec),
    scores: Float64Array.from(raw, (v) => low + ((high - low) * v) / 65535),
    labels: packed.named
      ? new Uint16Array(bytesOf(packed.named).buffer) : null,
    sure: packed.sure ? new Float32Array(bytesOf(packed.sure).buffer) : null,
  };
}

// First place in ascending values whose value is > x (or >= x).
function placeAfter(values, x, orEqual = false) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (orEqual ? values[middle] < x : values[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

class Video {
  constructor(entry, index, page) {
    Object.assign(this, entry);
    this.index = index;
    this.page = page;
    this.labels = this.truth.map((row) => page.labels[row[2]]);
    this.searchText = `${this.id} ${[...new Set(this.labels)].join(' ')}`
      .toLowerCase();
    this.kept_answers = {};
  }

  get proposals() {
    if (!this.unpacked) this.unpacked = unpack(this, this.page.score_range);
    return this.unpacked;
  }

  // The other run's, where two are compared; null where not.
  get others() {
    if (this.other && !this.unpackedOther)
      this.unpackedOther = unpack(this.other, this.page.score_range);
    return this.unpackedOther || null;
  }

  // Stage posterior in 1/255, six values a snippet; null without stages.
  get posterior() {
    if (this.stages && !this.unpackedStages)
      this.unpackedStages = bytesOf(this.stages);
    return this.unpackedStages || null;
  }

  // What overlaps: of proposal i the places from[i] ... from[i + 1] in `truth`
  // (index) and `tiou`; and its best tIoU. Only neighbours in time are looked
  // at, so that an hour of thousands costs no more than its overlaps.
  matches(list) {
    if (list.matches) return list.matches;
    const order = this.truth.map((_, i) => i)
      .sort((a, b) => this.truth[a][0] - this.truth[b][0]);
    const starts = Float64Array.from(order, (i) => this.truth[i][0]);
    const reach = Float64Array.from(order, (i) => this.truth[i][1]);
    for (let i = 1; i < reach.length; i++)
      reach[i] = Math.max(reach[i], reach[i - 1]);
    const from = new Uint32Array(list.n + 1);
    const best = new Float32Array(list.n);
    const truth = [];
    const tiou = [];
    for (let i = 0; i < list.n; i++) {
      const s = list.starts[i];
      const e = list.ends[i];
      const last = placeAfter(starts, e, true);
      for (let k = placeAfter(reach, s); k < last; k++) {
        const [a, b] = this.truth[order[k]];
        const both = Math.min(e, b) - Math.max(s, a);
        if (both <= 0) continue;
        const value = both / (b - a + e - s - both);
        truth.push(order[k]);
        tiou.push(value);
        if (value > best[i]) best[i] = value;
      }
      from[i + 1] = truth.length;
    }
    list.matches = { from, best, truth: Uint32Array.from(truth),
      tiou: Float32Array.from(tiou) };
    return list.matches;
  }

  // What was worked out for these settings stays until they change.
  answer(name, settings, work) {
    const key = `${settings.top} ${settings.score} ${settings.labelKey}`;
    const kept = this.kept_answers[name];
    if (kept && kept.key === key) return kept.value;
    const value = work();
    this.kept_answers[name] = { key, value };
    return value;
  }

  isShown(settings, label) {
    return !settings.labels || settings.labels.has(label);
  }

  // Indices of the proposals that pass sliders and labels, best first.
  shown(settings, other = false) {
    return this.answer(other ? 'others' : 'shown', settings, () => {
      const list = other ? this.others : this.proposals;
      const found = [];
      for (let i = 0; i < list.n && found.length < settings.top; i++) {
        if (list.scores[i] < settings.score) break;
        if (!list.labels || this.isShown(settings, list.labels[i])) found.push(i);
      }
      return found;
    });
  }

  // Indices of the true segments whose labels are chosen.
  shownTruth(settings) {
    return this.answer('truth', settings, () =>
      this.truth.map((_, i) => i)
        .filter((i) => this.isShown(settings, this.truth[i][2])));
  }

  // Best tIoU of each true segment with the shown proposals.
  bestOfTruth(settings, other = false) {
    return this.answer(other ? 'bestOther' : 'best', settings, () => {
      const { from, truth, tiou } =
        this.matches(other ? this.others : this.proposals);
      const best = new Float32Array(this.truth.length);
      for (const i of this.shown(settings, other))
        for (let k = from[i]; k < from[i + 1]; k++)
          if (tiou[k] > best[truth[k]]) best[truth[k]] = tiou[k];
      return best;
    });
  }

  found(settings, other = false) {
    const best = this.bestOfTruth(settings, other);
    let count = 0;
    for (const i of this.shownTruth(settings))
      if (best[i] >= settings.tiou - SLACK) count++;
    return count;
  }

  // Best tIoU of a proposal with any true segment whose label is chosen.
  tiouOf(settings, i, other = false) {
    const { from, best, truth, tiou } =
      this.matches(other ? this.others : this.proposals);
    if (!settings.labels) return best[i];
    let found = 0;
    for (let k = from[i]; k < from[i + 1]; k++)
      if (tiou[k] > found &&
          this.isShown(settings, this.truth[truth[k]][2])) found = tiou[k];
    return found;
  }

  // Each shown span's row, so that those of a row do not overlap.
  lanes(settings, which) {
    return this.answer(`lanes ${which}`, settings, () => {
      if (which === 'truth') {
        const chosen = this.shownTruth(settings);
        return lanesOf(chosen, (i) => this.truth[i][0], (i) => this.truth[i][1]);
      }
      const other = which === 'others';
      const list = other ? this.others : this.proposals;
      return lanesOf(this.shown(settings, other), (i) => list.starts[i],
        (i) => list.ends[i]);
    });
  }
}

// First free row for each of the indices, in the order given. Rows are kept in
// the order of time, so that a span has two neighbours only.
function lanesOf(indices, startOf, endOf) {
  const rows = [];
  const lanes = indices.map((i) => {
    const start = startOf(i);
    const end = endOf(i);
    for (let lane = 0; lane < MOST_LANES; lane++) {
      if (lane === rows.length) rows.push({ starts: [], ends: [] });
      const { starts, ends } = rows[lane];
      const place = placeAfter(starts, start);
      if ((place && ends[place - 1] > start) ||
          (place < starts.length && starts[place] < end)) continue;
      starts.splice(place, 0, start);
      ends.splice(place, 0, end);
      return lane;
    }
    return MOST_LANES - 1;
  });
  return { indices, lanes, count: rows.length };
}
