// The pictures of docs/performance.md, drawn by gnuplot as SVG.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { median, value } from "./results.mjs";
import { GROWTH } from "./scenarios.mjs";
import { SERVERS } from "./servers.mjs";

const COLOURS = {
  plain: "#8a8f98",
  turn: "#b9bdc4",
  gatehouse: "#c8372d",
  recovery: "#8c1d40",
  node: "#3c873a",
  bun: "#b07d2b",
  topics: "#d9b36c",
  nchan: "#2f6db5",
  nats: "#5d4fa3",
};
const TITLES = {
  plain: "plain loop",
  turn: "plain, coalescing",
  gatehouse: "Gatehouse",
  recovery: "Gatehouse, recovery",
  node: "Node socket.io",
  bun: "Bun bun-engine",
  topics: "Bun topics",
  nchan: "nchan",
  nats: "NATS",
};

const quoted = (text) => `"${text.replaceAll('"', "'")}"`;
const servers = Object.keys(SERVERS).filter((name) => name in TITLES);

function head(file, title, width = 720, height = 400) {
  return `set terminal svg size ${width},${height} font "DejaVu Sans,12" background rgb "white"
set output ${quoted(file)}
set title ${quoted(title)}
set border 3 lc rgb "#666666"
set grid ytics lc rgb "#dddddd" lt 1
set tics nomirror
`;
}

// One bar for each server that has a number.
function bars(file, title, unit, numbers) {
  const rows = servers.map((name) => [name, numbers(name)]).filter(([, x]) => x !== null);
  if (!rows.length) return null;
  const data = rows.map(
    ([name, x], i) => `${i} ${x} ${parseInt(COLOURS[name].slice(1), 16)} ${quoted(TITLES[name])}`,
  );
  return `${head(file, title)}
$data << END
${data.join("\n")}
END
set ylabel ${quoted(unit)}
set yrange [0:*]
set xrange [-0.6:${rows.length - 0.4}]
set style fill solid
set boxwidth 0.7
set xtics rotate by -25
unset key
plot $data using 1:2:3:xtic(4) with boxes lc rgb variable, \\
     $data using 1:2:(sprintf("%.3g", $2)) with labels offset 0,0.6
`;
}

// A line for each series of [x, y].
function lines(file, title, labels, series, settings = "") {
  const drawn = series
    .map((s) => ({ ...s, points: s.points.filter(([, y]) => y !== null) }))
    .filter(({ points }) => points.length > 1);
  if (!drawn.length) return null;
  const data = drawn.map(
    ({ points }, i) => `$s${i} << END\n${points.map((p) => p.join(" ")).join("\n")}\nEND\n`,
  );
  const plots = drawn.map(
    ({ title: name, colour, style = 1 }, i) =>
      `$s${i} using 1:2 with linespoints pt 7 ps 0.5 lw 2 dt ${style} lc rgb "${colour}" title ${quoted(name)}`,
  );
  return `${head(file, title)}${data.join("")}
set xlabel ${quoted(labels[0])}
set ylabel ${quoted(labels[1])}
set key outside right top
${settings}
plot ${plots.join(", \\\n     ")}
`;
}

// The median of each point of a distribution over the passes, as [1 / (1 - p), ms].
function distribution(results, scenario, name) {
  const all = results.passes
    .map((pass) => pass[scenario]?.[name]?.distribution)
    .filter((points) => points?.length);
  if (!all.length) return [];
  return all[0].map(([percent], i) => [
    100 / (100 - percent),
    median(all.map((points) => points[i][1])) / 1000,
  ]);
}

const PERCENT_TICS = `set logscale x
set logscale y
set xrange [1:10000]
set xtics ("0" 1, "50" 2, "90" 10, "99" 100, "99.9" 1000, "99.99" 10000)
set yrange [*:*]`;

const GROWING = {
  rooms: "rooms (10 of 10 members talk)",
  conns: "connections (100 of them talk)",
  fanout: "receivers of each message",
  nodes: "nodes (rooms on two of them talk)",
};

function growing(results, directory) {
  const scripts = Object.entries(GROWING).map(([what, label]) =>
    lines(
      join(directory, `growth-${what}.svg`),
      `CPU of a delivery as ${what === "fanout" ? "the room" : `the number of ${what}`} grows`,
      [label, "µs"],
      ["turn", "gatehouse"].map((name) => ({
        title: TITLES[name],
        colour: COLOURS[name],
        points: GROWTH[what].map((n) => [n, value(results, `${what}-${n}`, name)]),
      })),
      `set logscale x ${what === "nodes" ? 2 : 10}\nset yrange [0:*]`,
    ),
  );
  const series = (name, key, title, style) => ({
    title: `${TITLES[name]}, ${title}`,
    colour: COLOURS[name],
    style,
    points: GROWTH.connect.map((n) => [n, value(results, `connect-${n}`, name, key)]),
  });
  scripts.push(
    lines(
      join(directory, "growth-connect.svg"),
      "CPU of coming and going, as many do",
      ["connections", "µs each"],
      ["plain", "gatehouse"].flatMap((name) => [
        series(name, "connect_cpu_us", "connect", 1),
        series(name, "close_cpu_us", "leave", 2),
      ]),
      "set logscale x\nset yrange [0:*]",
    ),
  );
  return scripts;
}

// Draw what there are numbers for; gives the files' names, and why none if so.
export function draw(results, directory) {
  mkdirSync(directory, { recursive: true });
  const scripts = [
    bars(
      join(directory, "fanout-cpu.svg"),
      "Fan-out to 1,000, 8 messages in flight: server CPU of a delivery",
      "µs",
      (name) => value(results, "fanout8", name),
    ),
    bars(
      join(directory, "memory.svg"),
      "Memory of a connection in one room, of 10,000",
      "KB",
      (name) => {
        if (["plain", "turn"].includes(name)) return null; // they hold next to nothing
        const bytes = value(results, "connect", name, "rss_each");
        return bytes === null ? null : bytes / 1000;
      },
    ),
    lines(
      join(directory, "latency.svg"),
      "Two nodes, 1,000 messages a second to 10 receivers each: latency",
      ["percentile", "ms"],
      servers.map((name) => ({
        title: TITLES[name],
        colour: COLOURS[name],
        points: distribution(results, "two-rate", name),
      })),
      PERCENT_TICS,
    ),
    ...growing(results, directory),
  ].filter(Boolean);
  const { error, status, stderr } = spawnSync("gnuplot", [], {
    input: scripts.join("\nreset session\n"),
    encoding: "utf8",
  });
  if (error || status !== 0) return `no pictures: gnuplot: ${error?.message ?? stderr}`;
  return `${scripts.length} pictures in ${directory}`;
}
