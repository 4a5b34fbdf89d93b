// The names run.sh takes.
import { SCENARIOS } from "./scenarios.mjs";
import { SERVERS } from "./servers.mjs";

const rows = (all) =>
  Object.entries(all)
    .map(([name, { title }]) => `  ${name.padEnd(16)} ${title.replaceAll("**", "")}`)
    .join("\n");

console.log(`Scenarios:\n${rows(SCENARIOS)}\nServers:\n${rows(SERVERS)}`);
