'use strict';
// Labels: their colours and filter above the timelines, average precision, and
// which is taken for which.

const FEW_LABELS = 16;
const CONFUSED_LABELS = 18;
const NAMED_LINES = 6;

// Buttons that show only some labels, and the choice of what colours mean.
class LabelKeys {
  constructor(page, settings, changed) {
    this.page = page;
    this.settings = settings;
    this.changed = changed;
    this.node = byId('label-key');
    this.chosen = new Set();
    this.all = false;
    const select = byId('colour');
    if (!page.labels.length || (page.labels.length < 2 && !page.labelled)) {
      byId('label-line').remove();
      return;
    }
    select.value = settings.byLabel ? 'label' : 'match';
    const apply = () => {
      settings.byLabel = select.value === 'label';
      // The key below then says what strong and pale bars are.
      document.documentElement.dataset.colour = select.value;
    };
    apply();
    select.addEventListener('change', () => {
      apply();
      this.changed();
    });
    this.draw();
  }

  draw() {
    const { labels } = this.page;
    const shown = this.all ? labels.length : Math.min(labels.length, FEW_LABELS);
    const buttons = labels.slice(0, shown).map((name, k) => el('button', {
      type: 'button', class: 'chip', 'aria-pressed': String(this.chosen.has(k)),
      title: `Only ${name}`, onclick: () => this.toggle(k),
    }, el('i', { class: 'box', style: { background: `var(--label-${k})` } }),
    el('span', {}, name)));
    if (shown < labels.length)
      buttons.push(el('button', { type: 'button', class: 'chip', onclick: () => {
        this.all = true;
        this.draw();
      } }, `${labels.length - shown} more`));
    if (this.chosen.size)
      buttons.push(el('button', { type: 'button', class: 'chip', onclick: () => {
        this.chosen.clear();
        this.apply();
      } }, 'show all'));
    this.node.replaceChildren(...buttons);
  }

  toggle(k) {
    if (!this.chosen.delete(k)) this.chosen.add(k);
    this.apply();
  }

  apply() {
    this.settings.labels = this.chosen.size ? this.chosen : null;
    this.settings.labelKey = [...this.chosen].sort().join();
    this.draw();
    this.changed();
  }
}

// The colours of labels as the page has them; a dark page takes brighter ones.
function setLabelColours(page) {
  const style = document.documentElement.style;
  const dark = document.documentElement.dataset.theme === 'dark';
  page.colours.forEach((colour, k) => style.setProperty(`--label-${k}`,
    dark ? brighter(colour) : colour));
}

function brighter(colour) {
  const mixed = [1, 3, 5].map((k) =>
    Math.round(parseInt(colour.slice(k, k + 2), 16) * 0.68 + 255 * 0.32));
  return `rgb(${mixed.join()})`;
}

function showDetection(page, show) {
  const found = page.detection;
  if (!found) return;
  byId('detection').hidden = false;
  byId('map-value').textContent = percent(found.map);
  const rows = found.classes.map((row) => ({ name: page.labels[row.label],
    recall: row.at_half, average_recall: row.map, count: row.count,
    lines: [plural(row.count, 'true segment'), plural(row.proposals, 'proposal'),
      `AP at tIoU 0.5: ${percent(row.at_half)} %`,
      `mean over 0.3 … 0.7: ${percent(row.map)} %`] }))
    .sort((a, b) => b.recall - a.recall);
  longBars('ap', rows, 'average precision', show);
  // The most frequent ones have their own colours; all would be a thicket.
  const named = found.classes.slice().sort((a, b) => b.count - a.count)
    .slice(0, NAMED_LINES);
  const line = (ap) => found.tious.map((tiou, k) => [tiou, ap[k]]);
  show('ap-curve', lineChart({
    x: [0.1, 0.9], y: [0, 1], xName: 'required overlap (tIoU)',
    yName: 'average precision, %', xText: (v) => v.toFixed(2),
    hoverName: 'tIoU', snap: (v) => Math.round(v * 20) / 20,
    description: 'Average precision of each label against the required overlap',
    lines: [
      ...named.map((row) => ({ name: page.labels[row.label], kind: 'label',
        colour: `var(--label-${row.label})`, points: line(row.ap) })),
      { name: 'mean (mAP)', kind: 'main', points: line(found.mean) }],
  }));
}

// Rows of (step, true, predicted, count); 65535 is no label.
function confusionSteps(base64) {
  return new Uint16Array(bytesOf(base64).buffer);
}

// Counts of true label (row) by predicted label (column) up to a step; the last
// row are proposals that find nothing, the last column what is missed. Labels
// after the first few are one.
function labelConfusion(page, steps, step) {
  const { labels, operating } = page;
  const several = labels.length > CONFUSED_LABELS;
  const size = several ? CONFUSED_LABELS + 1 : labels.length;
  const place = (label) => Math.min(label, size - 1);
  const counts = Array.from({ length: size + 1 }, () =>
    new Array(size + 1).fill(0));
  operating.truth_by_label.forEach((count, k) => {
    counts[place(k)][size] += count;
  });
  for (let i = 0; i < steps.length && steps[i] <= step; i += 4) {
    const [, truth, predicted, count] = steps.subarray(i, i + 4);
    const row = truth === 65535 ? size : place(truth);
    counts[row][place(predicted)] += count;
    if (row < size) counts[row][size] -= count;
  }
  const names = labels.slice(0, several ? CONFUSED_LABELS : size);
  if (several) names.push(`${labels.length - CONFUSED_LABELS} others`);
  return { counts, names };
}

function labelConfusionTable({ counts, names }) {
  const size = names.length;
  const box = (k) => el('i', { class: 'box',
    style: { background: `var(--label-${k})` } });
  const head = el('tr', {}, el('th', { scope: 'col' }, 'true ↓  predicted →'),
    ...names.map((name, k) => el('th', { scope: 'col', class: 'slanted',
      title: name }, el('div', {}, box(k), el('span', {}, name)))),
    el('th', { scope: 'col', class: 'slanted' }, el('div', {},
      el('span', {}, 'missed'))));
  const body = counts.map((row, i) => {
    const sum = row.reduce((a, b) => a + b, 0);
    const name = i < size ? names[i] : 'nothing';
    return el('tr', { class: i < size ? '' : 'nothing' },
      el('th', { scope: 'row', title: name }, i < size ? box(i) : null,
        el('span', {}, name)),
      ...row.map((count, j) => {
        if (i === size && j === size) return el('td', {});
        const share = sum ? count / sum : 0;
        const what = j < size ? `proposed as ${names[j]}` : 'missed';
        return el('td', { class: `cell${i === j ? ' right' : ''}${
          share > 0.7 ? ' strong' : ''}`, style: { '--share': share.toFixed(3) },
        title: `${name}: ${count.toLocaleString('en')} ${what} (${
          percent(share, 0)} %)` }, count ? count.toLocaleString('en') : '·');
      }));
  });
  return el('table', { class: 'confusion labels' }, el('thead', {}, head),
    el('tbody', {}, ...body));
}
