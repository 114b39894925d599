'use strict';
// One video's packed numbers: proposals, posterior, overlaps with the truth.

// A tIoU of exactly 0.5 may come back as 0.4999 from times in milliseconds.
const SLACK = 1e-3;

class Video {
  constructor(entry, index, page) {
    Object.assign(this, entry);
    this.index = index;
    this.page = page;
    this.labels = this.truth.map((row) => page.labels[row[2]]);
    this.searchText = `${this.id} ${[...new Set(this.labels)].join(' ')}`
      .toLowerCase();
  }

  // Proposals best first: starts, ends (seconds), scores.
  get proposals() {
    if (!this.unpacked) {
      const bytes = bytesOf(this.packed);
      const n = bytes.length / 10;
      const [low, high] = this.page.score_range;
      const raw = new Uint16Array(bytes.buffer, 8 * n, n);
      this.unpacked = {
        n,
        starts: Float64Array.from(new Uint32Array(bytes.buffer, 0, n),
          (ms) => ms / 1000),
        ends: Float64Array.from(new Uint32Array(bytes.buffer, 4 * n, n),
          (ms) => ms / 1000),
        scores: Float64Array.from(raw, (v) => low + ((high - low) * v) / 65535),
      };
    }
    return this.unpacked;
  }

  // Stage posterior in 1/255, six values a snippet; null without stages.
  get posterior() {
    if (this.stages && !this.unpackedStages)
      this.unpackedStages = bytesOf(this.stages);
    return this.unpackedStages || null;
  }

  // tIoU of every true segment (row) with every proposal (column).
  get overlaps() {
    if (!this.tious) {
      const { n, starts, ends } = this.proposals;
      this.tious = this.truth.map(([s, e]) => {
        const row = new Float32Array(n);
        for (let i = 0; i < n; i++) {
          const both = Math.min(e, ends[i]) - Math.max(s, starts[i]);
          if (both > 0) row[i] = both / (e - s + ends[i] - starts[i] - both);
        }
        return row;
      });
    }
    return this.tious;
  }

  // How many proposals pass the sliders; they are the first ones.
  shownCount(settings) {
    const { n, scores } = this.proposals;
    let count = Math.min(settings.top, n);
    while (count > 0 && scores[count - 1] < settings.score) count--;
    return count;
  }

  // Best tIoU of each true segment with the shown proposals.
  bestOfTruth(settings) {
    const count = this.shownCount(settings);
    return this.overlaps.map((row) => {
      let best = 0;
      for (let i = 0; i < count; i++) if (row[i] > best) best = row[i];
      return best;
    });
  }

  // Counted without the matrix: an index of thousands of videos calls this.
  found(settings) {
    const { starts, ends } = this.proposals;
    const count = this.shownCount(settings);
    const enough = settings.tiou - SLACK;
    let found = 0;
    for (const [s, e] of this.truth)
      for (let i = 0; i < count; i++) {
        const both = Math.min(e, ends[i]) - Math.max(s, starts[i]);
        if (both >= enough * (e - s + ends[i] - starts[i] - both) && both > 0) {
          found++;
          break;
        }
      }
    return found;
  }

  // Best tIoU of a proposal with any true segment.
  tiouOf(i) {
    return this.overlaps.reduce((best, row) => Math.max(best, row[i]), 0);
  }
}

// First free row for each span, in the order given.
function lanesOf(spans) {
  const rows = [];
  const lanes = spans.map(([start, end]) => {
    let lane = rows.findIndex((taken) =>
      taken.every(([s, e]) => end <= s || start >= e));
    if (lane < 0) lane = rows.push([]) - 1;
    rows[lane].push([start, end]);
    return lane;
  });
  return { lanes, count: rows.length };
}
