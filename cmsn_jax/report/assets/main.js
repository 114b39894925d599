'use strict';
// Starts the page: reads its data, draws the charts, wires the theme button.

function showCharts(page) {
  const show = (id, draw) => {
    byId(`${id}-part`).hidden = false;
    return responsive(byId(id), draw);
  };
  if (page.curves) showCurves(page, show);
  if (page.histogram) show('histogram', histogram(page.histogram, page.has_truth));
  if (page.calibration && page.calibration.length)
    show('calibration', calibration(page.calibration));
  if (page.by_label && page.by_label.length > 1)
    longBars('labels', page.by_label, 'label', show);
  if (page.by_duration && page.by_duration.length)
    show('durations', groupBars(page.by_duration, 'duration'));
  if (page.operating) new Threshold(page, show);
  showDetection(page, show);
  if (page.compare && page.compare.curves) compareCurves(page, show);
  if (page.confusion) {
    byId('stages-part').hidden = false;
    byId('confusion').append(confusionTable(page.confusion, page.stages));
  }
}

function longBars(id, rows, name, show) {
  const limit = 24;
  const more = byId(`${id}-more`);
  let shown = rows;
  if (rows.length > limit) {
    // The best and the worst, until all are asked for.
    shown = [...rows.slice(0, limit / 2), ...rows.slice(-limit / 2)];
    more.hidden = false;
    more.textContent = `Show all ${rows.length} (now: best and worst 12)`;
  }
  const redraw = show(id, (width) => groupBars(shown, name)(width));
  more.addEventListener('click', () => {
    shown = rows;
    more.hidden = true;
    redraw();
  });
}

// Longer curves are flat, and would hide where they rise.
const LONGEST_AN = 500;

function upTo(points, limit) {
  const end = valueAt(points, limit);
  const kept = points.filter(([x]) => x <= limit);
  return end === null ? kept : [...kept, [limit, end]];
}

function showCurves(page, show) {
  const table = byId('reference');
  const kindOf = (curve) => curve.protocol === page.protocol
    ? 'main' : `side ${curve.protocol}`;
  const whole = Math.max(1, ...page.curves.map((curve) =>
    curve.an.length ? curve.an[curve.an.length - 1][0] : 0));
  const highest = Math.min(whole, LONGEST_AN);
  const cut = whole > highest ? `, of up to ${Math.round(whole)}` : '';
  const redraw = show('an', (width) => {
    const rows = (page.references || {})[table ? table.value : 'none'] || [];
    return lineChart({
      x: [0, rows.length ? Math.max(200, highest) : highest], y: [0, 1],
      xName: `proposals a video on average (AN)${cut}`, yName: 'average recall, %',
      xText: (v) => String(Math.round(v)), hoverName: 'AN', snap: Math.round,
      description: 'Average recall against the average number of proposals',
      lines: page.curves.map((curve) => ({
        name: curve.protocol, points: upTo(curve.an, highest),
        kind: kindOf(curve) })),
      references: rows,
    })(width);
  });
  if (table) table.addEventListener('change', redraw);
  const low = Math.min(...page.curves.flatMap((curve) =>
    curve.tiou.map(([x]) => x)), 0.5);
  show('tiou-curve', lineChart({
    x: [low, 1], y: [0, 1], xName: 'required overlap (tIoU)',
    yName: `recall, %`, xText: (v) => v.toFixed(2), hoverName: 'tIoU',
    snap: (v) => Math.round(v * 20) / 20,
    description: 'Recall against the required overlap',
    lines: page.curves.map((curve) => ({
      name: curve.protocol, points: curve.tiou, dots: true,
      kind: kindOf(curve) })),
  }));
}

// Both runs in the protocol of the headline.
function compareCurves(page, show) {
  const of = (curves) => curves.find((curve) => curve.protocol === page.protocol);
  const [own, other] = [of(page.curves), of(page.compare.curves)];
  const ends = [own, other].map((curve) =>
    curve.an.length ? curve.an[curve.an.length - 1][0] : 0);
  const highest = Math.min(Math.max(1, ...ends), LONGEST_AN);
  const [a, b] = page.names;
  const lines = (points) => [
    { name: b, kind: 'rival', points: points(other) },
    { name: a, kind: 'main', points: points(own) }];
  show('compare-an', lineChart({
    x: [0, highest], y: [0, 1], xName: 'proposals a video on average (AN)',
    yName: 'average recall, %', xText: (v) => String(Math.round(v)),
    hoverName: 'AN', snap: Math.round,
    description: 'Average recall of both runs against the number of proposals',
    lines: lines((curve) => upTo(curve.an, highest)),
  }));
  show('compare-tiou', lineChart({
    x: [0.5, 1], y: [0, 1], xName: 'required overlap (tIoU)', yName: 'recall, %',
    xText: (v) => v.toFixed(2), hoverName: 'tIoU',
    snap: (v) => Math.round(v * 20) / 20,
    description: 'Recall of both runs against the required overlap',
    lines: lines((curve) => curve.tiou).map((line) => ({ ...line, dots: true })),
  }));
}

function showMisses(page, list) {
  if (!page.misses) return;
  byId('misses-part').hidden = false;
  const body = byId('misses');
  byId('no-misses').hidden = page.misses.length > 0;
  byId('misses-table').hidden = !page.misses.length;
  body.replaceChildren(...page.misses.map((miss) => {
    const part = list.parts[miss.video];
    const [start, end, label] = part.video.truth[miss.truth];
    return el('tr', {},
      el('td', {}, el('button', { type: 'button', class: 'link',
        onclick: () => list.go(part, start) },
      `${clock(start)} – ${clock(end)}`)),
      el('td', {}, page.labels[label]),
      el('td', { class: 'id' }, part.video.id),
      el('td', { class: 'number' }, lengthText(end - start)),
      el('td', { class: 'number' }, miss.tiou.toFixed(2)));
  }));
}

function themes(repaint) {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const button = byId('theme');
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === 'dark' ? 'Light' : 'Dark';
    repaint();
  };
  button.addEventListener('click', () => apply(
    document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
  dark.addEventListener('change', () => apply(dark.matches ? 'dark' : 'light'));
  let before = null;
  addEventListener('beforeprint', () => {
    before = document.documentElement.dataset.theme;
    // Paper is white and narrow: draw everything anew for it.
    document.documentElement.classList.add('printing');
    apply('light');
    for (const redraw of redraws) redraw();
  });
  addEventListener('afterprint', () => {
    document.documentElement.classList.remove('printing');
    if (before) apply(before);
    for (const redraw of redraws) redraw();
  });
  apply(dark.matches ? 'dark' : 'light');
}

function start() {
  const page = JSON.parse(byId('page-data').textContent);
  let list = null;
  themes(() => {
    setLabelColours(page);
    readPalette(page.labels.length);
    if (list) list.redraw();
  });
  showCharts(page);
  list = new VideoList(page);
  showMisses(page, list);
  for (const link of document.querySelectorAll('nav a'))
    link.hidden = byId(link.hash.slice(1)).hidden;
  document.documentElement.dataset.ready = performance.now().toFixed(0);
}

start();
