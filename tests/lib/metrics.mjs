// A strict reader of the Prometheus text format 0.0.4: what a scraper could take amiss is
// an error here.
const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const TYPES = new Set(["counter", "gauge", "histogram", "summary", "untyped"]);

export function parseMetrics(text) {
  const samples = {};
  const types = {};
  const helps = {};
  const finished = new Set(); // names whose samples are over: they stand together
  let current = null;
  const fail = (line, why) => {
    throw new Error(`/metrics: ${why}: ${JSON.stringify(line)}`);
  };

  if (!text.endsWith("\n")) fail(text.slice(-80), "the last line is not ended");
  for (const line of text.slice(0, -1).split("\n")) {
    if (line.startsWith("#")) {
      const match = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? fail(line, "not a comment");
      const [, what, name, rest] = match;
      if (!NAME.test(name)) fail(line, "bad name");
      if (finished.has(name)) fail(line, "the samples of one name stand together");
      if (what === "HELP") {
        if (helps[name] !== undefined) fail(line, "a second HELP");
        if (!rest.trim()) fail(line, "an empty HELP");
        helps[name] = rest;
      } else {
        if (types[name]) fail(line, "a second TYPE");
        if (!TYPES.has(rest)) fail(line, "unknown type");
        types[name] = rest;
      }
      continue;
    }
    const match =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$/.exec(line) ?? fail(line, "not a sample");
    const [, sample, labels = "", value] = match;
    // The samples of a histogram have names of their own.
    const family = sample.replace(/_(bucket|sum|count)$/, "");
    const name = types[family] === "histogram" ? family : sample;
    if (labels && !/^\{([a-zA-Z_]\w*="([^"\\\n]|\\["\\n])*",?)+\}$/.test(labels)) {
      fail(line, "bad labels");
    }
    if (!types[name]) fail(line, "a sample without TYPE before it");
    if (helps[name] === undefined) fail(line, "a sample without HELP");
    if (types[name] === "counter" && !name.endsWith("_total")) {
      fail(line, "a counter's name ends in _total");
    }
    if (current !== name) {
      if (finished.has(name)) fail(line, "the samples of one name stand together");
      if (current) finished.add(current);
      current = name;
    }
    const key = sample + labels;
    if (key in samples) fail(line, "the same sample twice");
    const number = Number(value.replace(/^([+-]?)Inf$/, "$1Infinity"));
    if (Number.isNaN(number) && value !== "NaN") fail(line, "not a number");
    if (types[name] === "counter" && number < 0) fail(line, "a negative counter");
    samples[key] = number;
  }
  return { samples, types, helps };
}
