// Waiting in tests: until something holds, with a deadline. Never for a fixed time.

// Generous, since sanitizers and a busy machine may slow a node down tenfold; a test that
// passes never waits for it.
export const DEADLINE_MS = 20_000;

// Ask `condition` again and again until it gives something truthy, and give that back.
// What it throws counts as "not yet", and is told when time is up.
export async function until(what, condition, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  let last;
  for (let pause = 2; ; pause = Math.min(pause * 2, 50)) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`not within ${deadlineMs} ms: ${what} (last: ${describe(last)})`);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// The promise's value, or an error that says what did not happen in time.
export function within(what, promise, deadlineMs = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`not within ${deadlineMs} ms: ${what}`)),
      deadlineMs,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function describe(value) {
  if (value instanceof Error) return value.stack;
  try {
    return JSON.stringify(value)?.slice(0, 2000);
  } catch {
    return String(value);
  }
}

// What arrives, in order, for one reader at a time: push() on one side, `await next()` on
// the other. Once ended, next() throws the reason.
export class Inbox {
  #items = [];
  #waiting = null;
  #ended = null;

  push(item) {
    if (this.#waiting) {
      const { resolve } = this.#waiting;
      this.#waiting = null;
      resolve(item);
    } else {
      this.#items.push(item);
    }
  }

  end(reason) {
    this.#ended ??= reason;
    if (this.#waiting) {
      const { reject } = this.#waiting;
      this.#waiting = null;
      reject(new Error(reason));
    }
  }

  get length() {
    return this.#items.length;
  }

  async next(what = "a message", deadlineMs = DEADLINE_MS) {
    if (this.#items.length) return this.#items.shift();
    if (this.#ended) throw new Error(`waiting for ${what}: ${this.#ended}`);
    if (this.#waiting) throw new Error("an inbox has one reader at a time");
    const arrival = new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    try {
      return await within(what, arrival, deadlineMs);
    } finally {
      this.#waiting = null;
    }
  }

  drain() {
    return this.#items.splice(0);
  }
}
