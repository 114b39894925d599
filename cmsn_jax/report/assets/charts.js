'use strict';
// The summary's charts, as SVG at the page's real width so that text keeps its
// size on a phone.

const TEXT = 11.5;

// Moves labels apart so that none overlap, keeping their order.
function spread(labels, gap, low, high) {
  labels.sort((a, b) => a.y - b.y);
  labels.forEach((label, i) => {
    label.at = Math.max(label.y, i ? labels[i - 1].at + gap : low);
  });
  for (let i = labels.length - 1; i >= 0; i--) {
    const limit = i === labels.length - 1 ? high : labels[i + 1].at - gap;
    labels[i].at = Math.min(labels[i].at, limit);
  }
  return labels;
}

function frame(width, height, margin, xDomain, yDomain, description) {
  const root = svg('svg', {
    width, height, viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': description,
  });
  const inner = width - margin.left - margin.right;
  const tall = height - margin.top - margin.bottom;
  return {
    root,
    left: margin.left, right: margin.left + inner,
    top: margin.top, bottom: margin.top + tall,
    x: (value) => margin.left +
      (inner * (value - xDomain[0])) / (xDomain[1] - xDomain[0]),
    y: (value) => margin.top + tall -
      (tall * (value - yDomain[0])) / (yDomain[1] - yDomain[0]),
    fromX: (pixel) => xDomain[0] +
      ((pixel - margin.left) / inner) * (xDomain[1] - xDomain[0]),
  };
}

function axes(plot, xTicks, yTicks, xText, yText, xName, yName) {
  for (const value of yTicks) {
    const y = plot.y(value);
    plot.root.append(
      svg('line', { class: 'grid', x1: plot.left, x2: plot.right, y1: y, y2: y }),
      svg('text', { class: 'tick', x: plot.left - 7, y: y + 4,
        'text-anchor': 'end' }, yText(value)));
  }
  for (const value of xTicks)
    plot.root.append(svg('text', { class: 'tick', x: plot.x(value),
      y: plot.bottom + 17, 'text-anchor': 'middle' }, xText(value)));
  plot.root.append(
    svg('line', { class: 'base', x1: plot.left, x2: plot.right,
      y1: plot.bottom, y2: plot.bottom }),
    svg('text', { class: 'axis-name', x: plot.right, y: plot.bottom + 34,
      'text-anchor': 'end' }, xName),
    svg('text', { class: 'axis-name', x: 0, y: 12 }, yName));
}

const pathOf = (plot, points) => points.map(([x, y], i) =>
  `${i ? 'L' : 'M'}${plot.x(x).toFixed(1)} ${plot.y(y).toFixed(1)}`).join('');

// The value of a piecewise linear curve, null outside it.
function valueAt(points, x) {
  if (!points.length || x < points[0][0]) return null;
  for (let i = 1; i < points.length; i++) {
    const [x0, y0] = points[i - 1];
    const [x1, y1] = points[i];
    if (x <= x1) return x1 > x0 ? y0 + ((y1 - y0) * (x - x0)) / (x1 - x0) : y1;
  }
  return x <= points[points.length - 1][0] + 1e-9
    ? points[points.length - 1][1] : null;
}

// Lines with their names at their ends; `references` are published points.
function lineChart(options) {
  return (width) => {
    const wide = width > 430 && options.names !== false;
    const margin = { left: 40, right: wide ? 140 : 14, top: 26, bottom: 40 };
    const height = clamp(width * 0.62, 250, 340);
    const plot = frame(width, height, margin, options.x, options.y,
      options.description);
    axes(plot, ticks(...options.x, wide ? 6 : 4), ticks(...options.y, 5),
      options.xText, (v) => percent(v, 0), options.xName, options.yName);
    const labels = [];
    for (const reference of options.references || [])
      drawReference(plot, reference, options, labels);
    // The main line last, so that it lies on top of the others.
    const lines = options.lines.filter((line) => line.points.length)
      .sort((a, b) => (a.kind === 'main') - (b.kind === 'main'));
    for (const line of lines) {
      plot.root.append(svg('path', { class: `line ${line.kind}`,
        style: line.colour ? { stroke: line.colour } : null,
        d: pathOf(plot, line.points) }));
      if (line.dots)
        for (const [x, y] of line.points)
          plot.root.append(svg('circle', { class: `dot ${line.kind}`,
            cx: plot.x(x), cy: plot.y(y), r: 2.6 }));
      const last = line.points[line.points.length - 1];
      labels.push({ y: plot.y(last[1]), text: line.name, line: line.kind,
        colour: line.colour });
    }
    if (options.dot)
      plot.root.append(svg('circle', { class: 'here', cx: plot.x(options.dot[0]),
        cy: plot.y(options.dot[1]), r: 5.5 }));
    crosshair(plot, options);
    if (wide) endLabels(plot, labels);
    const legend = !wide && options.names !== false;
    return el('div', {}, plot.root, legend ? narrowLegend(options) : null);
  };
}

function drawReference(plot, reference, options, labels) {
  const points = reference.points.filter(([x]) => x <= options.x[1]);
  if (!points.length) return;
  plot.root.append(svg('path', { class: `reference ${reference.kind}`,
    d: pathOf(plot, points) }));
  for (const [x, y] of points) {
    const mark = svg('circle', { class: `mark ${reference.kind}`,
      cx: plot.x(x), cy: plot.y(y), r: 3.2 });
    mark.addEventListener('pointermove', (event) => tooltip.show(
      event.clientX, event.clientY, [el('b', {}, reference.name),
        `AR@${options.xText(x)}  ${percent(y, 2)} %`,
        'THUMOS14, as published']));
    mark.addEventListener('pointerleave', () => tooltip.hide());
    plot.root.append(mark);
  }
  const [x, y] = points[points.length - 1];
  if (reference.named)
    labels.push({ y: plot.y(y), text: reference.name, ring: reference.kind,
      x: plot.x(x) });
}

// Names at the right edge, each with a piece of its line or a ring.
function endLabels(plot, labels) {
  for (const label of spread(labels, 14, plot.top + 4, plot.bottom)) {
    const x = plot.right + 10;
    const near = label.ring && plot.right - label.x < 60;
    if (near)
      plot.root.append(svg('path', { class: 'leader',
        d: `M${label.x + 4} ${label.y}L${x + 3} ${label.at}` }));
    plot.root.append(label.line
      ? svg('path', { class: `line ${label.line}`,
        style: label.colour ? { stroke: label.colour } : null,
        d: `M${x} ${label.at}H${x + 16}` })
      : svg('circle', { class: `mark ${label.ring}`, cx: x + 8, cy: label.at,
        r: 3.2 }),
    svg('text', { class: label.line ? `line-name ${label.line}`
      : `reference-name ${label.ring}`, x: x + 22, y: label.at + 4 },
    shortened(label.text, 116, TEXT)));
  }
}

function narrowLegend(options) {
  const item = (entry, mark) => el('li', { class: entry.kind },
    el('i', { class: `${mark} ${entry.kind}`,
      style: entry.colour ? { 'border-color': entry.colour } : {} }), entry.name);
  return el('ul', { class: 'legend' },
    ...options.lines.filter((l) => l.points.length).map((l) => item(l, 'key')),
    ...(options.references || []).filter((r) => r.named)
      .map((r) => item(r, 'ring')));
}

function crosshair(plot, options) {
  const rule = svg('line', { class: 'crosshair', y1: plot.top, y2: plot.bottom,
    visibility: 'hidden' });
  const cover = svg('rect', { class: 'cover', x: plot.left, y: plot.top,
    width: plot.right - plot.left, height: plot.bottom - plot.top });
  // Below the reference marks, which have hover texts of their own.
  const firstMark = plot.root.querySelector('.mark');
  plot.root.append(rule);
  if (firstMark) firstMark.before(cover);
  else plot.root.append(cover);
  cover.addEventListener('pointermove', (event) => {
    const box = plot.root.getBoundingClientRect();
    let x = clamp(plot.fromX(event.clientX - box.left), ...options.x);
    x = options.snap ? options.snap(x) : x;
    rule.setAttribute('x1', plot.x(x));
    rule.setAttribute('x2', plot.x(x));
    rule.setAttribute('visibility', 'visible');
    const lines = options.lines.map((line) => [line, valueAt(line.points, x)])
      .filter(([, y]) => y !== null)
      .map(([line, y]) => el('div', { class: line.kind },
        `${line.name}  ${percent(y)} %`));
    tooltip.show(event.clientX, event.clientY,
      [el('b', {}, `${options.hoverName} ${options.xText(x)}`), ...lines]);
  });
  cover.addEventListener('pointerleave', () => {
    rule.setAttribute('visibility', 'hidden');
    tooltip.hide();
  });
}

// Two stacked counts a bin: proposals that match the truth, and the others.
function histogram(data, hasTruth) {
  return (width) => {
    const margin = { left: 48, right: 12, top: 26, bottom: 40 };
    const height = clamp(width * 0.55, 220, 290);
    const edges = data.edges;
    const sums = data.other.map((n, i) => n + data.hit[i]);
    const top = Math.max(1, ...sums);
    const domain = [edges[0], edges[edges.length - 1]];
    const plot = frame(width, height, margin, domain, [0, top * 1.05],
      'Histogram of proposal scores');
    axes(plot, ticks(...domain, 5), ticks(0, top, 4), (v) => Number(v.toFixed(3)),
      (v) => v >= 1000 ? `${Number((v / 1000).toFixed(1))}k` : v,
      'score', 'proposals');
    sums.forEach((sum, i) => {
      const x = plot.x(edges[i]) + 0.5;
      const wide = Math.max(1, plot.x(edges[i + 1]) - plot.x(edges[i]) - 1);
      const group = svg('g', {});
      const bar = (from, to, kind) => to > from && group.append(
        svg('rect', { class: `bar ${kind}`, x, width: wide,
          y: plot.y(to), height: plot.y(from) - plot.y(to) }));
      bar(0, data.hit[i], 'hit');
      bar(data.hit[i], sum, hasTruth ? 'other' : 'hit');
      group.append(svg('rect', { class: 'cover', x, width: wide, y: plot.top,
        height: plot.bottom - plot.top }));
      group.addEventListener('pointermove', (event) => tooltip.show(
        event.clientX, event.clientY, [
          el('b', {}, `score ${edges[i].toFixed(3)} – ${edges[i + 1].toFixed(3)}`),
          plural(sum, 'proposal'),
          ...(hasTruth && sum
            ? [`${percent(data.hit[i] / sum, 0)} % match the truth`] : [])]));
      group.addEventListener('pointerleave', () => tooltip.hide());
      plot.root.append(group);
    });
    if (!hasTruth) return plot.root;
    return el('div', {}, plot.root, el('ul', { class: 'legend' },
      el('li', {}, el('i', { class: 'box hit' }), 'match a true segment (tIoU ≥ 0.5)'),
      el('li', {}, el('i', { class: 'box other' }), 'do not')));
  };
}

// Mean real tIoU against mean score of each bin, quartiles as a whisker.
function calibration(rows) {
  return (width) => {
    const margin = { left: 40, right: 14, top: 26, bottom: 40 };
    const height = clamp(width * 0.62, 240, 320);
    const last = Math.max(1, ...rows.map((row) => row.score));
    const domain = [Math.min(0, ...rows.map((row) => row.score)), last];
    const plot = frame(width, height, margin, domain, [0, 1],
      'Real tIoU against predicted score');
    axes(plot, ticks(...domain, 5), ticks(0, 1, 5), (v) => Number(v.toFixed(3)),
      (v) => v.toFixed(1), 'predicted score', 'real tIoU with the nearest truth');
    plot.root.append(
      svg('line', { class: 'diagonal', x1: plot.x(0), y1: plot.y(0),
        x2: plot.x(1), y2: plot.y(1) }));
    const most = Math.max(...rows.map((row) => row.count));
    plot.root.append(svg('path', { class: 'line main',
      d: pathOf(plot, rows.map((row) => [row.score, row.tiou])) }));
    plot.root.append(svg('path', { class: 'line side anet',
      d: pathOf(plot, rows.map((row) => [row.score, row.gain])) }));
    for (const row of rows) {
      const x = plot.x(row.score);
      const group = svg('g', {},
        svg('line', { class: 'whisker', x1: x, x2: x, y1: plot.y(row.low),
          y2: plot.y(row.high) }),
        svg('circle', { class: 'dot main', cx: x, cy: plot.y(row.tiou),
          r: 3 + 5 * Math.sqrt(row.count / most) }));
      group.addEventListener('pointermove', (event) => tooltip.show(
        event.clientX, event.clientY, [
          el('b', {}, `mean score ${row.score.toFixed(3)}`),
          `mean tIoU ${row.tiou.toFixed(3)}`,
          `middle half ${row.low.toFixed(2)} – ${row.high.toFixed(2)}`,
          `adds ${row.gain.toFixed(3)}`,
          plural(row.count, 'proposal')]));
      group.addEventListener('pointerleave', () => tooltip.hide());
      plot.root.append(group);
    }
    // Above the whiskers, which would cross it out.
    plot.root.append(svg('text', { class: 'note', 'text-anchor': 'end',
      'pointer-events': 'none', transform:
        `translate(${plot.x(0.97)} ${plot.y(0.97) + 15}) rotate(${
          (-180 / Math.PI) * Math.atan2(plot.y(0) - plot.y(1),
            plot.x(1) - plot.x(0))})` }, 'score = tIoU'));
    return plot.root;
  };
}

// Recall of groups: a bar to recall at .5, a tick at the average recall.
function groupBars(rows, name) {
  return (width) => {
    const line = 24;
    const longest = Math.max(...rows.map((row) => textWidth(row.name, TEXT)));
    const left = Math.min(longest + 10, width * 0.42);
    const margin = { left, right: 78, top: 8, bottom: 24 };
    const height = rows.length * line + margin.top + margin.bottom;
    const plot = frame(width, height, margin, [0, 1], [0, 1],
      rows.some((row) => row.lines) ? `${name} by label` : `Recall by ${name}`);
    for (const value of [0, 0.25, 0.5, 0.75, 1])
      plot.root.append(
        svg('line', { class: value ? 'grid' : 'base', x1: plot.x(value),
          x2: plot.x(value), y1: plot.top, y2: plot.bottom }),
        value % 0.5 ? svg('g', {}) : svg('text', { class: 'tick',
          x: plot.x(value), y: plot.bottom + 16, 'text-anchor': 'middle' },
        `${100 * value} %`));
    rows.forEach((row, i) => {
      const y = plot.top + i * line + line / 2;
      const group = svg('g', {},
        svg('text', { class: 'row-name', x: left - 8, y: y + 4,
          'text-anchor': 'end' }, shortened(row.name, left - 8, TEXT)),
        svg('rect', { class: 'bar hit', x: plot.left, y: y - 6, height: 12,
          width: Math.max(0.5, plot.x(row.recall) - plot.left) }),
        svg('line', { class: 'average', x1: plot.x(row.average_recall),
          x2: plot.x(row.average_recall), y1: y - 9, y2: y + 9 }),
        svg('text', { class: 'row-value', x: plot.right + 10, y: y + 4 },
          `${percent(row.recall, 0)} %`),
        svg('text', { class: 'row-count', x: width, y: y + 4,
          'text-anchor': 'end' }, `${row.count}`),
        svg('rect', { class: 'cover', x: 0, width, y: y - line / 2, height: line }));
      group.addEventListener('pointermove', (event) => tooltip.show(
        event.clientX, event.clientY, [el('b', {}, row.name),
          ...(row.lines || [plural(row.count, 'true segment'),
            `found at tIoU ≥ 0.5: ${percent(row.recall)} %`,
            `mean over 0.5 … 0.95: ${percent(row.average_recall)} %`])]));
      group.addEventListener('pointerleave', () => tooltip.hide());
      plot.root.append(group);
    });
    return plot.root;
  };
}

// Rows are true stages, columns predicted ones, shares of the row.
function confusionTable(counts, names) {
  const sums = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const total = sums.reduce((a, b) => a + b, 0);
  const head = el('tr', {}, el('th', { scope: 'col' }, 'true ↓  predicted →'),
    ...names.map((name, i) => el('th', { scope: 'col', title: name },
      el('i', { class: 'box', style: { background: `var(--stage-${i})` } }),
      el('span', {}, name), el('abbr', { title: name },
        name.length > 6 ? `${name.slice(0, 4)}.` : name))),
    el('th', { scope: 'col', class: 'number total' }, 'share of time'));
  const body = counts.map((row, i) => el('tr', {},
    el('th', { scope: 'row' },
      el('i', { class: 'box', style: { background: `var(--stage-${i})` } }), names[i]),
    ...row.map((count, j) => {
      const share = sums[i] ? count / sums[i] : 0;
      return el('td', { class: `cell${i === j ? ' right' : ''}${
        share > 0.7 ? ' strong' : ''}`, style: { '--share': share.toFixed(3) },
      title: `${plural(count, 'snippet')} of ${names[i]} predicted as ${names[j]}` },
      sums[i] ? percent(share, 0) : '–');
    }),
    el('td', { class: 'number muted total' },
      `${percent(total ? sums[i] / total : 0)} %`)));
  return el('table', { class: 'confusion' }, el('thead', {}, head),
    el('tbody', {}, ...body));
}
