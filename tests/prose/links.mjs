// Does every link in the Markdown of this repository lead somewhere? Files and anchors are
// looked for; addresses on the web are not asked.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = normalize(join(dirname(fileURLToPath(import.meta.url)), "../.."));

const SKIP = new Set([".git", "build", "node_modules"]);

function* files(directory = root) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory() && !SKIP.has(entry.name)) yield* files(path);
    else if (entry.isFile() && entry.name.endsWith(".md")) yield relative(root, path);
  }
}

// The text with code, fenced or not, blanked out: what looks like a link there is none.
function prose(text) {
  const lines = [];
  let fence = null;
  for (const line of text.split("\n")) {
    const mark = line.match(/^\s*(```+|~~~+)/)?.[1];
    if (fence === null && mark) fence = mark;
    else if (fence !== null && mark?.startsWith(fence)) fence = null;
    else if (fence === null) {
      lines.push(line);
      continue;
    }
    lines.push("");
  }
  return lines.join("\n");
}

// Anchors as GitHub makes them from headings: lower case, punctuation gone, blanks to
// dashes, and a number behind what is there already.
function anchors(text) {
  const seen = new Map();
  const found = new Set();
  for (const [, heading] of prose(text).matchAll(/^#{1,6} +(.*?) *#* *$/gm)) {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, "")
      .replace(/ /g, "-");
    const n = seen.get(slug) ?? 0;
    seen.set(slug, n + 1);
    found.add(n ? `${slug}-${n}` : slug);
  }
  return found;
}

function links(text) {
  // Whole text, since a link may go over lines; code in a link's text does not matter.
  const plain = prose(text).replace(/`[^`\n]*`/g, (code) => "x".repeat(code.length));
  const found = [];
  for (const match of plain.matchAll(/!?\[[^\]]*\]\(<?([^()\s<>]+)>?(?:\s+"[^"]*")?\)/g)) {
    found.push({ to: match[1], line: plain.slice(0, match.index).split("\n").length });
  }
  return found;
}

let bad = 0;
let count = 0;
for (const file of files()) {
  const path = join(root, file);
  const text = readFileSync(path, "utf8");
  for (const { to, line } of links(text)) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(to)) continue;
    const [name, anchor] = to.split("#", 2);
    const target = name ? normalize(join(dirname(path), decodeURI(name))) : path;
    let wrong = null;
    count++;
    if (relative(root, target).startsWith("..")) wrong = "leads out of the repository";
    else if (!existsSync(target)) wrong = "there is no such file";
    else if (anchor !== undefined && (statSync(target).isDirectory() ||
      !anchors(readFileSync(target, "utf8")).has(anchor)))
      wrong = "there is no such heading";
    if (wrong) {
      bad++;
      console.error(`${file}:${line}: ${to}: ${wrong}`);
    }
  }
}
console.log(`${count} links, ${bad} lead nowhere`);
if (count === 0) console.error("no link was found at all");
process.exit(bad || count === 0 ? 1 : 0);
