// What the passes say together. Results are {passes: [{<scenario>: {<server>: record}}]};
// a record that could not be made is {error}. Values are medians over the passes, and ratios
// are medians of each pass's own ratio, since the machine drifts between passes.

export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (!sorted.length) return null;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

const read = (pass, scenario, server, key) => pass[scenario]?.[server]?.[key];

// The median of a record's number; null: there is none.
export function value(results, scenario, server, key = "cpu_us") {
  return median(results.passes.map((pass) => read(pass, scenario, server, key)));
}

// The median of one number by another, each pair of one pass. `a` and `b` are [scenario,
// server] each, with one key.
export function ratio(results, a, b, key = "cpu_us") {
  return median(
    results.passes.map((pass) => read(pass, ...a, key) / read(pass, ...b, key)),
  );
}

// How far the largest number of a growing series is above its first: `points` are [scenario,
// server]. Each point's ratio is a median first: the largest of each pass would be its noise.
export function growth(results, [first, ...points], key = "cpu_us") {
  const ratios = points
    .map((point) => ratio(results, point, first, key))
    .filter((x) => x !== null);
  return ratios.length ? Math.max(...ratios) : null;
}

// What went wrong in any pass, as lines.
export function troubles(results) {
  const lines = new Set();
  for (const pass of results.passes) {
    for (const [scenario, servers] of Object.entries(pass)) {
      for (const [server, { error, wrong }] of Object.entries(servers)) {
        if (error) lines.add(`${scenario}, ${server}: not measured: ${error.split("\n")[0]}`);
        if (wrong) {
          const counts = Object.entries(wrong).map(([what, n]) => `${n} ${what}`);
          lines.add(`${scenario}, ${server}: ${counts.join(", ")}`);
        }
      }
    }
  }
  return [...lines];
}

// Where the load generator had no more to give: what the server could do is more.
export function loadBound(results) {
  const found = new Set();
  for (const pass of results.passes) {
    for (const [scenario, servers] of Object.entries(pass)) {
      for (const [server, r] of Object.entries(servers)) {
        if (r.load_share > 0.97 && r.server_share < 0.97) found.add(`${scenario}, ${server}`);
      }
    }
  }
  return [...found];
}
