'use strict';
// Shared by every part of the page: elements, numbers, packed arrays, colours.
// Ids and labels come from users, so text only ever goes in as text nodes.

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style')
      for (const [key, setting] of Object.entries(value))
        node.style.setProperty(key, setting);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const el = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
const byId = (id) => document.getElementById(id);

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const percent = (share, digits = 1) =>
  share === null || share === undefined ? '–' : (100 * share).toFixed(digits);
const plural = (count, one, many) =>
  `${count.toLocaleString('en')} ${count === 1 ? one : many || one + 's'}`;

// 75.25 -> "1:15.3" (digits 1), "1:15" (digits 0).
function clock(seconds, digits = 1) {
  const scale = 10 ** digits;
  const ticks = Math.round(Math.max(0, seconds) * scale);
  const whole = Math.floor(ticks / scale);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = String(whole % 60).padStart(2, '0');
  const text = hours
    ? `${hours}:${String(minutes).padStart(2, '0')}:${rest}`
    : `${minutes}:${rest}`;
  return digits ? `${text}.${String(ticks % scale).padStart(digits, '0')}` : text;
}

function lengthText(seconds) {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 3600) return `${clock(seconds, 0)} min`;
  return `${clock(seconds, 0)} h`;
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// A palette colour as the current theme has it.
let palette = {};
function readPalette(labels) {
  const style = getComputedStyle(document.documentElement);
  palette = {};
  for (const name of ['bg', 'panel', 'ink', 'muted', 'faint', 'rule', 'accent',
    'other', 'truth', 'on-truth', 'on-accent', 'on-label'])
    palette[name] = style.getPropertyValue(`--${name}`).trim();
  palette.stages = [0, 1, 2, 3, 4, 5].map((stage) =>
    style.getPropertyValue(`--stage-${stage}`).trim());
  palette.labels = Array.from({ length: labels }, (_, k) =>
    style.getPropertyValue(`--label-${k}`).trim());
}

// Round tick steps; `steps` is what one decade may be cut into.
function ticks(low, high, count, steps = [1, 2, 5, 10]) {
  const rough = (high - low) / Math.max(1, count);
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = decade * steps.find((s) => s * decade >= rough - 1e-12);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++)
    found.push(i * step);
  return found;
}

const TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900,
  1800, 3600, 7200, 14400];
function timeTicks(low, high, count) {
  const step = TIME_STEPS.find((s) => (high - low) / s <= count) || 86400;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9; i++)
    found.push(i * step);
  return { found, digits: step < 1 ? 1 : 0 };
}

const tooltip = {
  node: null,
  show(x, y, lines) {
    if (!this.node) {
      this.node = el('div', { class: 'tooltip', role: 'presentation' });
      document.body.append(this.node);
    }
    this.node.replaceChildren(...lines.map((line) =>
      line instanceof Node ? line : el('div', {}, line)));
    this.node.style.display = 'block';
    const box = this.node.getBoundingClientRect();
    const left = x + 14 + box.width > innerWidth ? x - 14 - box.width : x + 14;
    const top = y + 16 + box.height > innerHeight ? y - 12 - box.height : y + 16;
    this.node.style.left = `${Math.max(4, left)}px`;
    this.node.style.top = `${Math.max(4, top)}px`;
  },
  hide() {
    if (this.node) this.node.style.display = 'none';
  },
};

// Width of a text in the charts' font.
const ruler = document.createElement('canvas').getContext('2d');
// Asked once: each question makes the browser settle all styles first.
const fontFamily = getComputedStyle(document.body).fontFamily;
function textWidth(text, size) {
  ruler.font = `${size}px ${fontFamily}`;
  return ruler.measureText(text).width;
}

function shortened(text, room, size) {
  if (textWidth(text, size) <= room) return text;
  let keep = text.length;
  while (keep > 1 && textWidth(`${text.slice(0, keep)}…`, size) > room) keep--;
  return `${text.slice(0, keep)}…`;
}

// Draws now and whenever the element's width changes; returns the redraw.
const redraws = [];
function responsive(holder, draw) {
  let width = 0;
  const run = () => {
    const now = Math.floor(holder.clientWidth);
    if (now < 40) return;
    width = now;
    holder.replaceChildren(draw(now));
  };
  run();
  redraws.push(run);
  // In a frame of its own: what is drawn may change the width again.
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (Math.floor(holder.clientWidth) !== width) run();
  })).observe(holder);
  return run;
}
