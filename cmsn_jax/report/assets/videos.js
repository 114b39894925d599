'use strict';
// The list of videos: an index with search and sort, and sliders for all.

const INDEX_ROWS = 200;
const PRINTED_PARTS = 30;

class VideoList {
  constructor(page) {
    this.page = page;
    this.settings = { top: 0, score: page.score_range[0], tiou: 0.5,
      labels: null, labelKey: '', byLabel: page.labelled };
    this.videos = page.videos.map((entry, i) => new Video(entry, i, page));
    this.parts = this.videos.map((video) => new Part(video, this.settings));
    this.chosen = this.parts;
    this.allRows = false;
    this.search = byId('search');
    this.order = byId('order');
    this.index = byId('index-rows');
    this.watcher = new IntersectionObserver((entries) => {
      for (const entry of entries)
        if (entry.isIntersecting) {
          entry.target.videoPart.build();
          entry.target.style.removeProperty('min-height');
        } else entry.target.videoPart.drop();
    }, { rootMargin: '500px 0px' });
    this.controls();
    this.choose();
    addEventListener('beforeprint', () => this.beforePrint());
  }

  controls() {
    const most = Math.max(1, ...this.videos.map((video) => video.kept));
    this.keys = new LabelKeys(this.page, this.settings, () => {
      for (const part of this.chosen) part.refresh();
      this.recount();
      this.fillIndex();
    });
    const top = byId('top');
    top.max = Math.min(most, this.page.max_proposals);
    // Enough that every true segment could be found, and not a thicket.
    const truths = this.page.num_truth / this.videos.length;
    top.value = this.settings.top =
      Math.min(most, Math.round(clamp(2 * truths, 20, 100)));
    const [low, high] = this.page.score_range;
    const score = byId('score');
    score.min = low;
    score.max = high;
    score.step = (high - low) / 200 || 0.005;
    score.value = low;
    const tiou = byId('tiou');
    const read = () => {
      this.settings.top = Number(top.value);
      this.settings.score = Number(score.value) <= low ? low : Number(score.value);
      this.settings.tiou = Number(tiou.value);
      byId('top-value').textContent = top.value;
      byId('score-value').textContent = Number(score.value).toFixed(2);
      byId('tiou-value').textContent = Number(tiou.value).toFixed(2);
      for (const part of this.chosen) part.refresh();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        this.recount();
        this.fillIndex();
      }, 120);
    };
    for (const slider of [top, score, tiou]) slider.addEventListener('input', read);
    this.search.addEventListener('input', () => this.choose());
    this.order.addEventListener('change', () => this.choose());
    byId('index-more').addEventListener('click', () => {
      this.allRows = true;
      this.fillIndex();
    });
    if (!this.page.has_truth) {
      byId('tiou-control').remove();
      for (const name of ['missed', 'truths', 'gained', 'lost'])
        this.order.querySelector(`[value=${name}]`).remove();
      for (const cell of document.querySelectorAll('#index .truth-only'))
        cell.remove();
    }
    this.compareColumns();
    if (!this.page.stages.length || !this.videos.some((video) => video.stages))
      byId('stage-key').remove();
    byId('top-value').textContent = top.value;
    byId('score-value').textContent = Number(score.value).toFixed(2);
    document.addEventListener('keydown', (event) => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (event.key === '/' && !typing) {
        event.preventDefault();
        this.search.focus();
      }
    });
  }

  compareColumns() {
    if (!this.page.compare || !this.page.has_truth) {
      for (const name of ['gained', 'lost']) {
        const option = this.order.querySelector(`[value=${name}]`);
        if (option) option.remove();
      }
      return;
    }
    const [a, b] = this.page.names;
    this.order.querySelector('[value=gained]').textContent = `${a} finds more first`;
    this.order.querySelector('[value=lost]').textContent = `${b} finds more first`;
    const head = document.querySelector('#index thead tr');
    head.lastElementChild.textContent = `found, ${a}`;
    head.append(el('th', { class: 'share' }, `found, ${b}`),
      el('th', { class: 'number' }, 'difference'));
  }

  choose() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.chosen = this.parts.filter(({ video }) =>
      words.every((word) => video.searchText.includes(word)));
    const share = ({ video }) => video.truth.length
      ? video.found(this.settings) / video.truth.length : 2;
    // How much more this run finds than the other.
    const gain = ({ video }) =>
      video.found(this.settings) - video.found(this.settings, true);
    const by = {
      name: (a, b) => a.video.id.localeCompare(b.video.id, 'en', { numeric: true }),
      missed: (a, b) => share(a) - share(b) ||
        b.video.truth.length - a.video.truth.length,
      longest: (a, b) => b.video.duration - a.video.duration,
      gained: (a, b) => gain(b) - gain(a),
      lost: (a, b) => gain(a) - gain(b),
      truths: (a, b) => b.video.truth.length - a.video.truth.length,
    }[this.order.value];
    if (by) this.chosen = [...this.chosen].sort(by);
    this.watcher.disconnect();
    for (const part of this.parts) part.drop();
    byId('parts').replaceChildren(...this.chosen.map((part) => part.node));
    for (const part of this.chosen) this.watcher.observe(part.node);
    this.fillIndex();
    // The sum over thousands of videos waits until the page is on the screen.
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.recount(), 30);
  }

  recount() {
    const count = byId('count');
    const videos = this.chosen.length === this.parts.length
      ? plural(this.parts.length, 'video')
      : `${this.chosen.length.toLocaleString('en')} of ${plural(this.parts.length, 'video')}`;
    count.replaceChildren(videos);
    if (this.page.has_truth) {
      let total = 0;
      for (const { video } of this.chosen)
        total += video.shownTruth(this.settings).length;
      const share = (other) => {
        let found = 0;
        for (const { video } of this.chosen)
          found += video.found(this.settings, other);
        return `${found.toLocaleString('en')}${other ? '' : ` of ${
          plural(total, 'true segment')}`} found (${percent(found / total, 0)} %)`;
      };
      const [a, b] = this.page.names;
      if (total) count.append('  ·  ', el('b', {}, this.page.compare
        ? `${a}: ${share(false)}, ${b}: ${share(true)}` : share(false)));
    }
  }

  fillIndex() {
    const shown = this.allRows ? this.chosen : this.chosen.slice(0, INDEX_ROWS);
    this.index.replaceChildren(...shown.map((part) => this.indexRow(part)));
    const more = byId('index-more');
    more.hidden = shown.length === this.chosen.length;
    more.textContent = `Show all ${this.chosen.length.toLocaleString('en')}`;
    byId('nothing').hidden = this.chosen.length > 0;
    byId('index').hidden = !this.chosen.length;
  }

  indexRow(part) {
    const { video } = part;
    const truth = this.page.has_truth;
    const number = (text) => el('td', { class: 'number' }, text);
    const truths = video.shownTruth(this.settings).length;
    const meter = (found) => truths
      ? el('span', { class: 'meter', style: {
        '--share': (found / truths).toFixed(3) } },
      el('b', {}, `${found} / ${truths}`)) : '–';
    const own = truth ? video.found(this.settings) : 0;
    const other = truth && video.other ? video.found(this.settings, true) : own;
    return el('tr', {},
      el('td', {}, el('button', { type: 'button', class: 'link',
        onclick: () => this.go(part) }, video.id)),
      number(clock(video.duration, 0)),
      truth ? number(String(truths)) : null,
      el('td', { class: 'number roomy' }, String(video.total)),
      truth ? el('td', { class: 'share' }, meter(own)) : null,
      truth && video.other ? el('td', { class: 'share' }, meter(other)) : null,
      truth && video.other ? number(other === own ? '0'
        : `${own > other ? '+' : '−'}${Math.abs(own - other)}`) : null);
  }

  // Brings a video to the screen; with a time, puts the playhead there.
  go(part, time) {
    if (!this.chosen.includes(part)) {
      this.search.value = '';
      this.choose();
    }
    part.build();
    part.node.scrollIntoView({ block: 'start' });
    // Parts above may have been built and grown on the way.
    requestAnimationFrame(() => part.node.scrollIntoView({ block: 'start' }));
    part.timeline.node.focus({ preventScroll: true });
    if (time !== undefined) part.timeline.seek(time);
  }

  redraw() {
    for (const part of this.chosen) if (part.timeline) part.timeline.draw();
  }

  beforePrint() {
    for (const part of this.chosen.slice(0, PRINTED_PARTS)) {
      part.build();
      part.timeline.draw();
    }
    byId('printed').textContent = this.chosen.length > PRINTED_PARTS
      ? `Printed: the first ${PRINTED_PARTS} of ${this.chosen.length} videos. ` +
        'Search or sort on the page to choose others.' : '';
  }
}
