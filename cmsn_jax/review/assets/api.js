'use strict';
// Talks to the server. Actions go one after the other, and count as done only
// when the server has them on disk.

const windowName = Array.from(crypto.getRandomValues(new Uint8Array(12)),
  (byte) => byte.toString(16).padStart(2, '0')).join('');

const api = {
  queue: Promise.resolve(),
  onLost: () => {},
  onBack: () => {},

  async ask(path, body) {
    let answer;
    try {
      answer = await fetch(path, body === undefined ? {} : {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
    } catch (error) {
      this.onLost();
      throw new Error('the server does not answer');
    }
    this.onBack();
    if (!answer.ok) {
      const text = await answer.text();
      let words = text;
      try {
        words = JSON.parse(text).error;
      } catch { /* not JSON: as it is */ }
      const problem = new Error(words || `status ${answer.status}`);
      problem.status = answer.status;
      throw problem;
    }
    return answer;
  },

  async get(path) {
    return (await this.ask(path)).json();
  },

  async bytes(path) {
    return new Uint8Array(await (await this.ask(path)).arrayBuffer());
  },

  post(path, body) {
    const run = this.queue.then(async () =>
      (await this.ask(path, { window: windowName, ...body })).json());
    this.queue = run.catch(() => {});
    return run;
  },

  leave() {
    fetch('api/leave', {
      method: 'POST',
      keepalive: true,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ window: windowName }),
    }).catch(() => {});
  },
};

const recordingPath = (what, id) => `api/${what}/${encodeURIComponent(id)}`;
