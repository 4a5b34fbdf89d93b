// The unit costs, from units.json, and --unit NAME=VALUE in their place.
import { readFileSync } from "node:fs";

export const FILE = new URL("units.json", import.meta.url);

export function readUnits(changes = []) {
  const units = Object.fromEntries(
    Object.entries(JSON.parse(readFileSync(FILE, "utf8"))).map(([name, { value }]) => [
      name,
      value,
    ]),
  );
  for (const change of changes) {
    const [, name, value] = /^(\w+)=([\d.e-]+)$/.exec(change) ?? [];
    if (!(name in units) || !Number.isFinite(Number(value))) {
      throw new Error(`--unit ${change}: NAME=NUMBER, with a name of ${FILE.pathname}`);
    }
    units[name] = Number(value);
  }
  return units;
}
