'use strict';
// Precision, recall and confusion at a least score: matched once where the page
// was made, counted here.

class Threshold {
  constructor(page, show) {
    this.page = page;
    this.found = page.operating;
    this.curve = this.found.curves.find((curve) => curve.tiou === 0.5);
    this.slider = byId('least');
    this.confusion = this.found.confusion
      ? confusionSteps(this.found.confusion) : null;
    byId('threshold').hidden = false;
    byId('label-confusion-part').hidden = !this.confusion;
    this.choice();
    this.slider.addEventListener('input', () => this.tell());
    this.best();
    this.redraw = show('pr', (width) => this.chart(width));
    byId('best-f1').addEventListener('click', () => {
      this.best();
      this.tell();
    });
    this.tell();
  }

  // At which overlap a proposal is right.
  choice() {
    byId('pr-tious').replaceChildren(...this.found.curves.map((curve) => {
      const input = el('input', { type: 'radio', name: 'pr-tiou',
        onchange: () => {
          this.curve = curve;
          this.tell();
        } });
      input.checked = curve === this.curve;
      return el('label', {}, input, ` ${curve.tiou}`);
    }));
  }

  precision(step) {
    return this.curve.right[step] / this.curve.kept[step];
  }

  recall(step) {
    return this.curve.right[step] / this.found.num_truth;
  }

  f1(step) {
    const { right, kept } = this.curve;
    return (2 * right[step]) / (kept[step] + this.found.num_truth);
  }

  // The least score with the best F1, from which one starts.
  best() {
    let best = 0;
    this.curve.kept.forEach((_, step) => {
      if (this.f1(step) > this.f1(best)) best = step;
    });
    this.slider.max = this.curve.kept.length - 1;
    // From left to right the score rises, as with the other sliders.
    this.slider.value = this.slider.max - best;
  }

  get step() {
    return Number(this.slider.max) - Number(this.slider.value);
  }

  points() {
    return this.curve.kept.map((_, step) =>
      [this.recall(step), this.precision(step)]);
  }

  chart(width) {
    const most = Math.max(...this.curve.kept.map((_, step) => this.recall(step)));
    return lineChart({
      x: [0, Math.min(1, Math.ceil(most * 10 + 0.01) / 10)], y: [0, 1],
      xName: 'recall, %', yName: 'precision, %', xText: (v) => percent(v, 0),
      hoverName: 'recall %', description: 'Precision against recall',
      names: false,
      lines: [{ name: 'precision', kind: 'main', points: this.points() }],
      dot: [this.recall(this.step), this.precision(this.step)],
    })(width);
  }

  tell() {
    const { step, curve, found } = this;
    const a_video = curve.kept[step] / found.num_videos;
    const number = (value, name) => el('div', {}, el('b', {}, value),
      el('span', {}, name));
    const cells = [
      number(`${percent(this.precision(step))} %`, 'precision'),
      number(`${percent(this.recall(step))} %`, 'recall'),
      number(`${percent(this.f1(step))} %`, 'F1'),
    ];
    if (this.confusion && curve.right[step])
      cells.push(number(`${percent(curve.named[step] / curve.right[step])} %`,
        'right label, if right'));
    if (curve.tiou !== 0.5) cells.splice(3);
    byId('at-least').replaceChildren(...cells);
    byId('least-value').textContent = curve.min_scores[step].toFixed(3);
    byId('least-kept').textContent = `${plural(curve.kept[step], 'proposal')}, ${
      Number(a_video.toPrecision(3))} a video; ${
      curve.right[step].toLocaleString('en')} of ${
      plural(found.num_truth, 'true segment')} found`;
    if (this.redraw) this.redraw();
    if (this.confusion) this.confuse();
  }

  // Confusion is told at tIoU 0.5, whose steps other overlaps share.
  confuse() {
    const { counts, names } = labelConfusion(this.page, this.confusion, this.step);
    byId('label-confusion').replaceChildren(labelConfusionTable({ counts, names }));
  }
}
